use std::collections::HashSet;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Takes the gradients of some parameters out of `grads`.
pub(super) fn split_gradients<M: Module>(
    model: &M,
    grads: &mut GradientsParams,
    ids: &HashSet<ParamId>,
) -> GradientsParams {
    struct Split<'a> {
        ids: &'a HashSet<ParamId>,
        from: &'a mut GradientsParams,
        to: GradientsParams,
    }
    impl ModuleVisitor for Split<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.ids.contains(&param.id)
                && let Some(grad) = self.from.remove::<D>(param.id)
            {
                self.to.register(param.id, grad);
            }
        }
    }
    let mut split = Split { ids, from: grads, to: GradientsParams::new() };
    model.visit(&mut split);
    split.to
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    #[test]
    fn only_the_named_gradients_move() {
        let linear: Linear = LinearConfig::new(3, 4).init(&Device::flex()).train();
        let x: Tensor<2> = Tensor::from_inner(Tensor::ones([2, 3], &Device::flex()));
        let loss = linear.forward(x).sum();
        let mut grads = GradientsParams::from_grads(loss.backward(), &linear);
        let taken = split_gradients(&linear, &mut grads, &HashSet::from([linear.weight.id]));
        assert!(taken.get::<2>(linear.weight.id).is_some());
        assert!(grads.get::<2>(linear.weight.id).is_none());
        assert_eq!((taken.len(), grads.len()), (1, 1));
    }
}
