//! Products of matrices, in f64 or in the precision that they have.

use std::num::NonZeroUsize;

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj,
};
use faer::linalg::matmul::matmul;
use faer::linalg::qr::no_pivoting::factor::{
    qr_in_place, qr_in_place_scratch, recommended_block_size,
};
use faer::traits::RealField;
use faer::{Accum, Conj, Mat, MatRef, Par};

/// How many parts products and decompositions are divided into. Rounding depends on it, so it is the
/// same on every machine, whatever the number of threads; more would cost time where layers are
/// decomposed in parallel.
const PARTS: NonZeroUsize = NonZeroUsize::new(4).unwrap();
pub(crate) const PARALLEL: Par = Par::Rayon(PARTS);

/// How many columns of a matrix are in f64 at a time: a copy of all would be twice its size.
const COLUMNS: usize = 1024;

/// f32 or f64.
pub(crate) trait Real: RealField + Copy + From<f32> + Into<f64> {}

impl Real for f32 {}
impl Real for f64 {}

/// The matrix in f64.
pub(crate) fn widened<T: Real>(matrix: MatRef<'_, T>) -> Mat<f64> {
    Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)].into())
}

/// Runs over the columns in blocks: the first column of each, and the block in f64.
pub(crate) fn in_blocks<T: Real>(matrix: MatRef<'_, T>, mut block: impl FnMut(usize, Mat<f64>)) {
    for first in (0..matrix.ncols()).step_by(COLUMNS) {
        let count = COLUMNS.min(matrix.ncols() - first);
        block(first, widened(matrix.subcols(first, count)));
    }
}

pub(crate) fn product<T: Real>(left: MatRef<'_, T>, right: MatRef<'_, T>) -> Mat<T> {
    let mut out = Mat::zeros(left.nrows(), right.ncols());
    matmul(out.as_mut(), Accum::Replace, left, right, T::from(1.0), PARALLEL);
    out
}

/// `Q^T M`, in f64.
pub(crate) fn projected<T: Real>(range: MatRef<'_, f64>, matrix: MatRef<'_, T>) -> Mat<f64> {
    let mut out = Mat::zeros(range.ncols(), matrix.ncols());
    in_blocks(matrix, |first, block| {
        let part = out.as_mut().subcols_mut(first, block.ncols());
        matmul(part, Accum::Replace, range.transpose(), block.as_ref(), 1.0, PARALLEL);
    });
    out
}

/// `Q` of the thin `QR`, `[rows, min(rows, columns)]`.
pub(crate) fn orthonormalised<T: Real>(mut matrix: Mat<T>) -> Mat<T> {
    let (rows, columns) = matrix.shape();
    let size = rows.min(columns);
    let block = recommended_block_size::<T>(rows, columns);
    let mut coefficients = Mat::zeros(block, size);
    let scratch = qr_in_place_scratch::<T>(rows, columns, block, PARALLEL, Default::default());
    qr_in_place(
        matrix.as_mut(),
        coefficients.as_mut(),
        PARALLEL,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    );
    let mut q = Mat::identity(rows, size);
    let scratch =
        apply_block_householder_sequence_on_the_left_in_place_scratch::<T>(rows, block, size);
    apply_block_householder_sequence_on_the_left_in_place_with_conj(
        matrix.subcols(0, size),
        coefficients.as_ref(),
        Conj::No,
        q.as_mut(),
        PARALLEL,
        MemStack::new(&mut MemBuffer::new(scratch)),
    );
    q
}
