use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::{CubeCount, CubeDim};

use super::flat::{Layout, runs};
use super::kernel;
use super::launch::{beside, each, like};
use crate::ops::AdamWStep;

/// See [`adamw_steps`](crate::adamw_steps).
pub(crate) fn adamw_steps(
    parameters: &[CubeTensor],
    grads: &[CubeTensor],
    moments: Option<[Vec<CubeTensor>; 2]>,
    step: AdamWStep,
) -> [Vec<CubeTensor>; 3] {
    let mut stepped = [Vec::new(), Vec::new(), Vec::new()];
    let mut first = 0;
    for count in runs(parameters) {
        let run = first..first + count;
        let layout = Layout::of(&parameters[run.clone()]);
        let moments = moments.as_ref().map(|moments| moments.each_ref().map(|m| &m[run.clone()]));
        let flat = layout.flat(&parameters[run.clone()]).zip(layout.flat(&grads[run.clone()]));
        first += count;
        let Some((parameter, grad)) = flat else { continue };
        let moments = match moments {
            None => [zeros(&parameter), zeros(&parameter)],
            Some(moments) => {
                moments.map(|run| layout.flat(run).unwrap_or_else(|| zeros(&parameter)))
            }
        };
        let results = adamw(parameter, grad, moments, step);
        for (all, flat) in stepped.iter_mut().zip(&results) {
            all.extend(layout.parts(flat));
        }
    }
    stepped
}

fn zeros(like: &CubeTensor) -> CubeTensor {
    CubeBackend::float_zeros(like.shape(), &like.device, DType::F32.into())
}

fn adamw(
    parameter: CubeTensor,
    grad: CubeTensor,
    [first, second]: [CubeTensor; 2],
    step: AdamWStep,
) -> [CubeTensor; 3] {
    let results = [like(&parameter), like(&parameter), like(&parameter)];
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
        step.gradient_scale as f32,
        step.beta1 as f32,
        step.beta2 as f32,
        (1.0 - step.learning_rate * step.weight_decay) as f32,
        step.learning_rate as f32,
        correction(step.beta1) as f32,
        correction(step.beta2) as f32,
        step.epsilon as f32,
    );
    results
}

/// Sums of squares, of all tensors together, one for each of some cubes.
pub(crate) fn squared_sums(tensors: &[CubeTensor]) -> Option<CubeTensor> {
    /// Cubes that add up a buffer.
    const PARTS: usize = 64;
    const UNITS: usize = 256;
    let device = &tensors.first()?.device;
    let mut sums = CubeBackend::float_zeros(Shape::from([PARTS]), device, DType::F32.into());
    let mut first = 0;
    for count in runs(tensors) {
        let run = &tensors[first..first + count];
        first += count;
        let Some(values) = Layout::of(run).gathered(run) else { continue };
        let out = beside(&sums, Shape::from([PARTS]));
        let units = UNITS.min(out.client.properties().hardware.max_cube_dim.0 as usize);
        let (count, dim) = (CubeCount::Static(PARTS as u32, 1, 1), CubeDim::new_1d(units as u32));
        let client = out.client.clone();
        let [before, values] = [sums, values].map(CubeTensor::into_tensor_arg);
        let result = out.clone().into_tensor_arg();
        kernel::add_squares::launch(&client, count, dim, before, values, result, units);
        sums = out;
    }
    Some(sums)
}
