use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::launch::{beside, by_row, each, like};
use super::{is_empty, kernel, rows};
use crate::ops::{ActivationGradients, ActivationOps, DropoutMask};

/// The softmax of scores `[B, H, S, T]`; each axis of the mask but the last may be 1.
fn softmax(scores: CubeTensor, mask: Option<CubeTensor>) -> CubeTensor {
    let scores = into_contiguous(scores);
    let out = like(&scores);
    if is_empty(&out) {
        return out;
    }
    let shape = scores.shape();
    let masked = mask.is_some();
    let mask = mask.map_or_else(|| scores.clone(), into_contiguous);
    let hidden = mask.shape();
    let stride = |axis: usize, rows: usize| if hidden[axis] == 1 { 0 } else { rows };
    let (rows, width) = rows(&scores);
    let (count, dim, units) = by_row(&out, rows, width);
    let client = out.client.clone();
    kernel::softmax::launch(
        &client,
        count,
        dim,
        scores.into_tensor_arg(),
        mask.into_tensor_arg(),
        out.clone().into_tensor_arg(),
        rows,
        shape[1],
        shape[2],
        stride(0, hidden[1] * hidden[2]),
        stride(1, hidden[2]),
        stride(2, 1),
        masked,
        width,
        units,
    );
    out
}

impl ActivationOps for CubeBackend {
    fn silu_mul(gate: CubeTensor, up: CubeTensor) -> CubeTensor {
        let (gate, up) = (into_contiguous(gate), into_contiguous(up));
        let out = like(&gate);
        if !is_empty(&out) {
            let (count, dim) = each(&out, out.shape().num_elements());
            let client = out.client.clone();
            let [gate, up] = [gate, up].map(CubeTensor::into_tensor_arg);
            kernel::silu_mul::launch(&client, count, dim, gate, up, out.clone().into_tensor_arg());
        }
        out
    }

    fn softmax_masked(scores: CubeTensor, mask: CubeTensor) -> CubeTensor {
        softmax(scores, Some(mask))
    }

    fn softmax_unmasked(scores: CubeTensor) -> CubeTensor {
        softmax(scores, None)
    }

    fn rms_norm(x: CubeTensor, weight: CubeTensor, eps: f64) -> CubeTensor {
        let (x, weight) = (into_contiguous(x), into_contiguous(weight));
        let out = like(&x);
        if !is_empty(&out) {
            let (rows, width) = rows(&x);
            let (count, dim, units) = by_row(&out, rows, width);
            let client = out.client.clone();
            kernel::rms_norm::launch(
                &client,
                count,
                dim,
                x.into_tensor_arg(),
                weight.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                eps as f32,
                rows,
                width,
                units,
            );
        }
        out
    }

    fn dropped(x: CubeTensor, p: f64, seed: u64) -> CubeTensor {
        let mask = DropoutMask::new(p, seed);
        let x = into_contiguous(x);
        let out = like(&x);
        if !is_empty(&out) {
            let (count, dim) = each(&out, out.shape().num_elements());
            let client = out.client.clone();
            kernel::dropped::launch(
                &client,
                count,
                dim,
                x.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                mask.keys[0],
                mask.keys[1],
                mask.threshold,
                mask.scale,
            );
        }
        out
    }

    fn rope_heads(x: CubeTensor, cos: CubeTensor, sin: CubeTensor) -> CubeTensor {
        let shape = x.shape();
        let [batch, positions, heads, size] = [shape[0], shape[1], shape[2], shape[3]];
        let [x, cos, sin] = [x, cos, sin].map(into_contiguous);
        let out = beside(&x, Shape::from([batch, heads, positions, size]));
        if !is_empty(&out) {
            let (count, dim) = each(&out, out.shape().num_elements());
            let tables = cos.shape().num_elements() / (positions * size);
            let client = out.client.clone();
            let [x, cos, sin] = [x, cos, sin].map(CubeTensor::into_tensor_arg);
            let result = out.clone().into_tensor_arg();
            kernel::rope_heads::launch(
                &client, count, dim, x, cos, sin, result, positions, heads, tables, size,
            );
        }
        out
    }

