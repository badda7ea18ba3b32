#[cfg(device_kernels)]
use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::matmul;
#[cfg(device_kernels)]
use crate::ops::{Kernels, MixtureOps, kernels};

/// The `k` largest of each row as 1, all others as 0: `[T, E]`. Of equal scores the first is larger. It has no
/// gradient. `None` where there is no kernel for it, which compares each score with all others of its row.
pub fn top_k_mask(scores: &Tensor<2>, k: usize) -> Option<Tensor<2>> {
    #[cfg(device_kernels)]
    {
        let scores = scores.clone().into_dispatch();
        if kernels(&[&scores]) == Some(Kernels::Device) {
            return Some(Tensor::from_dispatch(Dispatch::top_k_mask(scores, k)));
        }
        None
    }
    #[cfg(not(device_kernels))]
    {
        let _ = (scores, k);
        None
    }
}

/// What rows of logits come to, `[T, E]` each.
#[derive(Debug, Clone)]
pub struct TopKShares {
    /// Their softmax.
    pub probabilities: Tensor<2>,
    /// [`top_k_mask`].
    pub mask: Tensor<2>,
    /// [`kept_shares`] of both.
    pub weights: Tensor<2>,
}

/// The most experts of a row that one unit goes through.
#[cfg(device_kernels)]
const EXPERTS: usize = 64;

/// Softmax, selection and shares of logits, `[T, E]`, by one kernel, and their gradient by another. `None` where
/// there is none for it.
pub fn top_k_shares(logits: &Tensor<2>, k: usize) -> Option<TopKShares> {
    #[cfg(device_kernels)]
    if logits.dims()[1] <= EXPERTS && crate::runs_device_kernels(logits) {
        return crate::cube::top_k_shares(logits, k);
    }
    let _ = (logits, k);
    None
}

/// What each row selects, by a mask `[T, E]` of 1 and 0, one after the other: `[T, k, E]`, where entry `s` of a row
/// has the 1 of its `s`-th selected column, and nothing where there are fewer. It has no gradient.
pub fn one_by_one(mask: Tensor<2>, k: usize) -> Tensor<3> {
    let mask = mask.without_autodiff();
    #[cfg(device_kernels)]
    {
        let mask = mask.into_dispatch();
        if kernels(&[&mask]) == Some(Kernels::Device) {
            return Tensor::from_dispatch(Dispatch::one_by_one(mask, k));
        }
        one_by_one_composed(Tensor::from_dispatch(mask), k)
    }
    #[cfg(not(device_kernels))]
    one_by_one_composed(mask, k)
}

/// [`one_by_one`] composed of Burn's operations.
pub fn one_by_one_composed(mask: Tensor<2>, k: usize) -> Tensor<3> {
    let [_, experts] = mask.dims();
    // How many were selected up to each one, by a product with a triangle of ones.
    let triangle: Tensor<2> = Tensor::ones([experts, experts], &mask.device()).triu(0);
    let position = matmul(mask.clone(), triangle.cast(mask.dtype()));
    let slots = (1..=k).map(|slot| {
        let here = position.clone().equal_elem(slot as f64).float().cast(mask.dtype());
        (mask.clone() * here).unsqueeze_dim(1)
    });
    Tensor::cat(slots.collect(), 1)
}

/// What is selected of each row over its sum, `p m / sum(p m)`, for a mask `m` of 1 and 0: `[T, E]`. Rows of
/// which nothing is selected are 0.
///
/// With `g` for the gradient of the result `w`, that of `p` is `m (g - sum(g w)) / sum(p m)`.
pub fn kept_shares(p: Tensor<2>, mask: Tensor<2>) -> Tensor<2> {
    #[cfg(device_kernels)]
    {
        let fits = p.dims() == mask.dims();
        let (p, mask) = (p.into_dispatch(), mask.without_autodiff().into_dispatch());
        if fits && kernels(&[&p, &mask]) == Some(Kernels::Device) {
            return Tensor::from_dispatch(Dispatch::kept_shares(p, mask));
        }
        kept_shares_composed(Tensor::from_dispatch(p), Tensor::from_dispatch(mask))
    }
    #[cfg(not(device_kernels))]
    kept_shares_composed(p, mask)
}

/// [`kept_shares`] composed of Burn's operations.
pub fn kept_shares_composed(p: Tensor<2>, mask: Tensor<2>) -> Tensor<2> {
    let kept = p * mask.without_autodiff();
    let sums = kept.clone().sum_dim(1);
    let empty = sums.clone().without_autodiff().equal_scalar(0.0);
    kept / sums.mask_fill(empty, 1.0)
}
