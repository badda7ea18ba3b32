use burn::backend::Dispatch;
use burn::tensor::Tensor;
use burn::tensor::activation::silu;

use crate::ops::{ActivationOps, kernels};

/// The gated activation of SwiGLU, `silu(gate) * up` with `silu(z) = z * sigmoid(z)`.
///
/// `gate` and `up` have one shape, which the result has too. The gradients, with `s` for
/// `sigmoid(gate)` and `g` for the gradient of the result, are
/// `g * up * s * (1 + gate * (1 - s))` and `g * gate * s`; the inputs are kept for them, the
/// sigmoid is not. Source: Shazeer, arXiv 2002.05202, equation 5.
pub fn silu_mul<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    let same_shape = gate.dims() == up.dims();
    let (gate, up) = (gate.into_dispatch(), up.into_dispatch());
    if same_shape && kernels(&[&gate, &up]).is_some() {
        return Tensor::from_dispatch(Dispatch::silu_mul(gate, up));
    }
    silu_mul_composed(Tensor::from_dispatch(gate), Tensor::from_dispatch(up))
}

/// [`silu_mul`] composed of Burn's operations.
pub fn silu_mul_composed<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    silu(gate) * up
}