    fn exp_less(logits: CubeTensor, less: CubeTensor) -> CubeTensor {
        let (logits, less) = (into_contiguous(logits), into_contiguous(less));
        let out = like(&logits);
        if !is_empty(&out) {
            let (_, width) = rows(&logits);
            let (count, dim) = each(&out, out.shape().num_elements());
            let client = out.client.clone();
            let [logits, less] = [logits, less].map(CubeTensor::into_tensor_arg);
            let result = out.clone().into_tensor_arg();
            kernel::exp_less::launch(&client, count, dim, logits, less, result, width);
        }
        out
    }
}

impl ActivationGradients for CubeBackend {
    fn silu_mul_backward(gate: CubeTensor, up: CubeTensor, grad: CubeTensor) -> [CubeTensor; 2] {
        let [gate, up, grad] = [gate, up, grad].map(into_contiguous);
        let results = [like(&gate), like(&gate)];
        if !is_empty(&gate) {
            let (count, dim) = each(&gate, gate.shape().num_elements());
            let client = gate.client.clone();
            let [gate, up, grad] = [gate, up, grad].map(CubeTensor::into_tensor_arg);
            let [gate_grad, up_grad] = results.clone().map(CubeTensor::into_tensor_arg);
            kernel::silu_mul_backward::launch(
                &client, count, dim, gate, up, grad, gate_grad, up_grad,
            );
        }
        results
    }

    fn softmax_backward(y: CubeTensor, grad: CubeTensor) -> CubeTensor {
        let (y, grad) = (into_contiguous(y), into_contiguous(grad));
        let out = like(&y);
        if !is_empty(&out) {
            let (rows, width) = rows(&y);
            let (count, dim, units) = by_row(&out, rows, width);
            let client = out.client.clone();
            let [y, grad] = [y, grad].map(CubeTensor::into_tensor_arg);
            let result = out.clone().into_tensor_arg();
            kernel::softmax_backward::launch(
                &client, count, dim, y, grad, result, rows, width, units,
            );
        }
        out
    }

    fn rms_norm_backward(
        x: CubeTensor,
        weight: CubeTensor,
        eps: f64,
        grad: CubeTensor,
        weight_too: bool,
    ) -> (CubeTensor, Option<CubeTensor>) {
        let [x, weight, grad] = [x, weight, grad].map(into_contiguous);
        let out = like(&x);
        let (rows, width) = rows(&x);
        if is_empty(&x) {
            let zeros = || Self::float_zeros(weight.shape(), &weight.device, DType::F32.into());
            return (out, weight_too.then(zeros));
        }
        let (count, dim, units) = by_row(&out, rows, width);
        let client = out.client.clone();
        let eps = eps as f32;
        let weight_grad = weight_too.then(|| {
            let terms = beside(&x, Shape::from([rows, width]));
            kernel::rms_norm_weight_terms::launch(
                &client,
                count.clone(),
                dim,
                x.clone().into_tensor_arg(),
                grad.clone().into_tensor_arg(),
                terms.clone().into_tensor_arg(),
                eps,
                rows,
                width,
                units,
            );
            Self::float_reshape(Self::float_sum_dim(terms, 0), Shape::from([width]))
        });
        kernel::rms_norm_backward::launch(
            &client,
            count,
            dim,
            x.into_tensor_arg(),
            weight.into_tensor_arg(),
            grad.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            eps,
            rows,
            width,
            units,
        );
        (out, weight_grad)
    }

    fn rope_heads_backward(cos: CubeTensor, sin: CubeTensor, grad: CubeTensor) -> CubeTensor {
        let shape = grad.shape();
        let [batch, heads, positions, size] = [shape[0], shape[1], shape[2], shape[3]];
        let [grad, cos, sin] = [grad, cos, sin].map(into_contiguous);
        let out = beside(&grad, Shape::from([batch, positions, heads, size]));
        if !is_empty(&out) {
            let (count, dim) = each(&out, out.shape().num_elements());
            let tables = cos.shape().num_elements() / (positions * size);
            let client = out.client.clone();
            let [grad, cos, sin] = [grad, cos, sin].map(CubeTensor::into_tensor_arg);
            let result = out.clone().into_tensor_arg();
            kernel::rope_heads_backward::launch(
                &client, count, dim, grad, cos, sin, result, positions, heads, tables, size,
            );
        }
        out
    }
}
