//! Products of f32 rows with matrices that are held in fewer bits: the matrix is widened part by
//! part, so that it never exists in f32 as a whole, and everything is summed in f32.

#![allow(unsafe_code)]

use std::borrow::Cow;
use std::cell::Cell;
use std::mem::MaybeUninit;

use burn::backend::TensorMetadata;
use burn::tensor::DType;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use quantization::Codes;
use rayon::prelude::*;

use super::blocked;
use super::buffer::{Floats, contiguous, rows_per_task};
use super::constant::Constant;
use super::few_rows::{self, Right, are_few};
use super::held;
use super::product::gemm_into;
use crate::kernel::{self, Tiles};
use crate::{Precision, precision};

/// The elements that are widened at a time: 4 MiB of f32.
const PART: usize = 1 << 20;

/// From more rows on AMX takes less time for halves than kernels that multiply as they read, even where it packs
/// them first: two thirds of it for 8 rows, and a third for 32 (measured on a Xeon with AMX).
const FEW_FOR_AMX: usize = 4;

thread_local! {
    /// What was widened last, so that its memory serves again.
    static WIDENED: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// The elements of a matrix.
#[derive(Clone, Copy)]
pub(super) enum Elements<'a> {
    BF16(&'a [bf16]),
    F16(&'a [f16]),
    Codes(Codes<'a>),
}

impl Elements<'_> {
    /// The elements from `start` on, in f32.
    pub(super) fn widen(&self, start: usize, out: &mut [f32]) {
        match self {
            Self::BF16(values) => kernel::widen_bf16(&values[start..start + out.len()], out),
            Self::F16(values) => values[start..start + out.len()].convert_to_f32_slice(out),
            Self::Codes(codes) => codes.decode(start, out),
        }
    }
}

/// A right factor `[k, n]`, in rows or in columns.
pub(super) struct Narrow<'a> {
    pub(super) elements: Elements<'a>,
    pub(super) in_rows: bool,
    pub(super) k: usize,
    pub(super) n: usize,
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
    let (k, n) = (b.shape()[0], b.shape()[1]);
    let strides = b.layout().strides();
    let ordered = |strides: &[isize]| strides == [n as isize, 1] || strides == [1, k as isize];
    let b: Cow<'_, Floats> =
        if ordered(strides) { Cow::Borrowed(b) } else { Cow::Owned(b.to_contiguous()) };
    let in_rows = b.layout().strides() == [n as isize, 1];
    let first = b.layout().start_offset();
    let elements = match b.dtype() {
        DType::BF16 => Elements::BF16(&b.storage::<bf16>()[first..]),
        _ => Elements::F16(&b.storage::<f16>()[first..]),
    };
    // SAFETY: as the caller promises.
    unsafe { multiply(a, &Narrow { elements, in_rows, k, n }, out, add) };
}

/// `out = a W`, or with `transposed` `out = a W^T`: f32 `[M, K]` with a quantised matrix.
///
/// All of `out` is written.
pub(super) fn multiply_constant(
    a: &Floats,
    weight: &Constant,
    transposed: bool,
    out: &mut [MaybeUninit<f32>],
) {
    let [inputs, outputs] = weight.dims();
    let [k, n] = if transposed { [outputs, inputs] } else { [inputs, outputs] };
    let elements = Elements::Codes(weight.codes());
    // SAFETY: nothing is added.
    unsafe { multiply(a, &Narrow { elements, in_rows: transposed, k, n }, out, false) };
}

/// `out = a b`, or with `add` `out += a b`.
///
/// # Safety
///
/// With `add`, `out` must be initialised. Without, it is so afterwards.
unsafe fn multiply(a: &Floats, b: &Narrow<'_>, out: &mut [MaybeUninit<f32>], add: bool) {
    let Narrow { k, n, .. } = *b;
    let m = a.shape()[0];
    assert!(a.shape()[1] == k && out.len() == m * n, "linear: factors that fit");
    let round = precision() == Precision::Bf16;
    if multiply_few(a, b, out, add, round) {
        return;
    }
    let bf16 = matches!(b.elements, Elements::BF16(_));
    if let Some(tiles) = Tiles::fastest(round, bf16) {
        let a = contiguous(a.clone());
        let x = &a.storage::<f32>()[a.layout().start_offset()..][..m * k];
        // SAFETY: `tiles` runs here, and the caller promises the rest.
        unsafe { blocked::multiply(tiles, round, x, b, out, add) };
        return;
    }
    // SAFETY: as the caller promises.
    unsafe { multiply_widened(a, b, out, add) };
}

/// [`multiply`] by a general product, which knows f32 alone: the matrix is widened part by part.
///
/// # Safety
///
/// As there.
unsafe fn multiply_widened(a: &Floats, b: &Narrow<'_>, out: &mut [MaybeUninit<f32>], add: bool) {
    let Narrow { elements, in_rows, k, n } = *b;
    let m = a.shape()[0];
    let columns = (PART / k.max(1)).max(1).min(n.max(1));
    let mut widened = WIDENED.take();
    if widened.len() < k * columns {
        widened.resize(k * columns, 0.0);
    }
    for start in (0..n).step_by(columns) {
        let width = columns.min(n - start);
        let part = &mut widened[..k * width];
        let strides = if in_rows {
            let rows = rows_per_task(width);
            part.par_chunks_mut(rows * width).enumerate().for_each(|(task, part)| {
                for (row, part) in part.chunks_exact_mut(width).enumerate() {
                    elements.widen((task * rows + row) * n + start, part);
                }
            });
            [width as isize, 1]
        } else {
            let task_size = rows_per_task(1);
            part.par_chunks_mut(task_size).enumerate().for_each(|(task, part)| {
                elements.widen(start * k + task * task_size, part);
            });
            [1, k as isize]
        };
        // SAFETY: `part` is `[k, width]` in these strides, and columns `start..start + width` of
        // `out` lie within it, `n` apart from row to row; the caller allows reading them with `add`.
        unsafe {
            gemm_into(a, part.as_ptr(), strides, out[start..].as_mut_ptr(), [m, k, width], n, add);
        }
    }
    WIDENED.set(widened);
}

/// The product by kernels that read the matrix once, where few rows meet a large one.
///
/// With `round`, the rows are rounded to bfloat16 first.
fn multiply_few(
    a: &Floats,
    b: &Narrow<'_>,
    out: &mut [MaybeUninit<f32>],
    add: bool,
    round: bool,
) -> bool {
    let Narrow { elements, in_rows, k, n } = *b;
    let m = a.shape()[0];
    let rows_in_order = a.layout().strides() == [k as isize, 1];
    if add || !rows_in_order || !are_few([m, k, n]) {
        return false;
    }
    let x = &a.storage::<f32>()[a.layout().start_offset()..][..m * k];
    if let Elements::BF16(w) = elements
        && Tiles::Amx.runs()
    {
        // Three products of parts take longer than a few rows do otherwise.
        let few_parts = round || m > FEW_FOR_AMX;
        if !in_rows && few_parts && held::fits([m, k, n]) {
            held::multiply(x, k, w, n, round, out);
            return true;
        }
        if m > FEW_FOR_AMX {
            return false;
        }
    }
    let x: Cow<'_, [f32]> = match round {
        true => Cow::Owned(x.iter().map(|x| kernel::rounded(*x)).collect()),
        false => Cow::Borrowed(x),
    };
    let x = &x[..];
    let codes = match elements {
        Elements::BF16(w) => return few_rows::multiply(x, k, Right::BF16(w), in_rows, n, out),
        // Only the blocks round such a matrix.
        Elements::F16(_) if round => return false,
        Elements::F16(w) => return few_rows::multiply(x, k, Right::F16(w), in_rows, n, out),
        Elements::Codes(codes) => codes,
    };
    if in_rows {
        return false;
    }
    few_rows::beside(out, n, |first, width, out| {
        let mut row = vec![0.0; k];
        for at in 0..width {
            codes.decode((first + at) * k, &mut row);
            if round {
                row.iter_mut().for_each(|value| *value = kernel::rounded(*value));
            }
            kernel::few_rows_by_row(x, k, &row, at, width, out);
        }
    });
    true
}
