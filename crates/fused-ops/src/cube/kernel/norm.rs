use cubecl::prelude::*;

use super::reduce::cube_sum;

/// `1 / sqrt(mean(x^2) + eps)` of the row that starts at `start`, for all units of its cube.
#[cube]
fn inverse_rms(
    x: &Tensor<f32>,
    start: usize,
    eps: f32,
    #[comptime] width: usize,
    #[comptime] units: usize,
) -> f32 {
    let mut squares = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < width {
        let value = x[start + i];
        squares += value * value;
        i += units;
    }
    1.0f32 / (cube_sum(squares, units) / (width as f32) + eps).sqrt()
}

/// A row of `width` by a cube: `out = x * r * weight` with `r = 1 / sqrt(mean(x^2) + eps)`.
#[cube(launch)]
pub(in crate::cube) fn rms_norm(
    x: &Tensor<f32>,
    weight: &Tensor<f32>,
    out: &mut Tensor<f32>,
    eps: f32,
    rows: usize,
    #[comptime] width: usize,
    #[comptime] units: usize,
) {
    let row = CUBE_POS as usize;
    if row >= rows {
        terminate!();
    }
    let (start, unit) = (row * width, UNIT_POS as usize);
    let scale = inverse_rms(x, start, eps, width, units);
    let mut i = unit;
    while i < width {
        out[start + i] = x[start + i] * scale * weight[i];
        i += units;
    }
}

/// The gradient of `x`, `r * g * weight - x * r^3 / width * sum(g * weight * x)`.
#[cube(launch)]
pub(in crate::cube) fn rms_norm_backward(
    x: &Tensor<f32>,
    weight: &Tensor<f32>,
    grad: &Tensor<f32>,
    out: &mut Tensor<f32>,
    eps: f32,
    rows: usize,
    #[comptime] width: usize,
    #[comptime] units: usize,
) {
    let row = CUBE_POS as usize;
    if row >= rows {
        terminate!();
    }
    let (start, unit) = (row * width, UNIT_POS as usize);
    let scale = inverse_rms(x, start, eps, width, units);
    let mut products = 0.0f32;
    let mut i = unit;
    while i < width {
        products += grad[start + i] * weight[i] * x[start + i];
        i += units;
    }
    let common = scale * scale * scale / (width as f32) * cube_sum(products, units);
    let mut i = unit;
    while i < width {
        out[start + i] = scale * grad[start + i] * weight[i] - x[start + i] * common;
        i += units;
    }
}

/// What the gradient of the weight is the sum of, `g * x * r`.
#[cube(launch)]
pub(in crate::cube) fn rms_norm_weight_terms(
    x: &Tensor<f32>,
    grad: &Tensor<f32>,
    out: &mut Tensor<f32>,
    eps: f32,
    rows: usize,
    #[comptime] width: usize,
    #[comptime] units: usize,
) {
    let row = CUBE_POS as usize;
    if row >= rows {
        terminate!();
    }
    let (start, unit) = (row * width, UNIT_POS as usize);
    let scale = inverse_rms(x, start, eps, width, units);
    let mut i = unit;
    while i < width {
        out[start + i] = grad[start + i] * x[start + i] * scale;
        i += units;
    }
}
