use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Adds the gradients of the parameters of a model.
pub(super) fn plus<M: Module>(
    model: &M,
    one: GradientsParams,
    other: GradientsParams,
) -> GradientsParams {
    struct Plus {
        one: GradientsParams,
        other: GradientsParams,
        sum: GradientsParams,
    }
    impl ModuleVisitor for Plus {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let sum = match (self.one.remove::<D>(param.id), self.other.remove::<D>(param.id)) {
                (Some(one), Some(other)) => Some(one + other),
                (one, other) => one.or(other),
            };
            if let Some(sum) = sum {
                self.sum.register(param.id, sum);
            }
        }
    }
    let mut plus = Plus { one, other, sum: GradientsParams::new() };
    model.visit(&mut plus);
    plus.sum
}
