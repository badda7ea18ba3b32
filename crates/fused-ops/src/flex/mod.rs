//! The kernels as operations of Burn: for the Flex backend, and for its autodiff.

mod activations;
mod attention;
mod batched;
mod blocked;
mod buffer;
mod constant;
mod few_rows;
mod gradients;
mod held;
mod low_rank;
mod mask;
mod matrix;
mod narrow;
#[cfg(test)]
mod numbers;
mod operations;
mod paged;
mod product;
mod reductions;
mod routed;

use burn::backend::tensor::FloatTensor;
use burn::backend::{DispatchTensor, TensorMetadata, backend_extension};
use burn::tensor::DType;

use crate::ops::{ActivationGradients, ActivationOps, Kernels, kernels, place};

pub(crate) use constant::Constant;
pub(crate) use low_rank::LowRankOps;
pub(crate) use paged::{PagedOps, pages};

/// The operations that have kernels on CPUs alone. Only called for what [`applies`] allows.
#[backend_extension(Autodiff, Flex)]
pub(crate) trait HostOps: ActivationOps {
    /// See [`matmul_few_rows`](crate::matmul_few_rows).
    fn few_rows_product(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;

    /// [`linear`](crate::linear) without a bias.
    fn product(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;

    /// [`linear`](crate::linear) with a bias.
    fn product_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// [`linear_add`](crate::linear_add) without a bias.
    fn product_add(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        h: FloatTensor<Self>,
        b: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// [`linear`](crate::linear) with a quantised matrix, without a bias; with `transposed`, with its
    /// transpose.
    fn constant_product(
        x: FloatTensor<Self>,
        weight: Constant,
        transposed: bool,
    ) -> FloatTensor<Self>;

    /// `y + h b`, in the memory of `y` where nothing else needs it.
    fn product_onto(
        y: FloatTensor<Self>,
        h: FloatTensor<Self>,
        b: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// See [`dropout_linear`](crate::dropout_linear).
    fn dropout_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        p: f64,
        seed: u64,
    ) -> FloatTensor<Self>;

    /// See [`linear_routed`](crate::linear_routed).
    fn linear_routed(
        y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        up: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        selected: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// Their backward passes, on the backend below autodiff.
pub(crate) trait HostGradients: HostOps + ActivationGradients {
    /// The gradients of `a`, `up` and the weights, and on demand that of `x`. `inputs` are `x`, `a`,
    /// `up`, the weights and the selection.
    fn linear_routed_backward(
        inputs: [FloatTensor<Self>; 5],
        grad: FloatTensor<Self>,
        x_too: bool,
    ) -> ([FloatTensor<Self>; 3], Option<FloatTensor<Self>>);
}

/// Whether all tensors are f32 on Flex, tracked or not.
pub(crate) fn applies(tensors: &[&DispatchTensor]) -> bool {
    kernels(tensors) == Some(Kernels::Host)
}

/// Whether a matrix is held on Flex in a type whose products with f32 are computed here; halves only
/// where they are constants.
pub(crate) fn multiplies(weight: &DispatchTensor) -> bool {
    let widened = matches!(weight.kind.dtype(), DType::F32 | DType::BF16 | DType::F16);
    widened && place(&weight.kind) == Some(Kernels::Host)
}
