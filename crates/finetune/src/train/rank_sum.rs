use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor, TensorData};
use ranks::Ranks;

use super::TrainError;

/// What passes found, summed over them: the gradients, and the running state that each has left.
pub(super) struct Found {
    pub(super) gradients: GradientsParams,
    pub(super) state: Option<Tensor<1>>,
}

impl Found {
    /// Sums over all ranks, in one piece through the memory of the host. Every rank has the same
    /// model.
    pub(super) fn summed<M: Module>(
        self,
        model: &M,
        ranks: &dyn Ranks,
    ) -> Result<Self, TrainError> {
        if ranks.size() == 1 {
            return Ok(self);
        }
        let Self { gradients, state } = self;
        let mut flatten = Flatten { gradients, parts: Vec::new(), present: Vec::new() };
        model.visit(&mut flatten);
        let Flatten { mut parts, present, .. } = flatten;
        let of_state = state.as_ref().map_or(0, |state| state.dims()[0]);
        let Some(device) = parts.first().or(state.as_ref()).map(Tensor::device) else {
            return Ok(Self { gradients: GradientsParams::new(), state });
        };
        parts.extend(state);
        let mut values: Vec<f32> = Tensor::cat(parts, 0).into_data().iter::<f32>().collect();
        let of_gradients = values.len() - of_state;
        values.extend(&present);
        ranks.sum(&mut values)?;

        let present = values.split_off(of_gradients + of_state);
        let all =
            Tensor::<1>::from_data(TensorData::new(values, [of_gradients + of_state]), &device);
        let state = (of_state > 0).then(|| all.clone().narrow(0, of_gradients, of_state));
        let sums = GradientsParams::new();
        let mut restore = Restore { all, at: 0, present: present.into_iter(), sums };
        model.visit(&mut restore);
        Ok(Self { gradients: restore.sums, state })
    }
}

/// The gradients of all trainable parameters, zeros where a rank has none.
struct Flatten {
    gradients: GradientsParams,
    parts: Vec<Tensor<1>>,
    /// 1 for a parameter that has one.
    present: Vec<f32>,
}

impl ModuleVisitor for Flatten {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !param.is_require_grad() {
            return;
        }
        let gradient = self.gradients.remove::<D>(param.id);
        self.present.push(if gradient.is_some() { 1.0 } else { 0.0 });
        self.parts.push(match gradient {
            Some(gradient) => gradient.cast(DType::F32).flatten(0, D - 1),
            None => zeros(param.val().dims().iter().product(), &param.val().inner().device()),
        });
    }
}

fn zeros(count: usize, device: &Device) -> Tensor<1> {
    Tensor::<1>::zeros([count], device).cast(DType::F32)
}

/// The gradients that any rank has.
struct Restore {
    all: Tensor<1>,
    at: usize,
    present: std::vec::IntoIter<f32>,
    sums: GradientsParams,
}

impl ModuleVisitor for Restore {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !param.is_require_grad() {
            return;
        }
        let value = param.val();
        let shape = value.dims();
        let count = shape.iter().product();
        let own = self.all.clone().narrow(0, self.at, count);
        self.at += count;
        if self.present.next().is_some_and(|ranks| ranks > 0.0) {
            self.sums.register(param.id, own.reshape(shape).cast(value.dtype()));
        }
    }
}
