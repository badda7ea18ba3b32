use burn::backend::TensorMetadata;
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::{CubeCount, CubeDim};

use super::launch::{ALONG, beside, each, like};
use super::{is_empty, kernel};
use crate::ops::{DeviceGradients, MixtureGradients, MixtureOps};

/// The units of a cube that goes over experts, whose rank divides it.
const GATE_UNITS: usize = 256;

fn dims<const D: usize>(tensor: &CubeTensor) -> [usize; D] {
    let shape = tensor.shape();
    std::array::from_fn(|axis| shape[axis])
}

fn add(
    y: CubeTensor,
    hidden: CubeTensor,
    weights: Option<CubeTensor>,
    b: CubeTensor,
    scaling: f64,
) -> CubeTensor {
    let [y, hidden, b] = [y, hidden, b].map(into_contiguous);
    let out = like(&y);
    if is_empty(&out) {
        return out;
    }
    let ([rows, outputs], [experts, _, rank]) = (dims(&y), dims(&b));
    let gated = weights.is_some();
    let weights = weights.map_or_else(|| hidden.clone(), into_contiguous);
    let columns = weights.shape()[1];
    let (count, dim) = each(&out, rows.div_ceil(kernel::ROWS) * outputs);
    let client = out.client.clone();
    let [y, hidden, weights, b] = [y, hidden, weights, b].map(CubeTensor::into_tensor_arg);
    let result = out.clone().into_tensor_arg();
    kernel::add_experts::launch(
        &client,
        count,
        dim,
        y,
        hidden,
        weights,
        b,
        result,
        scaling as f32,
        rows,
        outputs,
        experts,
        columns,
        rank,
        gated,
    );
    out
}

impl MixtureOps for CubeBackend {
    fn add_experts(y: CubeTensor, hidden: CubeTensor, b: CubeTensor, scaling: f64) -> CubeTensor {
        add(y, hidden, None, b, scaling)
    }

    fn add_gated_experts(
        y: CubeTensor,
        hidden: CubeTensor,
        weights: CubeTensor,
        b: CubeTensor,
        scaling: f64,
    ) -> CubeTensor {
        add(y, hidden, Some(weights), b, scaling)
    }

    fn top_k_mask(scores: CubeTensor, k: usize) -> CubeTensor {
        let scores = into_contiguous(scores);
        let out = like(&scores);
        if !is_empty(&out) {
            let [rows, experts] = dims(&scores);
            let (count, dim) = each(&out, rows * experts);
            let client = out.client.clone();
            let (scores, result) = (scores.into_tensor_arg(), out.clone().into_tensor_arg());
            kernel::top_k::launch(&client, count, dim, scores, result, k as u32, experts);
        }
        out
    }

    fn one_by_one(mask: CubeTensor, k: usize) -> CubeTensor {
        let mask = into_contiguous(mask);
        let [rows, experts] = dims(&mask);
        let out = beside(&mask, Shape::from([rows, k, experts]));
        if !is_empty(&out) {
            let (count, dim) = each(&out, rows * k * experts);
            let client = out.client.clone();
            let (mask, result) = (mask.into_tensor_arg(), out.clone().into_tensor_arg());
            kernel::one_by_one::launch(&client, count, dim, mask, result, k, experts);
        }
        out
    }

    fn kept_shares(p: CubeTensor, mask: CubeTensor) -> CubeTensor {
        let [p, mask] = [p, mask].map(into_contiguous);
        let out = like(&p);
        if !is_empty(&out) {
            let [rows, experts] = dims(&p);
            let (count, dim) = each(&out, rows * experts);
            let client = out.client.clone();
            let [p, mask] = [p, mask].map(CubeTensor::into_tensor_arg);
            let result = out.clone().into_tensor_arg();
            kernel::kept_shares::launch(&client, count, dim, p, mask, result, experts);
        }
        out
    }
}

