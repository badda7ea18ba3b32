use cubecl::prelude::*;

use super::reduce::cube_sum;

/// A step of AdamW on every element.
#[cube(launch)]
pub(in crate::cube) fn adamw(
    parameter: &Tensor<f32>,
    grad: &Tensor<f32>,
    first: &Tensor<f32>,
    second: &Tensor<f32>,
    new_parameter: &mut Tensor<f32>,
    new_first: &mut Tensor<f32>,
    new_second: &mut Tensor<f32>,
    scale: f32,
    beta1: f32,
    beta2: f32,
    kept: f32,
    rate: f32,
    first_correction: f32,
    second_correction: f32,
    epsilon: f32,
) {
    let i = ABSOLUTE_POS;
    if i >= new_parameter.len() {
        terminate!();
    }
    let g = grad[i] * scale;
    let m = beta1 * first[i] + (1.0f32 - beta1) * g;
    let v = beta2 * second[i] + (1.0f32 - beta2) * g * g;
    new_first[i] = m;
    new_second[i] = v;
    let corrected = (v * second_correction).sqrt() + epsilon;
    new_parameter[i] = parameter[i] * kept - rate * m * first_correction / corrected;
}

/// Adds the squares of a tensor to partial sums, one for each cube: `out = sums + squares`.
#[cube(launch)]
pub(in crate::cube) fn add_squares(
    sums: &Tensor<f32>,
    values: &Tensor<f32>,
    out: &mut Tensor<f32>,
    #[comptime] units: usize,
) {
    let cube = CUBE_POS as usize;
    let mut squares = 0.0f32;
    let mut i = cube * units + UNIT_POS as usize;
    let step = sums.len() * units;
    while i < values.len() {
        squares += values[i] * values[i];
        i += step;
    }
    let total = cube_sum(squares, units);
    if UNIT_POS == 0 {
        out[cube] = sums[cube] + total;
    }
}
