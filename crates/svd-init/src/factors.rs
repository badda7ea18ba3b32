use std::num::NonZeroUsize;

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj,
};
use faer::linalg::matmul::matmul;
use faer::linalg::qr::no_pivoting::factor::{
    qr_in_place, qr_in_place_scratch, recommended_block_size,
};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{Accum, Conj, Mat, MatRef, Par};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::normal::fill_normal;
use crate::{InitError, RandomisedSvd, SvdMethod};

/// How many parts products and decompositions are divided into. Rounding depends on it, so it is the
/// same on every machine, whatever the number of threads; more would cost time where layers are
/// decomposed in parallel.
const PARTS: NonZeroUsize = NonZeroUsize::new(4).unwrap();
const PARALLEL: Par = Par::Rayon(PARTS);

/// Triplets of a matrix `[O, I]`, by falling singular value.
pub(crate) struct Factors {
    /// The left singular vectors, `[O, k]`.
    pub left: Mat<f32>,
    /// The singular values, `[k]`.
    pub values: Vec<f32>,
    /// The right singular vectors, `[I, k]`.
    pub right: Mat<f32>,
}

/// The thin singular value decomposition, all `min(O, I)` triplets.
pub(crate) fn thin_svd(matrix: MatRef<'_, f32>) -> Result<Factors, InitError> {
    let (rows, columns) = matrix.shape();
    let size = rows.min(columns);
    let (mut left, mut right) = (Mat::zeros(rows, size), Mat::zeros(columns, size));
    let mut values = Diag::zeros(size);
    let thin = ComputeSvdVectors::Thin;
    let scratch = svd_scratch::<f32>(rows, columns, thin, thin, PARALLEL, Default::default());
    svd(
        matrix,
        values.as_mut(),
        Some(left.as_mut()),
        Some(right.as_mut()),
        PARALLEL,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .map_err(|_| InitError::NoConvergence)?;
    let values = values.column_vector().iter().copied().collect();
    Ok(with_fixed_signs(Factors { left, values, right }))
}

/// The `count` leading triplets by a randomised range finder; see [`RandomisedSvd`].
pub(crate) fn randomised_svd(
    matrix: MatRef<'_, f32>,
    count: usize,
    settings: &RandomisedSvd,
) -> Result<Factors, InitError> {
    let (rows, columns) = matrix.shape();
    let width = (count + settings.oversampling).min(rows).min(columns);
    let mut sketch = vec![0.0; columns * width];
    fill_normal(&mut sketch, 1.0, &mut ChaCha8Rng::seed_from_u64(settings.seed));
    let sketch = MatRef::from_column_major_slice(&sketch, columns, width);

    let mut range = orthonormalised(product(matrix, sketch));
    for _ in 0..settings.power_iterations {
        let back = orthonormalised(product(matrix.transpose(), range.as_ref()));
        range = orthonormalised(product(matrix, back.as_ref()));
    }
    let small = product(range.transpose(), matrix);
    let Factors { left, mut values, right } = thin_svd(small.as_ref())?;
    values.truncate(count);
    let left = product(range.as_ref(), left.subcols(0, count));
    let right = right.subcols(0, count).to_owned();
    Ok(with_fixed_signs(Factors { left, values, right }))
}

/// The `count` leading triplets, by the method given.
pub(crate) fn leading_triplets(
    matrix: MatRef<'_, f32>,
    count: usize,
    method: SvdMethod,
) -> Result<Factors, InitError> {
    match method.resolve(count, matrix.nrows().min(matrix.ncols())) {
        Some(settings) => randomised_svd(matrix, count, &settings),
        None => thin_svd(matrix),
    }
}

/// `Q` of the thin `QR`, `[rows, min(rows, columns)]`.
pub(crate) fn orthonormalised(mut matrix: Mat<f32>) -> Mat<f32> {
    let (rows, columns) = matrix.shape();
    let size = rows.min(columns);
    let block = recommended_block_size::<f32>(rows, columns);
    let mut coefficients = Mat::zeros(block, size);
    let scratch = qr_in_place_scratch::<f32>(rows, columns, block, PARALLEL, Default::default());
    qr_in_place(
        matrix.as_mut(),
        coefficients.as_mut(),
        PARALLEL,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    );
    let mut q = Mat::identity(rows, size);
    let scratch =
        apply_block_householder_sequence_on_the_left_in_place_scratch::<f32>(rows, block, size);
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

pub(crate) fn product(left: MatRef<'_, f32>, right: MatRef<'_, f32>) -> Mat<f32> {
    let mut out = Mat::zeros(left.nrows(), right.ncols());
    matmul(out.as_mut(), Accum::Replace, left, right, 1.0, PARALLEL);
    out
}

/// Fixes the sign that a singular value decomposition leaves open: the component of each left
/// vector that is largest in size, the first among equals, becomes positive.
fn with_fixed_signs(mut factors: Factors) -> Factors {
    for index in 0..factors.values.len() {
        let mut largest = 0.0_f32;
        for value in factors.left.col(index).iter() {
            if value.abs() > largest.abs() {
                largest = *value;
            }
        }
        if largest < 0.0 {
            for side in [&mut factors.left, &mut factors.right] {
                side.col_mut(index).iter_mut().for_each(|value| *value = -*value);
            }
        }
    }
    factors
}

#[cfg(test)]
mod tests;
