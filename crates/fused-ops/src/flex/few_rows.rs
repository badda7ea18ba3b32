//! Products of few rows with a large matrix, which cost little more than reading the matrix: kernels read it
//! once, where a general product would copy it into an order of its own first.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ops::Range;

use half::{bf16, f16};
use rayon::prelude::*;

use crate::kernel;

/// Up to so many rows a product is one of few rows.
const ROWS: usize = 32;

/// A matrix of so many elements is worth it.
const LARGE: usize = 1 << 16;

/// From so many columns on, each thread has several parts.
const WIDE: usize = 4096;

/// The columns of a part that is computed beside the result.
const BESIDE: usize = 256;

/// A matrix `[k, n]` in rows, or with its columns one after the other.
#[derive(Clone, Copy)]
pub(super) enum Right<'a> {
    F32(&'a [f32]),
    BF16(&'a [bf16]),
    F16(&'a [f16]),
}

/// Whether a product is one of few rows with a large matrix.
pub(super) fn are_few([m, k, n]: [usize; 3]) -> bool {
    m <= ROWS && k > 0 && k * n >= LARGE
}

/// `out = x w`, `[m, k]` with `[k, n]`. Gives whether there is a kernel for it; without one, nothing happens.
pub(super) fn multiply(
    x: &[f32],
    k: usize,
    w: Right<'_>,
    in_rows: bool,
    n: usize,
    out: &mut [MaybeUninit<f32>],
) -> bool {
    #[cfg(target_arch = "x86_64")]
    if kernel::few_rows_runs() {
        match w {
            Right::F32(w) => in_place(x, k, w, in_rows, n, out),
            Right::BF16(w) => in_place(x, k, w, in_rows, n, out),
            Right::F16(w) => in_place(x, k, w, in_rows, n, out),
        }
        return true;
    }
    portable(x, k, w, in_rows, n, out)
}

/// [`multiply`] by kernels for every processor.
fn portable(
    x: &[f32],
    k: usize,
    w: Right<'_>,
    in_rows: bool,
    n: usize,
    out: &mut [MaybeUninit<f32>],
) -> bool {
    let whole = n.is_multiple_of(kernel::COLUMNS);
    match (w, in_rows) {
        (Right::F32(w), true) if whole => beside(out, n, |first, width, out| {
            kernel::few_rows_by_columns(x, k, &w[first..], n, width, out);
        }),
        (Right::F32(w), false) => beside(out, n, |first, width, out| {
            kernel::few_rows_by_rows(x, k, &w[first * k..], width, out);
        }),
        (Right::BF16(w), true) if whole => beside(out, n, |first, width, out| {
            kernel::few_rows_by_bf16_columns(x, k, &w[first..], n, width, out);
        }),
        (Right::BF16(w), false) => beside(out, n, |first, width, out| {
            kernel::few_rows_by_bf16_rows(x, k, &w[first * k..], width, out);
        }),
        (Right::F16(w), true) if whole => beside(out, n, |first, width, out| {
            kernel::few_rows_by_f16_columns(x, k, &w[first..], n, width, out);
        }),
        (Right::F16(w), false) => beside(out, n, |first, width, out| {
            kernel::few_rows_by_f16_rows(x, k, &w[first * k..], width, out);
        }),
        (_, true) => return false,
    }
    true
}

/// Where a result is; tasks write different columns of it.
pub(super) struct Out(pub(super) *mut f32);

// SAFETY: every element is written by one task.
unsafe impl Sync for Out {}

/// Does something for `n` columns, in parts that are whole multiples of `unit`, on all threads.
pub(super) fn by_columns(n: usize, unit: usize, part: impl Fn(Range<usize>) + Sync) {
    let parts = rayon::current_num_threads() * if n < WIDE { 1 } else { 4 };
    let width = n.div_ceil(parts).next_multiple_of(unit);
    (0..n.div_ceil(width)).into_par_iter().for_each(|at| {
        part(at * width..((at + 1) * width).min(n));
    });
}

/// The product by kernels that write columns into the result.
#[cfg(target_arch = "x86_64")]
fn in_place<T: kernel::Element>(
    x: &[f32],
    k: usize,
    w: &[T],
    in_rows: bool,
    n: usize,
    out: &mut [MaybeUninit<f32>],
) {
    assert!(out.len() == x.len() / k * n, "linear: factors that fit");
    let out = Out(out.as_mut_ptr().cast());
    by_columns(n, kernel::COLUMNS, |columns| {
        let out = &out;
        // SAFETY: the instructions are there, and `out` has these columns for this task alone.
        unsafe { kernel::few_rows_wide(x, k, w, in_rows, n, columns, out.0) };
    });
}

/// Fills `out`, rows of `width`, in parallel by columns: `multiply` computes the columns from the
/// given first one on, as many as given, into rows of so many.
pub(super) fn beside(
    out: &mut [MaybeUninit<f32>],
    width: usize,
    multiply: impl Fn(usize, usize, &mut [f32]) + Sync,
) {
    let rows = out.len() / width;
    let parts: Vec<(usize, Vec<f32>)> = (0..width.div_ceil(BESIDE))
        .into_par_iter()
        .map(|task| {
            let first = task * BESIDE;
            let columns = BESIDE.min(width - first);
            let mut part = vec![0.0; rows * columns];
            multiply(first, columns, &mut part);
            (columns, part)
        })
        .collect();
    for (row, out) in out.chunks_exact_mut(width).enumerate() {
        let mut rest = out;
        for (columns, part) in &parts {
            let (out, after) = rest.split_at_mut(*columns);
            out.write_copy_of_slice(&part[row * columns..(row + 1) * columns]);
            rest = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::numbers::numbers;
    use super::*;

    /// Every number of rows that a kernel takes at once, and their sums; whole and cut off vectors.
    const SIZES: [[usize; 3]; 8] = [
        [1, 16, 32],
        [1, 577, 49],
        [2, 8, 16],
        [3, 35, 160],
        [7, 64, 33],
        [8, 100, 48],
        [15, 9, 64],
        [32, 23, 5],
    ];

    #[test]
    fn few_rows_are_the_formula_however_the_matrix_lies() {
        for [m, k, n] in SIZES {
            let (x, w) = (numbers(m * k, 1), numbers(k * n, 2));
            let bf16: Vec<bf16> = w.iter().map(|w| bf16::from_f32(*w)).collect();
            let f16: Vec<f16> = w.iter().map(|w| f16::from_f32(*w)).collect();
            for (name, right, wide) in [
                ("f32", Right::F32(&w), w.clone()),
                ("bf16", Right::BF16(&bf16), bf16.iter().map(|w| w.to_f32()).collect()),
                ("f16", Right::F16(&f16), f16.iter().map(|w| w.to_f32()).collect()),
            ] {
                for in_rows in [false, true] {
                    for kernels in [multiply, portable] {
                        let mut out = vec![MaybeUninit::new(f32::NAN); m * n];
                        if !kernels(&x, k, right, in_rows, n, &mut out) {
                            continue;
                        }
                        for (at, found) in out.iter().enumerate() {
                            // SAFETY: it was initialised before.
                            let found = unsafe { found.assume_init() };
                            let (i, j) = (at / n, at % n);
                            let w =
                                |q: usize| if in_rows { wide[q * n + j] } else { wide[j * k + q] };
                            let products =
                                (0..k).map(|q| f64::from(x[i * k + q]) * f64::from(w(q)));
                            let error = (f64::from(found) - products.sum::<f64>()).abs();
                            assert!(
                                error <= 1e-5,
                                "{name} {m} x {k} x {n}, rows {in_rows}: [{at}]"
                            );
                        }
                    }
                }
            }
        }
    }
}
