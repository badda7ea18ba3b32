use std::mem::MaybeUninit;

use super::simd::{LANES, exp_of_negative, fold, ln_of_positive, multiply_add, multiversioned};
use super::softmax::{log_sum_exp_of_row, softmax_of_row};
use crate::ops::LEAST_PROBABILITY;

#[inline(always)]
fn log_sum_exp_body<const FMA: bool>(x: &[f32], width: usize, out: &mut [f32]) {
    if width < LANES {
        for (x, out) in x.chunks(LANES * width).zip(out.chunks_mut(LANES)) {
            log_sums_exp_of_narrow_rows::<FMA>(x, width, out);
        }
        return;
    }
    for (x, out) in x.chunks_exact(width).zip(out) {
        *out = log_sum_exp_of_row::<FMA>(x);
    }
}

/// Of up to [`LANES`] rows that are shorter than that: a lane for each.
#[inline(always)]
fn log_sums_exp_of_narrow_rows<const FMA: bool>(x: &[f32], width: usize, out: &mut [f32]) {
    let mut columns = [[0.0f32; LANES]; LANES];
    for (lane, row) in x.chunks_exact(width).enumerate() {
        for (column, value) in columns.iter_mut().zip(row) {
            column[lane] = *value;
        }
    }
    let columns = &columns[..width];
    let mut tops = columns[0];
    for column in columns {
        for i in 0..LANES {
            tops[i] = if column[i] > tops[i] { column[i] } else { tops[i] };
        }
    }
    let mut sums = [0.0f32; LANES];
    for column in columns {
        for i in 0..LANES {
            sums[i] += exp_of_negative::<FMA>(column[i] - tops[i]);
        }
    }
    for i in 0..LANES {
        sums[i] = tops[i] + ln_of_positive::<FMA>(sums[i]);
    }
    out.copy_from_slice(&sums[..out.len()]);
}

#[inline(always)]
fn log_sum_exp_backward_body<const FMA: bool>(
    x: &[f32],
    width: usize,
    [y, grad]: [&[f32]; 2],
    out: &mut [MaybeUninit<f32>],
) {
    let rows = x.chunks_exact(width).zip(out.chunks_exact_mut(width));
    for ((x, out), (&y, &grad)) in rows.zip(y.iter().zip(grad)) {
        softmax_of_row::<FMA>(x, y, grad, out);
    }
}

/// NaN stays NaN.
#[inline(always)]
fn at_least_some(p: f32) -> f32 {
    if p < LEAST_PROBABILITY { LEAST_PROBABILITY } else { p }
}

#[inline(always)]
fn entropy_body<const FMA: bool>(p: &[f32], width: usize, out: &mut [f32]) {
    for (p, out) in p.chunks_exact(width).zip(out) {
        let mut sums = [0.0f32; LANES];
        let (chunks, tail) = p.as_chunks::<LANES>();
        for chunk in chunks {
            for i in 0..LANES {
                let p = at_least_some(chunk[i]);
                sums[i] = multiply_add::<FMA>(p, ln_of_positive::<FMA>(p), sums[i]);
            }
        }
        for (sum, p) in sums.iter_mut().zip(tail) {
            let p = at_least_some(*p);
            *sum = multiply_add::<FMA>(p, ln_of_positive::<FMA>(p), *sum);
        }
        *out = -fold(&sums, |a, b| a + b);
    }
}

#[inline(always)]
fn entropy_backward_body<const FMA: bool>(
    p: &[f32],
    width: usize,
    grad: &[f32],
    out: &mut [MaybeUninit<f32>],
) {
    let rows = p.chunks_exact(width).zip(out.chunks_exact_mut(width));
    for ((p, out), &grad) in rows.zip(grad) {
        for (&p, out) in p.iter().zip(out) {
            let slope = -(ln_of_positive::<FMA>(at_least_some(p)) + 1.0);
            out.write(if p < LEAST_PROBABILITY { 0.0 } else { slope * grad });
        }
    }
}

#[inline(always)]
fn abs_sum_body<const FMA: bool>(x: &[f32], out: &mut f64) {
    /// Few enough that their sum in f32 loses nothing that counts.
    const AT_ONCE: usize = 64 * LANES;
    *out = 0.0;
    for x in x.chunks(AT_ONCE) {
        let mut sums = [0.0f32; LANES];
        let (chunks, tail) = x.as_chunks::<LANES>();
        for chunk in chunks {
            for i in 0..LANES {
                sums[i] += chunk[i].abs();
            }
        }
        let tail: f32 = tail.iter().map(|x| x.abs()).sum();
        *out += f64::from(fold(&sums, |a, b| a + b) + tail);
    }
}

#[inline(always)]
fn abs_sum_backward_body<const FMA: bool>(x: &[f32], grad: f32, out: &mut [MaybeUninit<f32>]) {
    for (&x, out) in x.iter().zip(out) {
        // 0 at 0, and NaN stays NaN.
        let other = if x < 0.0 { -grad } else { x * grad };
        out.write(if x > 0.0 { grad } else { other });
    }
}

multiversioned! {
    /// `out = ln(sum(exp(row)))` of rows of `width`.
    log_sum_exp(x: &[f32], width: usize, out: &mut [f32]) = log_sum_exp_body
}

multiversioned! {
    /// `out = grad * softmax(row)` of rows of `width`, from their results `y`.
    log_sum_exp_backward(
        x: &[f32],
        width: usize,
        y_and_grad: [&[f32]; 2],
        out: &mut [MaybeUninit<f32>],
    ) = log_sum_exp_backward_body
}

multiversioned! {
    /// `out = -sum(row * ln(row))` of rows of `width`.
    entropy(p: &[f32], width: usize, out: &mut [f32]) = entropy_body
}

multiversioned! {
    /// `out = -grad * (ln(row) + 1)` of rows of `width`.
    entropy_backward(p: &[f32], width: usize, grad: &[f32], out: &mut [MaybeUninit<f32>])
        = entropy_backward_body
}

multiversioned! {
    /// `out = sum(|x|)`.
    abs_sum(x: &[f32], out: &mut f64) = abs_sum_body
}

multiversioned! {
    /// `out = grad * sign(x)`.
    abs_sum_backward(x: &[f32], grad: f32, out: &mut [MaybeUninit<f32>]) = abs_sum_backward_body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_within_two_units_in_the_last_place() {
        let mut x = LEAST_PROBABILITY;
        while x < 4.0 {
            let want = f64::from(x).ln();
            let found = f64::from(ln_of_positive::<false>(x));
            let unit = (want.abs() * f64::from(f32::EPSILON)).max(1e-9);
            assert!((found - want).abs() <= 2.0 * unit, "ln {x}: {found}, not {want}");
            x *= 1.000_37;
        }
        assert_eq!(ln_of_positive::<false>(1.0), 0.0);
        assert!(ln_of_positive::<false>(f32::NAN).is_nan());
    }
}
