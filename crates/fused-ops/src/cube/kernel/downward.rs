use cubecl::prelude::*;

use super::dropout::kept;

/// One of the factors that read an input together, as far as the code of a kernel depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::cube) struct Masks {
    /// The place of its first mask among those of all factors.
    pub(in crate::cube) first: usize,
    /// None, one for all of its rows, or one for each expert's.
    pub(in crate::cube) count: usize,
    /// The rows of an expert.
    pub(in crate::cube) rank: usize,
}

/// What factors make of an input, `h[t, k] = sum_i mask[t, i] x[t, i] A[k, i]`, a unit for each: of all
/// factors, one after the other, each at its place. `keys` are two for each mask.
#[cube(launch)]
pub(in crate::cube) fn down(
    x: &Tensor<f32>,
    factors: &Sequence<OwnedTensor<f32>>,
    widths: &Sequence<u32>,
    places: &Sequence<u32>,
    out: &mut Tensor<f32>,
    keys: &Sequence<u32>,
    threshold: u32,
    scale: f32,
    rows: usize,
    inputs: usize,
    #[comptime] masks: Vec<Masks>,
) {
    let at = ABSOLUTE_POS;
    let mut begin = 0usize;
    #[unroll]
    for part in 0..factors.len() {
        let width = *widths.index(part) as usize;
        let end = begin + rows * width;
        if at >= begin && at < end {
            let local = at - begin;
            let (k, t) = (local % width, local / width);
            let of = comptime!(masks[part]);
            let first = key(keys, k, of, 0usize);
            let second = key(keys, k, of, 1usize);
            let a = factors.index(part);
            let (from, row) = (t * inputs, k * inputs);
            // Two sums, which do not wait for each other.
            let mut even = 0.0f32;
            let mut odd = 0.0f32;
            let mut i = 0usize;
            while i + 1 < inputs {
                let (left, right) = (x[from + i] * a[row + i], x[from + i + 1] * a[row + i + 1]);
                if comptime!(of.count > 0) {
                    even += left * kept((from + i) as u32, first, second, threshold, scale);
                    odd += right * kept((from + i + 1) as u32, first, second, threshold, scale);
                } else {
                    even += left;
                    odd += right;
                }
                i += 2;
            }
            if i < inputs {
                let last = x[from + i] * a[row + i];
                if comptime!(of.count > 0) {
                    even += last * kept((from + i) as u32, first, second, threshold, scale);
                } else {
                    even += last;
                }
            }
            out[*places.index(part) as usize + local] = even + odd;
        }
        begin = end;
    }
}

/// The gradient of the input, `sum mask[t, i] sum_k g[t, k] A[k, i]` over all factors, a unit for each.
#[cube(launch)]
pub(in crate::cube) fn down_input_grad(
    factors: &Sequence<OwnedTensor<f32>>,
    grads: &Sequence<OwnedTensor<f32>>,
    widths: &Sequence<u32>,
    out: &mut Tensor<f32>,
    keys: &Sequence<u32>,
    threshold: u32,
    scale: f32,
    inputs: usize,
    #[comptime] masks: Vec<Masks>,
) {
    let at = ABSOLUTE_POS;
    if at >= out.len() {
        terminate!();
    }
    let (i, t) = (at % inputs, at / inputs);
    let mut sum = 0.0f32;
    #[unroll]
    for part in 0..factors.len() {
        let width = *widths.index(part) as usize;
        let of = comptime!(masks[part]);
        let (a, grad) = (factors.index(part), grads.index(part));
        if comptime!(of.count < 2) {
            let mut of_part = 0.0f32;
            for k in 0..width {
                of_part += grad[t * width + k] * a[k * inputs + i];
            }
            if comptime!(of.count == 1) {
                let first = key(keys, 0usize, of, 0usize);
                let second = key(keys, 0usize, of, 1usize);
                of_part *= kept(at as u32, first, second, threshold, scale);
            }
            sum += of_part;
        } else {
            #[unroll]
            for e in 0..of.count {
                let mut of_expert = 0.0f32;
                for j in 0..of.rank {
                    let k = e * of.rank + j;
                    of_expert += grad[t * width + k] * a[k * inputs + i];
                }
                let mask = comptime!(of.first + e);
                let (first, second) = (*keys.index(2 * mask), *keys.index(2 * mask + 1));
                sum += of_expert * kept(at as u32, first, second, threshold, scale);
            }
        }
    }
    out[at] = sum;
}

/// The gradients of the factors, `sum_t g[t, k] mask[t, i] x[t, i]`, a unit for each, at their places.
#[cube(launch)]
pub(in crate::cube) fn down_factors_grad(
    x: &Tensor<f32>,
    grads: &Sequence<OwnedTensor<f32>>,
    widths: &Sequence<u32>,
    places: &Sequence<u32>,
    out: &mut Tensor<f32>,
    keys: &Sequence<u32>,
    threshold: u32,
    scale: f32,
    rows: usize,
    inputs: usize,
    #[comptime] masks: Vec<Masks>,
) {
    let at = ABSOLUTE_POS;
    let mut begin = 0usize;
    #[unroll]
    for part in 0..grads.len() {
        let width = *widths.index(part) as usize;
        let end = begin + width * inputs;
        if at >= begin && at < end {
            let local = at - begin;
            let (i, k) = (local % inputs, local / inputs);
            let of = comptime!(masks[part]);
            let first = key(keys, k, of, 0usize);
            let second = key(keys, k, of, 1usize);
            let grad = grads.index(part);
            let mut sum = 0.0f32;
            for t in 0..rows {
                let index = t * inputs + i;
                let term = grad[t * width + k] * x[index];
                if comptime!(of.count > 0) {
                    sum += term * kept(index as u32, first, second, threshold, scale);
                } else {
                    sum += term;
                }
            }
            out[*places.index(part) as usize + local] = sum;
        }
        begin = end;
    }
}

/// A key of the mask of a row of a factor.
#[cube]
fn key(keys: &Sequence<u32>, row: usize, #[comptime] of: Masks, #[comptime] which: usize) -> u32 {
    let mut found = 0u32;
    if comptime!(of.count == 1) {
        found = *keys.index(comptime!(2 * of.first + which));
    } else {
        #[unroll]
        for e in 0..of.count {
            if row / of.rank == e {
                found = *keys.index(comptime!(2 * (of.first + e) + which));
            }
        }
    }
    found
}
