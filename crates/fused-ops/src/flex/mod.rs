//! The kernels as operations of Burn: for the Flex backend, and for its autodiff.

mod attention;
mod batched;
mod buffer;
mod constant;
mod gradients;
mod mask;
mod matrix;
mod narrow;
mod operations;
mod product;
mod routed;

use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Backend, DispatchTensor, DispatchTensorKind, TensorMetadata, backend_extension,
};
use burn::tensor::DType;

pub(crate) use attention::{Attended, AttentionKind};
pub(crate) use constant::Constant;

/// The operations. Only called for what [`applies`] allows.
#[backend_extension(Autodiff, Flex)]
pub(crate) trait FusedOps: Backend {
    /// See [`silu_mul`](crate::silu_mul).
    fn silu_mul(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`softmax_masked`](crate::softmax_masked).
    fn softmax_masked(scores: FloatTensor<Self>, mask: FloatTensor<Self>) -> FloatTensor<Self>;

    /// [`softmax_masked`](Self::softmax_masked) without a mask.
    fn softmax_unmasked(scores: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`rms_norm`](crate::rms_norm).
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self>;

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

    /// See [`dropout`](crate::dropout).
    fn dropped(x: FloatTensor<Self>, p: f64, seed: u64) -> FloatTensor<Self>;

    /// See [`linear_routed`](crate::linear_routed).
    fn linear_routed(
        y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        up: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        selected: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// See [`rope_heads`](crate::rope_heads).
    fn rope_heads(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// See [`cross_entropy`](crate::cross_entropy): the logarithms of the sums of exponentials of
    /// rows, `[T, V]` to `[T]`. Not differentiable.
    fn log_sum_exp(logits: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The exponentials of rows less a number for each, `[T, V]` and `[T]` to `[T, V]`. Not
    /// differentiable.
    fn exp_less(logits: FloatTensor<Self>, less: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`attention`](crate::attention).
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        kind: AttentionKind,
    ) -> FloatTensor<Self>;

    /// [`attention`](Self::attention) with what hides keys.
    fn attention_padded(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        padding: FloatTensor<Self>,
        kind: AttentionKind,
    ) -> FloatTensor<Self>;
}

/// Their backward passes, on the backend below autodiff.
pub(crate) trait FusedGradients: FusedOps {
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

    /// `x` with its mask, as it entered the linear map.
    fn dropout(x: FloatTensor<Self>, p: f64, seed: u64) -> FloatTensor<Self>;

    /// The gradients of `a`, `up` and the weights, and on demand that of `x`. `inputs` are `x`, `a`,
    /// `up`, the weights and the selection.
    fn linear_routed_backward(
        inputs: [FloatTensor<Self>; 5],
        grad: FloatTensor<Self>,
        x_too: bool,
    ) -> ([FloatTensor<Self>; 3], Option<FloatTensor<Self>>);

    /// The gradient of `x`.
    fn rope_heads_backward(
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// The result of an attention and the logarithms of its sums of exponentials, `[B, S, H]`.
    fn attention_forward(
        inputs: [FloatTensor<Self>; 3],
        padding: Option<FloatTensor<Self>>,
        kind: AttentionKind,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of queries, keys and values.
    fn attention_backward(
        attended: Attended<FloatTensor<Self>>,
        grad: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 3];
}

/// Whether all tensors are f32 on Flex, tracked or not.
pub(crate) fn applies(tensors: &[&DispatchTensor]) -> bool {
    tensors.iter().all(|tensor| tensor.kind.dtype() == DType::F32 && on_flex(tensor))
}

/// Whether a matrix is held on Flex in a type whose products with f32 are computed here; halves only
/// where they are constants.
pub(crate) fn multiplies(weight: &DispatchTensor) -> bool {
    match weight.kind.dtype() {
        DType::F32 => applies(&[weight]),
        DType::BF16 | DType::F16 => on_flex(weight),
        _ => false,
    }
}

fn on_flex(tensor: &DispatchTensor) -> bool {
    match &tensor.kind {
        DispatchTensorKind::Flex(_) => true,
        DispatchTensorKind::Autodiff(inner) => matches!(**inner, DispatchTensorKind::Flex(_)),
        #[allow(unreachable_patterns)]
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tensor};

    #[test]
    fn the_kernels_take_f32_on_flex() {
        let plain = Tensor::<2>::ones([2, 3], &Device::flex());
        let tracked = plain.clone().autodiff().require_grad();
        let half = plain.clone().cast(DType::F16).into_dispatch();
        let [plain, tracked] = [plain, tracked].map(Tensor::into_dispatch);
        assert!(applies(&[&plain, &tracked]));
        assert!(!applies(&[&plain, &half]));
    }
}
