use super::simd::{LANES, exp_of_negative, fold, multiply_add, multiversioned, sum_of_pairs};

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

#[inline(always)]
fn log_sum_exp_body<const FMA: bool>(row: &[f32], out: &mut f32) {
    let top = maximum(row);
    let mut sums = [0.0f32; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            sums[i] += exp_of_negative::<FMA>(chunk[i] - top);
        }
    }
    let tail: f32 = rest.iter().map(|x| exp_of_negative::<FMA>(x - top)).sum();
    // The lanes are summed in f64: rows have up to hundreds of thousands of entries.
    let sum = f64::from(tail) + sums.iter().map(|sum| f64::from(*sum)).sum::<f64>();
    *out = (f64::from(top) + sum.ln()) as f32;
}

multiversioned! {
    /// `out = ln(sum(exp(row)))`.
    log_sum_exp(row: &[f32], out: &mut f32) = log_sum_exp_body
}

/// `ln(sum(exp(row)))`.
pub(crate) fn log_sum_exp_of(row: &[f32]) -> f32 {
    let mut out = 0.0;
    log_sum_exp(row, &mut out);
    out
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
