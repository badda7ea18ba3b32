use cubecl::prelude::*;

use super::reduce::{cube_max, cube_sum};

/// A row of `width` by a cube: `out = softmax(scores)`.
#[cube(launch)]
pub(in crate::cube) fn softmax(
    scores: &Tensor<f32>,
    out: &mut Tensor<f32>,
    rows: usize,
    #[comptime] width: usize,
    #[comptime] units: usize,
) {
    let row = CUBE_POS as usize;
    if row >= rows {
        terminate!();
    }
    let (start, unit) = (row * width, UNIT_POS as usize);
    let mut largest = scores[start];
    let mut i = unit;
    while i < width {
        largest = max(largest, scores[start + i]);
        i += units;
    }
    let largest = cube_max(largest, units);
    let mut sum = 0.0f32;
    let mut i = unit;
    while i < width {
        sum += (scores[start + i] - largest).exp();
        i += units;
    }
    let scale = 1.0f32 / cube_sum(sum, units);
    let mut i = unit;
    while i < width {
        out[start + i] = (scores[start + i] - largest).exp() * scale;
        i += units;
    }
}

/// [`softmax`] of the sums of scores `[.., heads, queries, width]` and a mask, whose strides are in
/// rows for the batch, the head and the query.
#[cube(launch)]
pub(in crate::cube) fn softmax_masked(
    scores: &Tensor<f32>,
    mask: &Tensor<f32>,
    out: &mut Tensor<f32>,
    rows: usize,
    heads: usize,
    queries: usize,
    batch_stride: usize,
    head_stride: usize,
    query_stride: usize,
    #[comptime] width: usize,
    #[comptime] units: usize,
) {
    let row = CUBE_POS as usize;
    if row >= rows {
        terminate!();
    }
    let (query, matrix) = (row % queries, row / queries);
    let (head, batch) = (matrix % heads, matrix / heads);
    let hidden = (batch * batch_stride + head * head_stride + query * query_stride) * width;
    let (start, unit) = (row * width, UNIT_POS as usize);
    let mut largest = scores[start] + mask[hidden];
    let mut i = unit;
    while i < width {
        largest = max(largest, scores[start + i] + mask[hidden + i]);
        i += units;
    }
    let largest = cube_max(largest, units);
    let mut sum = 0.0f32;
    let mut i = unit;
    while i < width {
        sum += (scores[start + i] + mask[hidden + i] - largest).exp();
        i += units;
    }
    let scale = 1.0f32 / cube_sum(sum, units);
    let mut i = unit;
    while i < width {
        out[start + i] = (scores[start + i] + mask[hidden + i] - largest).exp() * scale;
        i += units;
    }
}

/// The gradient of the scores, `y * (g - sum(g * y))`.
#[cube(launch)]
pub(in crate::cube) fn softmax_backward(
    y: &Tensor<f32>,
    grad: &Tensor<f32>,
    out: &mut Tensor<f32>,
    rows: usize,
    #[comptime] width: usize,
    #[comptime] units: usize,
) {
    let row = CUBE_POS as usize;
    if row >= rows {
        terminate!();
    }
    let (start, unit) = (row * width, UNIT_POS as usize);
    let mut products = 0.0f32;
    let mut i = unit;
    while i < width {
        products += y[start + i] * grad[start + i];
        i += units;
    }
    let sum = cube_sum(products, units);
    let mut i = unit;
    while i < width {
        out[start + i] = y[start + i] * (grad[start + i] - sum);
        i += units;
    }
}

/// The logarithm of the sum of exponentials of a row.
#[cube(launch)]
pub(in crate::cube) fn log_sum_exp(
    logits: &Tensor<f32>,
    out: &mut Tensor<f32>,
    rows: usize,
    #[comptime] width: usize,
    #[comptime] units: usize,
) {
    let row = CUBE_POS as usize;
    if row >= rows {
        terminate!();
    }
    let (start, unit) = (row * width, UNIT_POS as usize);
    let mut largest = logits[start];
    let mut i = unit;
    while i < width {
        largest = max(largest, logits[start + i]);
        i += units;
    }
    let largest = cube_max(largest, units);
    let mut sum = 0.0f32;
    let mut i = unit;
    while i < width {
        sum += (logits[start + i] - largest).exp();
        i += units;
    }
    let sum = cube_sum(sum, units);
    if unit == 0 {
        out[row] = largest + sum.ln();
    }
}

/// `exp(logits - less)` with a number for each row.
#[cube(launch)]
pub(in crate::cube) fn exp_less(
    logits: &Tensor<f32>,
    less: &Tensor<f32>,
    out: &mut Tensor<f32>,
    #[comptime] width: usize,
) {
    let i = ABSOLUTE_POS;
    if i >= out.len() {
        terminate!();
    }
    out[i] = (logits[i] - less[i / width]).exp();
}
