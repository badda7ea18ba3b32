use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor};

use crate::ops::{ActivationOps, kernels};

/// Root-mean-square normalisation of the last axis, `y = x * r * weight` with
/// `r = 1 / sqrt(mean(x^2) + eps)`.
///
/// `x` is `[.., H]`, `weight` is `[H]`; statistics are in f32 whatever the element type. With `g`
/// for the gradient of `y`, the gradient of `x` is
/// `r * g * weight - x * r^3 / H * sum(g * weight * x)`, and that of the weight, only computed
/// where it is tracked, the sum of `g * x * r` over the rows. The inputs are kept for them.
/// Source: Zhang and Sennrich, arXiv 1910.07467, equation 4.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    let fits = x.dims()[D - 1] == weight.dims()[0];
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    if fits && kernels(&[&x, &weight]).is_some() {
        return Tensor::from_dispatch(Dispatch::rms_norm(x, weight, eps));
    }
    rms_norm_composed(Tensor::from_dispatch(x), Tensor::from_dispatch(weight), eps)
}

/// [`rms_norm`] composed of Burn's operations.
pub fn rms_norm_composed<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    let dtype = x.dtype();
    let x = x.cast(DType::F32);
    let scale = (x.clone().square().mean_dim(D - 1) + eps).sqrt().recip();
    (x * scale).cast(dtype) * weight.unsqueeze()
}
