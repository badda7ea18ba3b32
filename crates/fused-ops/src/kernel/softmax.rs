use std::mem::MaybeUninit;

use super::simd::{
    LANES, exp_of_negative, fold, ln_of_positive, multiply_add, multiversioned, sum_of_pairs,
};

/// The maximum; NaN entries do not count.
#[inline(always)]
pub(super) fn maximum(row: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, tail) = row.as_chunks::<LANES>();
    let tail = tail.iter().fold(f32::NEG_INFINITY, |a, &b| larger(a, b));
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = larger(lanes[i], chunk[i]);
        }
    }
    larger(tail, fold(&lanes, larger))
}

/// `row = exp(row - top)`, and the sum.
#[inline(always)]
pub(super) fn exponentials<const FMA: bool>(row: &mut [f32], top: f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            chunk[i] = exp_of_negative::<FMA>(chunk[i] - top);
            sums[i] += chunk[i];
        }
    }
    let mut tail = 0.0;
    for x in rest {
        *x = exp_of_negative::<FMA>(*x - top);
        tail += *x;
    }
    tail + fold(&sums, |a, b| a + b)
}

#[inline(always)]
fn forward<const FMA: bool>(row: &mut [f32], mask: &[f32], visible: usize) {
    let (row, hidden) = row.split_at_mut(visible);
    for (x, mask) in row.iter_mut().zip(mask) {
        *x += mask;
    }
    let top = maximum(row);
    let scale = 1.0 / exponentials::<FMA>(row, top);
    for x in row {
        *x *= scale;
    }
    hidden.fill(0.0);
}

#[inline(always)]
fn backward<const FMA: bool>(y: &[f32], grad: &mut [f32]) {
    let sum = sum_of_pairs(y, grad, multiply_add::<FMA>);
    for (grad, &y) in grad.iter_mut().zip(y) {
        *grad = y * (*grad - sum);
    }
}

/// `ln(sum(exp(row)))`.
#[inline(always)]
pub(super) fn log_sum_exp_of_row<const FMA: bool>(row: &[f32]) -> f32 {
    /// Of routers' logits, and not of a vocabulary's.
    const SHORT: usize = 64 * LANES;
    let top = maximum(row);
    let mut sums = [0.0f32; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            sums[i] += exp_of_negative::<FMA>(chunk[i] - top);
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum += exp_of_negative::<FMA>(x - top);
    }
    if row.len() <= SHORT {
        return top + ln_of_positive::<FMA>(fold(&sums, |a, b| a + b));
    }
    let sum = sums.iter().map(|sum| f64::from(*sum)).sum::<f64>();
    (f64::from(top) + sum.ln()) as f32
}

/// `out = scale * softmax(row)`, of a row whose `ln(sum(exp(row)))` is known.
#[inline(always)]
pub(super) fn softmax_of_row<const FMA: bool>(
    row: &[f32],
    log_sum: f32,
    scale: f32,
    out: &mut [MaybeUninit<f32>],
) {
    for (x, out) in row.iter().zip(out) {
        out.write(exp_of_negative::<FMA>(x - log_sum) * scale);
    }
}

multiversioned! {
    /// Softmax of the first `visible` scores, after adding the mask where it is not empty; 0 for
    /// the rest.
    softmax_row(row: &mut [f32], mask: &[f32], visible: usize) = forward
}

multiversioned! {
    /// Turns the gradient of one row of weights `y` into that of its scores.
    softmax_backward(y: &[f32], grad: &mut [f32]) = backward
}
