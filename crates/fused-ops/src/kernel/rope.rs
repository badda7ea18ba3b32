use std::mem::MaybeUninit;

use super::simd::{multiply_add, multiversioned};

/// `out = x * cos + (x R) * sin` for one head, or with `BACK` its transpose.
#[inline(always)]
fn rotate<const FMA: bool, const BACK: bool>(
    x: &[f32],
    cos: &[f32],
    sin: &[f32],
    out: &mut [MaybeUninit<f32>],
) {
    let half = x.len() / 2;
    let (x1, x2) = x.split_at(half);
    let (c1, c2) = cos.split_at(half);
    let (s1, s2) = sin.split_at(half);
    let (o1, o2) = out.split_at_mut(half);
    // The transpose weighs with the sine of the other coordinate, and the other sign.
    let (s1, s2, sign) = if BACK { (s2, s1, -1.0) } else { (s1, s2, 1.0) };
    for i in 0..half {
        o1[i].write(multiply_add::<FMA>(x1[i], c1[i], -sign * (x2[i] * s1[i])));
        o2[i].write(multiply_add::<FMA>(x2[i], c2[i], sign * (x1[i] * s2[i])));
    }
}

#[inline(always)]
fn forward<const FMA: bool>(x: &[f32], cos: &[f32], sin: &[f32], out: &mut [MaybeUninit<f32>]) {
    rotate::<FMA, false>(x, cos, sin, out);
}

#[inline(always)]
fn backward<const FMA: bool>(x: &[f32], cos: &[f32], sin: &[f32], out: &mut [MaybeUninit<f32>]) {
    rotate::<FMA, true>(x, cos, sin, out);
}

multiversioned! {
    /// Turns one head; all slices have its size.
    turn(x: &[f32], cos: &[f32], sin: &[f32], out: &mut [MaybeUninit<f32>]) = forward
}

multiversioned! {
    /// The transpose of [`turn`].
    turn_back(x: &[f32], cos: &[f32], sin: &[f32], out: &mut [MaybeUninit<f32>]) = backward
}
