use std::mem::MaybeUninit;

use super::simd::{multiply_add, multiversioned, sum_of_pairs};

/// `1 / sqrt(mean(x^2) + eps)`.
#[inline(always)]
fn inverse_rms<const FMA: bool>(x: &[f32], eps: f64) -> f32 {
    let square = sum_of_pairs(x, x, multiply_add::<FMA>);
    1.0 / (square / x.len() as f32 + eps as f32).sqrt()
}

#[inline(always)]
fn forward<const FMA: bool>(x: &[f32], weight: &[f32], eps: f64, out: &mut [MaybeUninit<f32>]) {
    let width = weight.len();
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let r = inverse_rms::<FMA>(x, eps);
        for ((out, &x), &w) in out.iter_mut().zip(x).zip(weight) {
            out.write(x * r * w);
        }
    }
}

#[inline(always)]
fn backward<const FMA: bool>(
    x: &[f32],
    weight: &[f32],
    eps: f64,
    grad: &mut [f32],
    mut weight_grad: Option<&mut [f32]>,
) {
    let width = weight.len();
    for (x, grad) in x.chunks_exact(width).zip(grad.chunks_exact_mut(width)) {
        let r = inverse_rms::<FMA>(x, eps);
        if let Some(sums) = &mut weight_grad {
            for ((sum, &x), &g) in sums.iter_mut().zip(x).zip(&*grad) {
                *sum += g * (x * r);
            }
        }
        for (grad, &w) in grad.iter_mut().zip(weight) {
            *grad *= w;
        }
        let dot = sum_of_pairs(x, grad, multiply_add::<FMA>);
        // Not `r^3 * dot`: the cube of a large `r` would overflow.
        let along = -(dot * r / width as f32) * r;
        for (grad, &x) in grad.iter_mut().zip(x) {
            *grad = multiply_add::<FMA>(x, along, *grad) * r;
        }
    }
}

multiversioned! {
    /// Normalises rows of `weight.len()`; writes all of `out` when it is as long as `x`.
    rms_norm(x: &[f32], weight: &[f32], eps: f64, out: &mut [MaybeUninit<f32>]) = forward
}

multiversioned! {
    /// Turns the gradient of the result into that of `x`, and adds that of the weight.
    rms_norm_backward(
        x: &[f32],
        weight: &[f32],
        eps: f64,
        grad: &mut [f32],
        weight_grad: Option<&mut [f32]>,
    ) = backward
}
