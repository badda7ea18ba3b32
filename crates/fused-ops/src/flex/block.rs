//! Products of small matrices that lie within larger ones.

#![allow(unsafe_code)]

use gemm::{Parallelism, gemm};

/// A matrix within a slice: elements of a row lie `across` apart, rows `down`.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    values: &'a [f32],
    down: usize,
    across: usize,
}

impl<'a> View<'a> {
    /// Rows that begin `stride` apart.
    pub(super) fn rows(values: &'a [f32], stride: usize) -> Self {
        Self { values, down: stride, across: 1 }
    }

    /// The transpose.
    pub(super) fn t(self) -> Self {
        Self { down: self.across, across: self.down, ..self }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        (rows - 1) * self.down + (columns - 1) * self.across < self.values.len()
    }
}

/// `out = a b`, or with `add` `out += a b`, on one thread: `[m, k]` with `[k, n]` to rows of `n`,
/// one after the other.
///
/// # Panics
///
/// When a size is 0, or a matrix is smaller than the sizes say.
pub(super) fn product(out: &mut [f32], [m, k, n]: [usize; 3], a: View<'_>, b: View<'_>, add: bool) {
    assert!(m > 0 && k > 0 && n > 0 && out.len() >= m * n && a.holds(m, k) && b.holds(k, n));
    // SAFETY: just checked: all elements of the three lie within their slices.
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
            a.across as isize,
            a.down as isize,
            b.values.as_ptr(),
            b.across as isize,
            b.down as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
