use burn::backend::Dispatch;
use burn::tensor::{Distribution, Tensor};

use crate::matmul;
use crate::ops::{ActivationOps, kernels};

/// Zeroes each entry of `x` with probability `p`, `0 <= p < 1`, and scales the others by
/// `1 / (1 - p)`; the seed decides which, as in [`dropout_linear`]. The mask is not kept for the
/// gradient, which is the dropout of the result's.
pub fn dropout(x: Tensor<2>, p: f64, seed: u64) -> Tensor<2> {
    let x = x.into_dispatch();
    if kernels(&[&x]).is_some() {
        return Tensor::from_dispatch(Dispatch::dropped(x, p, seed));
    }
    dropout_composed(Tensor::from_dispatch(x), p, seed)
}

/// [`dropout`] composed of Burn's operations; see [`dropout_linear_composed`].
pub fn dropout_composed(x: Tensor<2>, p: f64, seed: u64) -> Tensor<2> {
    let keep = 1.0 - p;
    x.device().seed(seed);
    let mask = x.random_like(Distribution::Bernoulli(keep)) * (1.0 / keep);
    // The mask is a constant, whatever device the activations live on.
    x * mask.detach()
}

/// The product of a dropout with a weight, `drop(x) W^T`: `[T, I]`, `[O, I] -> [T, O]`.
///
/// `drop` zeroes each entry with probability `p`, `0 <= p < 1`, and scales the others by
/// `1 / (1 - p)`; the seed decides which. With `g` for the gradient of the result, those of `x`
/// and `W` are `drop(g W)` and `g^T drop(x)`, each computed only where it is tracked. Neither the
/// mask nor `drop(x)` is kept for them: an entry is decided by a hash of its index and the seed,
/// which is computed again.
pub fn dropout_linear(x: Tensor<2>, weight: Tensor<2>, p: f64, seed: u64) -> Tensor<2> {
    #[cfg(feature = "flex")]
    {
        use crate::flex::{HostOps, applies, multiplies};
        let constant = crate::linear::constant_half(&x, &weight);
        let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
        if constant && applies(&[&x]) && multiplies(&weight) {
            return Tensor::from_dispatch(Dispatch::dropout_linear(x, weight, p, seed));
        }
        dropout_and_product(Tensor::from_dispatch(x), Tensor::from_dispatch(weight), p, seed)
    }
    #[cfg(not(feature = "flex"))]
    dropout_and_product(x, weight, p, seed)
}

fn dropout_and_product(x: Tensor<2>, weight: Tensor<2>, p: f64, seed: u64) -> Tensor<2> {
    let weight = weight.cast(x.dtype());
    matmul(dropout(x, p, seed), weight.transpose())
}

/// [`dropout_linear`] composed of Burn's operations.
///
/// It seeds the generator of the device and draws the mask there, so the same seed drops other
/// entries.
pub fn dropout_linear_composed(x: Tensor<2>, weight: Tensor<2>, p: f64, seed: u64) -> Tensor<2> {
    let weight = weight.cast(x.dtype());
    dropout_composed(x, p, seed).matmul(weight.transpose())
}
