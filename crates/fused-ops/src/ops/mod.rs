//! Operations on activations that have kernels on CPUs and on GPUs, as operations of Burn, with their
//! autodiff.

mod adamw_step;
mod attention;
mod autodiff;
#[cfg(device_kernels)]
mod device;
mod dropout_mask;
mod known_gradient;
#[cfg(device_kernels)]
mod mixture;
mod place;
mod reductions;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

pub use adamw_step::AdamWStep;
pub(crate) use attention::{Attended, AttentionGradients, AttentionKind, AttentionOps};
#[cfg(device_kernels)]
pub(crate) use device::{DeviceGradients, DeviceOps};
#[cfg_attr(not(feature = "flex"), allow(unused_imports))]
pub(crate) use dropout_mask::DropoutMask;
pub use dropout_mask::ExpertDropout;
pub(crate) use known_gradient::{KnownGradientOps, KnownGradientScaling};
#[cfg(device_kernels)]
pub(crate) use mixture::{MixtureGradients, MixtureOps};
#[allow(unused_imports)]
pub(crate) use place::{Kernels, kernels, place};
pub(crate) use reductions::{
    LEAST_PROBABILITY, LEAST_SQUARE, Reduction, ReductionGradients, ReductionOps,
};

/// The operations. Only called for what [`kernels`] allows.
#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "flex"),
    Cube: cfg(device_kernels)
)]
pub(crate) trait ActivationOps: Backend {
    /// See [`silu_mul`](crate::silu_mul).
    fn silu_mul(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`softmax_masked`](crate::softmax_masked).
    fn softmax_masked(scores: FloatTensor<Self>, mask: FloatTensor<Self>) -> FloatTensor<Self>;

    /// [`softmax_masked`](Self::softmax_masked) without a mask.
    fn softmax_unmasked(scores: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`rms_norm`](crate::rms_norm).
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self>;

    /// See [`dropout`](crate::dropout).
    fn dropped(x: FloatTensor<Self>, p: f64, seed: u64) -> FloatTensor<Self>;

    /// See [`rope_heads`](crate::rope_heads).
    fn rope_heads(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// The exponentials of rows less a number for each, `[T, V]` and `[T]` to `[T, V]`. Not
    /// differentiable.
    fn exp_less(logits: FloatTensor<Self>, less: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Their backward passes, on the backend below autodiff.
pub(crate) trait ActivationGradients: ActivationOps {
    /// The gradients of the gate and of `up`.
    fn silu_mul_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 2];

    /// The gradient of the scores, from the weights `y`.
    fn softmax_backward(y: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The gradient of `x`, and on demand that of the weight.
    fn rms_norm_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        grad: FloatTensor<Self>,
        weight_too: bool,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>);

    /// The gradient of `x`.
    fn rope_heads_backward(
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}
