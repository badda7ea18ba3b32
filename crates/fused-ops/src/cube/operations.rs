use burn::backend::TensorMetadata;
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::launch::{beside, each, like};
use super::product::product;
use super::{is_empty, kernel};
use crate::Precision;
use crate::ops::{DeviceGradients, DeviceOps, KnownGradientOps, KnownGradientScaling};

/// Moves and scales; `outputs` of the factors, and whether back to them.
fn scaled(
    from: CubeTensor,
    factors: Option<CubeTensor>,
    scaling: f64,
    [experts, outputs, rank]: [usize; 3],
    back: bool,
) -> CubeTensor {
    let from = into_contiguous(from);
    let shape = match back {
        true => Shape::from([experts, outputs, rank]),
        false => Shape::from([experts * rank, outputs]),
    };
    let out = beside(&from, shape);
    if !is_empty(&out) {
        let (count, dim) = each(&out, out.shape().num_elements());
        let by_expert = factors.is_some();
        let factors = factors.map_or_else(|| from.clone(), into_contiguous).into_tensor_arg();
        let client = out.client.clone();
        let (from, result) = (from.into_tensor_arg(), out.clone().into_tensor_arg());
        kernel::scaled_up::launch(
            &client,
            count,
            dim,
            from,
            factors,
            result,
            scaling as f32,
            outputs,
            rank,
            by_expert,
            back,
        );
    }
    out
}

fn dims(b: &CubeTensor) -> [usize; 3] {
    let shape = b.shape();
    [shape[0], shape[1], shape[2]]
}

impl KnownGradientOps for CubeBackend {}

impl KnownGradientScaling for CubeBackend {}

impl DeviceOps for CubeBackend {
    fn device_product(a: CubeTensor, b: CubeTensor, precision: Precision) -> CubeTensor {
        product(a, b, precision)
    }

    fn gate_experts(hidden: CubeTensor, weights: CubeTensor, rank: usize) -> CubeTensor {
        let (hidden, weights) = (into_contiguous(hidden), into_contiguous(weights));
        let out = like(&hidden);
        if !is_empty(&out) {
            let (count, dim) = each(&out, out.shape().num_elements());
            let client = out.client.clone();
            let [hidden, weights] = [hidden, weights].map(CubeTensor::into_tensor_arg);
            let result = out.clone().into_tensor_arg();
            kernel::gate::launch(&client, count, dim, hidden, weights, result, rank);
        }
        out
    }

    fn scale_up_by_expert(b: CubeTensor, factors: CubeTensor, scaling: f64) -> CubeTensor {
        let dims = dims(&b);
        scaled(b, Some(factors), scaling, dims, false)
    }

    fn scale_up(b: CubeTensor, scaling: f64) -> CubeTensor {
        let dims = dims(&b);
        scaled(b, None, scaling, dims, false)
    }
}

impl DeviceGradients for CubeBackend {
    fn gate_experts_backward(
        hidden: CubeTensor,
        weights: CubeTensor,
        grad: CubeTensor,
        rank: usize,
    ) -> [CubeTensor; 2] {
        let [hidden, weights, grad] = [hidden, weights, grad].map(into_contiguous);
        let results = [like(&hidden), like(&weights)];
        if !is_empty(&hidden) {
            let (count, dim) = each(&weights, weights.shape().num_elements());
            let (experts, columns) = (hidden.shape()[1] / rank, weights.shape()[1]);
            let client = weights.client.clone();
            let [hidden, weights, grad] = [hidden, weights, grad].map(CubeTensor::into_tensor_arg);
            let [hidden_grad, weights_grad] = results.clone().map(CubeTensor::into_tensor_arg);
            kernel::gate_backward::launch(
                &client,
                count,
                dim,
                hidden,
                weights,
                grad,
                hidden_grad,
                weights_grad,
                experts,
                columns,
                rank,
            );
        }
        results
    }

    fn scale_up_backward(
        grad: CubeTensor,
        factors: Option<CubeTensor>,
        scaling: f64,
        dims: [usize; 3],
    ) -> CubeTensor {
        scaled(grad, factors, scaling, dims, true)
    }
}
