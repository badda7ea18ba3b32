use burn::backend::TensorMetadata;
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::{CubeCount, CubeDim};

use super::launch::{beside, each, like};
use super::product::product;
use super::{is_empty, kernel};
use crate::Precision;
use crate::ops::{AdamWStep, DeviceGradients, DeviceOps};

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

    fn add_squares(sums: CubeTensor, values: CubeTensor) -> CubeTensor {
        const UNITS: usize = 256;
        let (sums, values) = (into_contiguous(sums), into_contiguous(values));
        let out = like(&sums);
        if !is_empty(&out) {
            let most = out.client.properties().hardware.max_cube_dim.0 as usize;
            let units = UNITS.min(most);
            let count = CubeCount::Static(out.shape().num_elements() as u32, 1, 1);
            let client = out.client.clone();
            let [sums, values] = [sums, values].map(CubeTensor::into_tensor_arg);
            let result = out.clone().into_tensor_arg();
            let dim = CubeDim::new_1d(units as u32);
            kernel::add_squares::launch(&client, count, dim, sums, values, result, units);
        }
        out
    }

    fn adamw_step(
        parameter: CubeTensor,
        grad: CubeTensor,
        first: CubeTensor,
        second: CubeTensor,
        step: AdamWStep,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let [parameter, grad, first, second] =
            [parameter, grad, first, second].map(into_contiguous);
        let results = [like(&parameter), like(&parameter), like(&parameter)];
        if !is_empty(&parameter) {
            let (count, dim) = each(&parameter, parameter.shape().num_elements());
            let client = parameter.client.clone();
            let correction = |beta: f64| 1.0 / (1.0 - beta.powf(step.time as f64));
            let [p, g, m, v] = [parameter, grad, first, second].map(CubeTensor::into_tensor_arg);
            let [new_p, new_m, new_v] = results.clone().map(CubeTensor::into_tensor_arg);
            kernel::adamw::launch(
                &client,
                count,
                dim,
                p,
                g,
                m,
                v,
                new_p,
                new_m,
                new_v,
                step.beta1 as f32,
                step.beta2 as f32,
                (1.0 - step.learning_rate * step.weight_decay) as f32,
                step.learning_rate as f32,
                correction(step.beta1) as f32,
                correction(step.beta2) as f32,
                step.epsilon as f32,
            );
        }
        let [parameter, first, second] = results;
        (parameter, first, second)
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
