use super::simd::{LANES, exp_of_negative, multiply_add, multiversioned, sum_of_pairs};
use super::softmax::{exponentials, maximum};

/// Turns scores, rows of `width`, into exponentials below their running maximum `top`, and adds
/// them to `sum`; `scale` becomes what earlier exponentials and sums have to be multiplied with.
#[inline(always)]
fn online_softmax_body<const FMA: bool>(
    scores: &mut [f32],
    width: usize,
    top: &mut [f32],
    sum: &mut [f32],
    scale: &mut [f32],
) {
    for (i, row) in scores.chunks_exact_mut(width).enumerate() {
        let highest = maximum(row).max(top[i]);
        if highest == f32::NEG_INFINITY {
            // Nothing was seen yet. NaN is no maximum, and must not be lost.
            row.iter_mut().filter(|x| !x.is_nan()).for_each(|x| *x = 0.0);
            sum[i] += row.iter().sum::<f32>();
            scale[i] = 1.0;
            continue;
        }
        scale[i] = exp_of_negative::<FMA>(top[i] - highest);
        sum[i] = sum[i] * scale[i] + exponentials::<FMA>(row, highest);
        top[i] = highest;
    }
}

/// `row = exp(row - less)`.
#[inline(always)]
fn exp_less_body<const FMA: bool>(rows: &mut [f32], width: usize, less: &[f32]) {
    for (row, less) in rows.chunks_exact_mut(width).zip(less) {
        exponentials::<FMA>(row, *less);
    }
}

/// `grad = weights * (grad - delta)`.
#[inline(always)]
fn score_gradients_body<const FMA: bool>(
    weights: &[f32],
    grad: &mut [f32],
    width: usize,
    deltas: &[f32],
) {
    let rows = weights.chunks_exact(width).zip(grad.chunks_exact_mut(width));
    for ((weights, grad), delta) in rows.zip(deltas) {
        for (grad, weight) in grad.iter_mut().zip(weights) {
            *grad = weight * (*grad - delta);
        }
    }
}

/// `x = cap * tanh(x)`, and `slope = cap * (1 - tanh(x)^2)`.
#[inline(always)]
fn soft_cap_body<const FMA: bool>(x: &mut [f32], cap: f32, slope: &mut [f32]) {
    let one = |x: &mut f32, slope: &mut f32| {
        // tanh(|x|) = (1 - e) / (1 + e) with e = exp(-2 |x|), which loses digits near 0: there its
        // series is exact to f32.
        let (size, square) = (x.abs(), *x * *x);
        let e = exp_of_negative::<FMA>(-2.0 * size);
        let series = multiply_add::<FMA>(square, 2.0 / 15.0, -1.0 / 3.0);
        let series = multiply_add::<FMA>(series * square, size, size);
        let tanh = if size < 0.1 { series } else { (1.0 - e) / (1.0 + e) };
        *slope = cap * (1.0 - tanh * tanh);
        *x = cap * tanh.copysign(*x);
    };
    let ((x, x_tail), (slope, slope_tail)) =
        (x.as_chunks_mut::<LANES>(), slope.as_chunks_mut::<LANES>());
    for (x, slope) in x.iter_mut().zip(slope) {
        x.iter_mut().zip(slope).for_each(|(x, slope)| one(x, slope));
    }
    x_tail.iter_mut().zip(slope_tail).for_each(|(x, slope)| one(x, slope));
}

/// `rows *= scale`, a factor for each row.
#[inline(always)]
fn scale_rows_body<const FMA: bool>(rows: &mut [f32], width: usize, scale: &[f32]) {
    for (row, scale) in rows.chunks_exact_mut(width).zip(scale) {
        row.iter_mut().for_each(|x| *x *= scale);
    }
}

/// `out = sum(a * b)` of rows that begin `stride` apart.
#[inline(always)]
fn row_dots_body<const FMA: bool>(
    a: &[f32],
    b: &[f32],
    width: usize,
    stride: usize,
    out: &mut [f32],
) {
    for (i, out) in out.iter_mut().enumerate() {
        let row = i * stride..i * stride + width;
        *out = sum_of_pairs(&a[row.clone()], &b[row], multiply_add::<FMA>);
    }
}

multiversioned! {
    /// Turns a block of scores, rows of `width`, into exponentials below the running maxima `top`
    /// and adds them to the running sums; `scale` becomes what came before has to be multiplied with.
    online_softmax(
        scores: &mut [f32],
        width: usize,
        top: &mut [f32],
        sum: &mut [f32],
        scale: &mut [f32],
    ) = online_softmax_body
}

multiversioned! {
    /// The exponentials of rows less a number for each: weights, of logarithms of sums.
    exp_less(rows: &mut [f32], width: usize, less: &[f32]) = exp_less_body
}

multiversioned! {
    /// Turns the gradients of a block of weights into those of its scores; `deltas` are the sums of
    /// weight times gradient over whole rows.
    score_gradients(weights: &[f32], grad: &mut [f32], width: usize, deltas: &[f32]) = score_gradients_body
}

multiversioned! {
    /// `x = cap * tanh(x)`, and its slope.
    soft_cap(x: &mut [f32], cap: f32, slope: &mut [f32]) = soft_cap_body
}

multiversioned! {
    /// Multiplies each row with its factor.
    scale_rows(rows: &mut [f32], width: usize, scale: &[f32]) = scale_rows_body
}

multiversioned! {
    /// The products of pairs of rows, which begin `stride` apart.
    row_dots(a: &[f32], b: &[f32], width: usize, stride: usize, out: &mut [f32]) = row_dots_body
}
