//! Products of f32 rows with matrices that are held in a half type: the matrix is widened part by
//! part, so that it never exists in f32 as a whole, and everything is summed in f32.

#![allow(unsafe_code)]

use std::borrow::Cow;
use std::mem::MaybeUninit;

use burn::backend::TensorMetadata;
use burn::tensor::DType;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::buffer::{Floats, rows_per_task};
use super::product::{FEW_ROWS, LARGE, few_rows, gemm_into};
use crate::kernel;

/// The elements that are widened at a time: 4 MiB of f32.
const PART: usize = 1 << 20;

/// The elements of a matrix, and how they lie.
#[derive(Clone, Copy)]
enum Halves<'a> {
    BF16(&'a [bf16]),
    F16(&'a [f16]),
}

impl Halves<'_> {
    /// The elements from `start` on, in f32.
    fn widen(&self, start: usize, out: &mut [f32]) {
        match self {
            Self::BF16(values) => kernel::widen_bf16(&values[start..start + out.len()], out),
            Self::F16(values) => values[start..start + out.len()].convert_to_f32_slice(out),
        }
    }
}

/// Whether a tensor is held in a half type that is widened here.
pub(super) fn is_half(tensor: &Floats) -> bool {
    matches!(tensor.dtype(), DType::BF16 | DType::F16)
}

/// `out = a b`, or with `add` `out += a b`: f32 `[M, K]` with halves `[K, N]`.
///
/// # Safety
///
/// With `add`, `out` must be initialised. Without, it is so afterwards.
pub(super) unsafe fn multiply_half(
    a: &Floats,
    b: &Floats,
    out: &mut [MaybeUninit<f32>],
    add: bool,
) {
    let (m, k, n) = (a.shape()[0], a.shape()[1], b.shape()[1]);
    assert!(b.shape()[0] == k && out.len() == m * n, "linear: factors that fit");
    let strides = b.layout().strides();
    let ordered = |strides: &[isize]| strides == [n as isize, 1] || strides == [1, k as isize];
    let b: Cow<'_, Floats> =
        if ordered(strides) { Cow::Borrowed(b) } else { Cow::Owned(b.to_contiguous()) };
    let in_rows = b.layout().strides() == [n as isize, 1];
    let first = b.layout().start_offset();
    let halves = match b.dtype() {
        DType::BF16 => Halves::BF16(&b.storage::<bf16>()[first..]),
        _ => Halves::F16(&b.storage::<f16>()[first..]),
    };
    let rows_in_order = a.layout().strides() == [k as isize, 1] && k > 0;
    if let Halves::BF16(w) = halves
        && !add
        && rows_in_order
        && m <= FEW_ROWS
        && k * n >= LARGE
    {
        let x = &a.storage::<f32>()[a.layout().start_offset()..][..m * k];
        if !in_rows {
            return few_rows(out, n, |first, width, out| {
                kernel::few_rows_by_bf16_rows(x, k, &w[first * k..], width, out);
            });
        }
        if n.is_multiple_of(kernel::COLUMNS) {
            return few_rows(out, n, |first, width, out| {
                kernel::few_rows_by_bf16_columns(x, k, &w[first..], n, width, out);
            });
        }
    }
    let columns = (PART / k.max(1)).max(1).min(n.max(1));
    let mut part = vec![0.0f32; k * columns];
    for start in (0..n).step_by(columns) {
        let width = columns.min(n - start);
        let part = &mut part[..k * width];
        let strides = if in_rows {
            let rows = rows_per_task(width);
            part.par_chunks_mut(rows * width).enumerate().for_each(|(task, part)| {
                for (row, part) in part.chunks_exact_mut(width).enumerate() {
                    halves.widen((task * rows + row) * n + start, part);
                }
            });
            [width as isize, 1]
        } else {
            let elements = rows_per_task(1);
            part.par_chunks_mut(elements).enumerate().for_each(|(task, part)| {
                halves.widen(start * k + task * elements, part);
            });
            [1, k as isize]
        };
        // SAFETY: `part` is `[k, width]` in these strides, and columns `start..start + width` of
        // `out` lie within it, `n` apart from row to row; the caller allows reading them with `add`.
        unsafe {
            gemm_into(a, part.as_ptr(), strides, out[start..].as_mut_ptr(), [m, k, width], n, add);
        }
    }
}
