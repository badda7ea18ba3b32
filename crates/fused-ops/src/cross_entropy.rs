use burn::backend::Dispatch;
use burn::tensor::activation::log_softmax;
use burn::tensor::{IndexingUpdateOp, Int, Tensor};

use crate::ops::{ActivationOps, Reduction, ReductionOps, kernels};

/// The cross-entropy of targets under logits, `ln(sum_v exp(z_v)) - z_target`, `[T]`, and the gradient
/// of its sum with respect to the logits, `softmax(z) - onehot(target)`, `[T, V]`.
///
/// Both in one go over the logits, for those who differentiate by hand: nothing is tracked, and the
/// gradient takes the memory of the logits where nothing else needs them.
///
/// # Shapes
///
/// - `logits`: `[T, V]`
/// - `targets`: `[T]`
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>) -> (Tensor<1>, Tensor<2>) {
    let [rows, _] = logits.dims();
    let logits = logits.into_dispatch();
    if kernels(&[&logits]).is_some() {
        let logits = Tensor::<2>::from_dispatch(logits);
        let targets = targets.reshape([rows, 1]);
        let of_target = logits.clone().gather(1, targets.clone()).reshape([rows]);
        let sums = Dispatch::reduced(logits.clone().into_dispatch(), Reduction::LogSumExp);
        let losses = Tensor::<1>::from_dispatch(sums.clone()) - of_target;
        let softmax = Dispatch::exp_less(logits.into_dispatch(), sums);
        return (losses, less_one(Tensor::from_dispatch(softmax), targets));
    }
    cross_entropy_composed(Tensor::from_dispatch(logits), targets)
}

/// [`cross_entropy`] composed of Burn's operations.
pub fn cross_entropy_composed(
    logits: Tensor<2>,
    targets: Tensor<1, Int>,
) -> (Tensor<1>, Tensor<2>) {
    let [rows, _] = logits.dims();
    let targets = targets.reshape([rows, 1]);
    let log_probabilities = log_softmax(logits, 1);
    let losses = log_probabilities.clone().gather(1, targets.clone()).reshape([rows]).neg();
    (losses, less_one(log_probabilities.exp(), targets))
}

/// Takes 1 away at the targets, `[T, 1]`.
fn less_one(softmax: Tensor<2>, targets: Tensor<2, Int>) -> Tensor<2> {
    let minus_one: Tensor<2> = Tensor::full(targets.dims(), -1.0, &softmax.device());
    softmax.scatter(1, targets, minus_one, IndexingUpdateOp::Add)
}
