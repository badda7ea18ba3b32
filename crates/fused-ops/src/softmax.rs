use burn::backend::Dispatch;
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

use crate::ops::{ActivationOps, Kernels, kernels};

/// Attention weights, `softmax(scores + mask)` along the last axis.
///
/// `scores` is `[B, H, S, T]`; each axis of `mask` but the last may be 1. The mask is a constant
/// and gets no gradient. With `y` for the result and `g` for its gradient, the gradient of the
/// scores is `y * (g - sum(g * y))`, from `y` alone.
///
/// A mask below `-1e29` hides a position: its weight is 0 unless the whole row is hidden, and
/// kernels may skip it. Scores must be far smaller than that. A hidden row gets the softmax of its
/// sums, which is uniform for one hiding value.
pub fn softmax_masked(scores: Tensor<4>, mask: Option<Tensor<4>>) -> Tensor<4> {
    let dims = scores.dims();
    let fits = mask.as_ref().is_none_or(|mask| {
        let mask = mask.dims();
        mask[3] == dims[3] && (0..3).all(|i| mask[i] == 1 || mask[i] == dims[i])
    });
    let scores = scores.into_dispatch();
    let mask = mask.map(Tensor::into_dispatch);
    let supported = match &mask {
        Some(mask) => kernels(&[&scores, mask]),
        None => kernels(&[&scores]),
    };
    if fits && supported.is_some() {
        return Tensor::from_dispatch(match mask {
            Some(mask) => Dispatch::softmax_masked(scores, mask),
            None => Dispatch::softmax_unmasked(scores),
        });
    }
    let mask = mask.map(Tensor::from_dispatch);
    softmax_masked_composed(Tensor::from_dispatch(scores), mask)
}

/// [`softmax_masked`] composed of Burn's operations.
pub fn softmax_masked_composed(scores: Tensor<4>, mask: Option<Tensor<4>>) -> Tensor<4> {
    match mask {
        Some(mask) => softmax(scores + mask.detach(), 3),
        None => softmax(scores, 3),
    }
}

/// The softmax of each row, `[R, N]`: for routers, whose rows are short. On CPUs it is Burn's, to the
/// bit.
pub fn softmax_rows(logits: Tensor<2>) -> Tensor<2> {
    let [rows, width] = logits.dims();
    let logits = logits.into_dispatch();
    if kernels(&[&logits]) == Some(Kernels::Device) {
        let logits = Tensor::<2>::from_dispatch(logits).reshape([1, 1, rows, width]);
        return softmax_masked(logits, None).reshape([rows, width]);
    }
    softmax(Tensor::from_dispatch(logits), 1)
}
