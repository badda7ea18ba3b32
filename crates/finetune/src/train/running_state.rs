use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};

/// Whether a value of a model on an autodiff device is running state, which a module moves in its own
/// forward passes: it alone is kept without autodiff (`router::Buffer`).
fn is_state<const D: usize>(param: &Param<Tensor<D>>) -> bool {
    !param.val().is_autodiff()
}

/// The running state of a model on an autodiff device, one value after the other, f32; `None` where
/// it has none.
pub(super) fn running_state<M: Module>(model: &M) -> Option<Tensor<1>> {
    struct Read(Vec<Tensor<1>>);
    impl ModuleVisitor for Read {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if is_state(param) {
                self.0.push(param.val().cast(DType::F32).flatten(0, D - 1));
            }
        }
    }
    let mut read = Read(Vec::new());
    model.visit(&mut read);
    (!read.0.is_empty()).then(|| Tensor::cat(read.0, 0))
}

/// A model with another running state, as [`running_state`] reads it.
pub(super) fn with_running_state<M: Module>(model: M, state: Tensor<1>) -> M {
    struct Write {
        state: Tensor<1>,
        at: usize,
    }
    impl ModuleMapper for Write {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if !is_state(&param) {
                return param;
            }
            param.map(|value| {
                let (shape, dtype) = (value.dims(), value.dtype());
                let count = shape.iter().product();
                let own = self.state.clone().narrow(0, self.at, count);
                self.at += count;
                own.reshape(shape).cast(dtype)
            })
        }
    }
    model.map(&mut Write { state, at: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;
    use router::Buffer;

    #[derive(Module, Debug)]
    struct Both {
        first: Buffer<2>,
        linear: Linear,
        second: Buffer<1>,
    }

    #[test]
    fn buffers_are_read_and_written_and_nothing_else() {
        let device = Device::flex();
        let linear = LinearConfig::new(2, 2).init(&device);
        assert!(running_state(&linear.clone().train()).is_none());
        let model = Both {
            first: Buffer::new(Tensor::from_data([[1.0, 2.0], [3.0, 4.0]], &device)),
            linear: linear.no_grad(),
            second: Buffer::new(Tensor::from_data([5.0], &device)),
        }
        .train();
        let floats = |tensor: Tensor<1>| tensor.into_data().iter::<f32>().collect::<Vec<_>>();
        let state = running_state(&model).unwrap();
        assert_eq!(floats(state.clone()), [1.0, 2.0, 3.0, 4.0, 5.0]);
        let weight = model.linear.weight.val().into_data();
        let changed = with_running_state(model, state * 2.0);
        assert_eq!(floats(running_state(&changed).unwrap()), [2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(changed.first.value().dims(), [2, 2]);
        assert_eq!(changed.linear.weight.val().into_data(), weight);
    }
}
