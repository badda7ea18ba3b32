//! Products on one thread of matrices that lie within slices.

#![allow(unsafe_code)]

use std::ops::Range;

use gemm::{Parallelism, gemm};

/// A matrix inside a slice.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// The columns of a row-major matrix of `width` columns.
    pub(super) fn new(values: &'a [f32], width: usize, columns: Range<usize>) -> Self {
        let rows = values.len() / width.max(1);
        let values = if rows == 0 { values } else { &values[columns.start..] };
        Self { values, rows, columns: columns.len(), row_stride: width, column_stride: 1 }
    }

    /// A row-major matrix of `width` columns.
    pub(super) fn whole(values: &'a [f32], width: usize) -> Self {
        Self::new(values, width, 0..width)
    }

    /// So many rows that begin `stride` apart.
    pub(super) fn strided(values: &'a [f32], stride: usize, [rows, columns]: [usize; 2]) -> Self {
        Self { values, rows, columns, row_stride: stride, column_stride: 1 }
    }

    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// `out = a b`, or with `add` `out += a b`, on this thread.
///
/// # Panics
///
/// When the factors do not fit each other or `out`, or reach out of their slices.
pub(super) fn multiply(a: Matrix, b: Matrix, out: &mut [f32], add: bool) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    assert!(b.rows == k && out.len() == m * n, "product: factors that fit");
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if !add {
            out.fill(0.0);
        }
        return;
    }
    let last = |x: &Matrix| (x.rows - 1) * x.row_stride + (x.columns - 1) * x.column_stride;
    assert!(last(&a) < a.values.len() && last(&b) < b.values.len(), "product: in bounds");
    // SAFETY: the last element of each factor is inside its slice, and `out` is `m` rows of `n`.
    unsafe {
        gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            add,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
