use cubecl::prelude::*;

use super::reduce::{cube_max, cube_sum};

/// A score, and what the mask adds to it where there is one.
#[cube]
fn score(
    scores: &Tensor<f32>,
    mask: &Tensor<f32>,
    at: usize,
    hidden: usize,
    #[comptime] masked: bool,
) -> f32 {
    if masked { scores[at] + mask[hidden] } else { scores[at] }
}

/// The largest score of the row that starts at `start`, its mask at `hidden`, for all units of its cube.
#[cube]
fn row_max(
    scores: &Tensor<f32>,
    mask: &Tensor<f32>,
    start: usize,
    hidden: usize,
    #[comptime] masked: bool,
    #[comptime] width: usize,
    #[comptime] units: usize,
) -> f32 {
    let mut largest = score(scores, mask, start, hidden, masked);
    let mut i = UNIT_POS as usize;
    while i < width {
        largest = max(largest, score(scores, mask, start + i, hidden + i, masked));
        i += units;
    }
    cube_max(largest, units)
}

/// The sum of the exponentials of a row's scores less its largest, as [`row_max`].
#[cube]
fn row_exp_sum(
    scores: &Tensor<f32>,
    mask: &Tensor<f32>,
    start: usize,
    hidden: usize,
    largest: f32,
    #[comptime] masked: bool,
    #[comptime] width: usize,
    #[comptime] units: usize,
) -> f32 {
    let mut sum = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < width {
        sum += (score(scores, mask, start + i, hidden + i, masked) - largest).exp();
        i += units;
    }
    cube_sum(sum, units)
}

/// A row of `width` by a cube: the softmax of scores `[.., heads, queries, width]`, plus a mask where
/// `masked`, whose strides are in rows for the batch, the head and the query.
#[cube(launch)]
pub(in crate::cube) fn softmax(
    scores: &Tensor<f32>,
    mask: &Tensor<f32>,
    out: &mut Tensor<f32>,
    rows: usize,
    heads: usize,
    queries: usize,
    batch_stride: usize,
    head_stride: usize,
    query_stride: usize,
    #[comptime] masked: bool,
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
    let start = row * width;
    let largest = row_max(scores, mask, start, hidden, masked, width, units);
    let sum = row_exp_sum(scores, mask, start, hidden, largest, masked, width, units);
    let mut i = UNIT_POS as usize;
    while i < width {
        let value = score(scores, mask, start + i, hidden + i, masked);
        out[start + i] = (value - largest).exp() / sum;
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
    let start = row * width;
    let largest = row_max(logits, logits, start, start, false, width, units);
    let sum = row_exp_sum(logits, logits, start, start, largest, false, width, units);
    if UNIT_POS == 0 {
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
