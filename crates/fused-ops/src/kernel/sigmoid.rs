use std::mem::MaybeUninit;

use super::simd::{exp_of_negative, multiply_add, multiversioned};

/// `sigmoid(x)` and `1 - sigmoid(x)`, both without cancellation.
#[inline(always)]
fn sigmoids<const FMA: bool>(x: f32) -> (f32, f32) {
    let e = exp_of_negative::<FMA>(-x.abs());
    let larger = 1.0 / (1.0 + e);
    let smaller = e * larger;
    if x < 0.0 { (smaller, larger) } else { (larger, smaller) }
}

#[inline(always)]
fn forward<const FMA: bool>(gate: &[f32], up: &[f32], out: &mut [MaybeUninit<f32>]) {
    for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
        out.write(gate * sigmoids::<FMA>(gate).0 * up);
    }
}

#[inline(always)]
fn backward<const FMA: bool>(
    gate: &[f32],
    up: &[f32],
    grad: &mut [f32],
    up_grad: &mut [MaybeUninit<f32>],
) {
    for (((grad, up_grad), &gate), &up) in grad.iter_mut().zip(up_grad).zip(gate).zip(up) {
        let (s, rest) = sigmoids::<FMA>(gate);
        let scaled = *grad * s;
        up_grad.write(scaled * gate);
        *grad = scaled * up * multiply_add::<FMA>(gate, rest, 1.0);
    }
}

multiversioned! {
    /// `out = silu(gate) * up`; writes all of `out` when the lengths are equal.
    silu_mul(gate: &[f32], up: &[f32], out: &mut [MaybeUninit<f32>]) = forward
}

multiversioned! {
    /// Turns the gradient of the result into that of the gate, and writes that of `up`.
    silu_mul_backward(
        gate: &[f32],
        up: &[f32],
        grad: &mut [f32],
        up_grad: &mut [MaybeUninit<f32>],
    ) = backward
}
