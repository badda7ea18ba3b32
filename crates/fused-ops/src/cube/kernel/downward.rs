use cubecl::prelude::*;

use super::dropout::kept;

/// What experts make of inputs, `h[t, k] = sum_i mask[t, i] x[t, i] A[k, i]`, a unit for each.
///
/// `keys` are two for each mask: of one for all experts, or of one for each; none where nothing is
/// dropped.
#[cube(launch)]
pub(in crate::cube) fn down(
    x: &Tensor<f32>,
    a: &Tensor<f32>,
    out: &mut Tensor<f32>,
    keys: &Sequence<u32>,
    threshold: u32,
    scale: f32,
    inputs: usize,
    width: usize,
    #[comptime] rank: usize,
) {
    let at = ABSOLUTE_POS;
    if at >= out.len() {
        terminate!();
    }
    let (k, t) = (at % width, at / width);
    let (from, factors) = (t * inputs, k * inputs);
    let first = key(keys, k / rank, 0usize);
    let second = key(keys, k / rank, 1usize);
    let dropped = comptime!(keys.len() > 0);
    // Two sums, which do not wait for each other.
    let mut even = 0.0f32;
    let mut odd = 0.0f32;
    let mut i = 0usize;
    while i + 1 < inputs {
        let (left, right) = (x[from + i] * a[factors + i], x[from + i + 1] * a[factors + i + 1]);
        if dropped {
            even += left * kept((from + i) as u32, first, second, threshold, scale);
            odd += right * kept((from + i + 1) as u32, first, second, threshold, scale);
        } else {
            even += left;
            odd += right;
        }
        i += 2;
    }
    if i < inputs {
        let last = x[from + i] * a[factors + i];
        if dropped {
            even += last * kept((from + i) as u32, first, second, threshold, scale);
        } else {
            even += last;
        }
    }
    out[at] = even + odd;
}

/// The gradient of the inputs, `mask[t, i] sum_k g[t, k] A[k, i]`, a unit for each.
#[cube(launch)]
pub(in crate::cube) fn down_input_grad(
    a: &Tensor<f32>,
    grad: &Tensor<f32>,
    out: &mut Tensor<f32>,
    keys: &Sequence<u32>,
    threshold: u32,
    scale: f32,
    inputs: usize,
    width: usize,
    #[comptime] rank: usize,
) {
    let at = ABSOLUTE_POS;
    if at >= out.len() {
        terminate!();
    }
    let (i, t) = (at % inputs, at / inputs);
    let masks = comptime!(keys.len() / 2);
    let mut sum = 0.0f32;
    if masks < 2 {
        for k in 0..width {
            sum += grad[t * width + k] * a[k * inputs + i];
        }
        if masks == 1 {
            sum *= kept(at as u32, *keys.index(0), *keys.index(1), threshold, scale);
        }
    } else {
        #[unroll]
        for e in 0..masks {
            let mut part = 0.0f32;
            for j in 0..rank {
                let k = e * rank + j;
                part += grad[t * width + k] * a[k * inputs + i];
            }
            let (first, second) = (*keys.index(2 * e), *keys.index(2 * e + 1));
            sum += part * kept(at as u32, first, second, threshold, scale);
        }
    }
    out[at] = sum;
}

/// The gradient of the factors, `sum_t g[t, k] mask[t, i] x[t, i]`, a unit for each.
#[cube(launch)]
pub(in crate::cube) fn down_factors_grad(
    x: &Tensor<f32>,
    grad: &Tensor<f32>,
    out: &mut Tensor<f32>,
    keys: &Sequence<u32>,
    threshold: u32,
    scale: f32,
    rows: usize,
    inputs: usize,
    width: usize,
    #[comptime] rank: usize,
) {
    let at = ABSOLUTE_POS;
    if at >= out.len() {
        terminate!();
    }
    let (i, k) = (at % inputs, at / inputs);
    let first = key(keys, k / rank, 0usize);
    let second = key(keys, k / rank, 1usize);
    let dropped = comptime!(keys.len() > 0);
    let mut sum = 0.0f32;
    for t in 0..rows {
        let index = t * inputs + i;
        let term = grad[t * width + k] * x[index];
        if dropped {
            sum += term * kept(index as u32, first, second, threshold, scale);
        } else {
            sum += term;
        }
    }
    out[at] = sum;
}

/// A key of an expert's mask.
#[cube]
fn key(keys: &Sequence<u32>, expert: usize, #[comptime] which: usize) -> u32 {
    let masks = comptime!(keys.len() / 2);
    let mut found = 0u32;
    if masks == 1 {
        found = *keys.index(which);
    } else {
        #[unroll]
        for e in 0..masks {
            if expert == e {
                found = *keys.index(2 * e + which);
            }
        }
    }
    found
}