impl MixtureGradients for CubeBackend {
    fn gated_experts_grad(b: CubeTensor, grad: CubeTensor, scaling: f64) -> CubeTensor {
        let [b, grad] = [b, grad].map(into_contiguous);
        let ([rows, outputs], [experts, _, rank]) = (dims(&grad), dims(&b));
        let out = beside(&grad, Shape::from([rows, experts * rank]));
        if !is_empty(&out) {
            let (count, dim) = each(&out, rows * experts * rank);
            let client = out.client.clone();
            let [b, grad] = [b, grad].map(CubeTensor::into_tensor_arg);
            let result = out.clone().into_tensor_arg();
            kernel::add_experts_gated_grad::launch(
                &client,
                count,
                dim,
                b,
                grad,
                result,
                scaling as f32,
                outputs,
                experts,
                rank,
            );
        }
        out
    }

    fn gated_experts_backward(
        b: CubeTensor,
        hidden: CubeTensor,
        weights: CubeTensor,
        grad: CubeTensor,
        scaling: f64,
    ) -> [CubeTensor; 2] {
        let [experts, _, rank] = dims(&b);
        let results = [like(&hidden), like(&weights)];
        let units = GATE_UNITS.min(grad.client.properties().hardware.max_cube_dim.0 as usize);
        if is_empty(&hidden) || is_empty(&weights) || !units.is_multiple_of(rank) {
            let gated = Self::gated_experts_grad(b, grad, scaling);
            return Self::gate_experts_backward(hidden, weights, gated, rank);
        }
        let [b, hidden, weights, grad] = [b, hidden, weights, grad].map(into_contiguous);
        let ([_, outputs], [_, columns]) = (dims(&grad), dims(&weights));
        let cubes = hidden.shape().num_elements().div_ceil(units) as u32;
        let along = cubes.clamp(1, ALONG);
        let count = CubeCount::Static(along, cubes.div_ceil(along), 1);
        let client = grad.client.clone();
        let [hidden_grad, weights_grad] = results.clone().map(CubeTensor::into_tensor_arg);
        let [b, hidden, weights, grad] =
            [b, hidden, weights, grad].map(CubeTensor::into_tensor_arg);
        kernel::add_experts_gate_backward::launch(
            &client,
            count,
            CubeDim::new_1d(units as u32),
            b,
            grad,
            hidden,
            weights,
            hidden_grad,
            weights_grad,
            scaling as f32,
            outputs,
            experts,
            columns,
            rank,
            units,
        );
        results
    }

    fn expert_factors_grad(
        hidden: CubeTensor,
        weights: Option<CubeTensor>,
        grad: CubeTensor,
        scaling: f64,
        [experts, outputs, rank]: [usize; 3],
    ) -> CubeTensor {
        let [hidden, grad] = [hidden, grad].map(into_contiguous);
        let out = beside(&grad, Shape::from([experts, outputs, rank]));
        if !is_empty(&out) {
            let [rows, _] = dims(&grad);
            let (count, dim) = each(&out, experts * outputs * rank);
            let gated = weights.is_some();
            let weights = weights.map_or_else(|| hidden.clone(), into_contiguous);
            let columns = weights.shape()[1];
            let client = out.client.clone();
            let [hidden, weights, grad] = [hidden, weights, grad].map(CubeTensor::into_tensor_arg);
            let result = out.clone().into_tensor_arg();
            kernel::add_experts_factors_grad::launch(
                &client,
                count,
                dim,
                hidden,
                weights,
                grad,
                result,
                scaling as f32,
                rows,
                outputs,
                experts,
                columns,
                rank,
                gated,
            );
        }
        out
    }

    fn kept_shares_backward(p: CubeTensor, mask: CubeTensor, grad: CubeTensor) -> CubeTensor {
        let [p, mask, grad] = [p, mask, grad].map(into_contiguous);
        let out = like(&p);
        if !is_empty(&out) {
            let [rows, experts] = dims(&p);
            let (count, dim) = each(&out, rows * experts);
            let client = out.client.clone();
            let [p, mask, grad] = [p, mask, grad].map(CubeTensor::into_tensor_arg);
            let result = out.clone().into_tensor_arg();
            kernel::kept_shares_backward::launch(
                &client, count, dim, p, mask, grad, result, experts,
            );
        }
        out
    }
}
