use std::fmt::{Display, Formatter};

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor};
use moe_adapter::parameter_names;
use serde::{Deserialize, Serialize};

/// What a run does with a step whose loss or gradient is no finite number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NonFinitePolicy {
    /// The run ends.
    #[default]
    Error,
    /// The step changes nothing, and the run goes on with the next.
    Skip,
    /// The run goes back to the weights and moments of its last healthy checkpoint, or of its
    /// start, and on with the next data.
    Rollback,
}

impl Display for NonFinitePolicy {
    /// What was done, in the past tense.
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Error => "refused",
            Self::Skip => "skipped",
            Self::Rollback => "rolled back",
        })
    }
}

/// Where a step left the range of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct NonFinite {
    /// The loss with the balance loss.
    pub loss: f64,
    /// The parameter at fault, as far as one is.
    pub origin: Option<NonFiniteOrigin>,
}

/// The parameter at which a step left the range of numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NonFiniteOrigin {
    /// Its values are not finite.
    Value(String),
    /// Its gradient is not finite: the first on the way back from the loss.
    Gradient(String),
    /// All gradients are finite, but their squares are not, this one's first.
    Overflow(String),
}

impl NonFinite {
    /// Finds the parameter at fault.
    pub(super) fn find<M: Module>(loss: f64, model: &M, grads: &GradientsParams) -> Self {
        let mut find = Find { grads, value: None, gradient: None, overflow: None };
        model.visit(&mut find);
        let names = parameter_names(model);
        let name = |id: ParamId| names.get(&id).cloned().unwrap_or_else(|| id.to_string());
        let value = find.value.map(name).map(NonFiniteOrigin::Value);
        let gradient = find.gradient.map(name).map(NonFiniteOrigin::Gradient);
        let overflow = find.overflow.map(name).map(NonFiniteOrigin::Overflow);
        Self { loss, origin: value.or(gradient).or(overflow) }
    }
}

impl Display for NonFinite {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "the loss is {}", self.loss)?;
        match &self.origin {
            None if self.loss.is_finite() => write!(f, "; the gradient is too large for its norm"),
            None => Ok(()),
            Some(NonFiniteOrigin::Value(name)) => {
                write!(f, "; `{name}` holds values that are not finite")
            }
            Some(NonFiniteOrigin::Gradient(name)) => write!(
                f,
                "; the gradient of `{name}` is not finite, the first on the way back from the loss"
            ),
            Some(NonFiniteOrigin::Overflow(name)) => {
                write!(f, "; the gradient of `{name}` is too large for its norm")
            }
        }
    }
}

/// The first parameter of the model whose values, and the last whose gradients, are not finite:
/// gradients go backwards.
struct Find<'a> {
    grads: &'a GradientsParams,
    value: Option<ParamId>,
    gradient: Option<ParamId>,
    overflow: Option<ParamId>,
}

impl ModuleVisitor for Find<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(grad) = self.grads.get::<D>(param.id) else {
            return;
        };
        if self.value.is_none() && !all_finite(param.val().inner()) {
            self.value = Some(param.id);
        }
        if !all_finite(grad.clone()) {
            self.gradient = Some(param.id);
        } else if !all_finite(grad.cast(DType::F32).powi_scalar(2).sum()) {
            self.overflow = Some(param.id);
        }
    }
}

fn all_finite<const D: usize>(tensor: Tensor<D>) -> bool {
    tensor.cast(DType::F32).into_data().iter::<f32>().all(f32::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    fn found(weight: f32, input: f32) -> Option<NonFiniteOrigin> {
        let device = Device::flex();
        let mut linear: Linear = LinearConfig::new(1, 1).init(&device);
        linear.weight = Param::from_tensor(Tensor::full([1, 1], weight, &device));
        let linear = linear.train();
        let x: Tensor<2> = Tensor::from_inner(Tensor::full([1, 1], input, &device));
        let loss = linear.forward(x).sum();
        let grads = GradientsParams::from_grads(loss.backward(), &linear);
        NonFinite::find(1.0, &linear, &grads).origin
    }

    #[test]
    fn the_parameter_at_fault_is_named() {
        assert_eq!(found(1.0, 1.0), None);
        let weight = || "weight".to_owned();
        assert_eq!(found(f32::NAN, 1.0), Some(NonFiniteOrigin::Value(weight())));
        assert_eq!(found(1.0, f32::INFINITY), Some(NonFiniteOrigin::Gradient(weight())));
        assert_eq!(found(1.0, 1e30), Some(NonFiniteOrigin::Overflow(weight())));
    }
}
