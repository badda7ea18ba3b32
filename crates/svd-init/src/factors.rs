use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{Mat, MatRef};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::normal::fill_normal;
use crate::products::{PARALLEL, Real, orthonormalised, product, projected, widened};
use crate::{InitError, RandomisedSvd, SvdMethod, gram};

/// Triplets of a matrix `[O, I]`.
///
/// In f64: where singular values are close, the error of their vectors is the rounding divided by
/// the gap, which f32 leaves at 1e-4 for a gap of 1e-3.
pub(crate) struct Factors {
    /// The left singular vectors, `[O, k]`.
    pub left: Mat<f64>,
    /// The singular values, `[k]`.
    pub values: Vec<f64>,
    /// The right singular vectors, `[I, k]`.
    pub right: Mat<f64>,
}

/// The triplets `wanted`, counted by falling singular value.
///
/// From the eigenvectors of the smaller of `M M^T` and `M^T M`, where what squaring loses does not
/// matter; else from the decomposition of `M`.
pub(crate) fn exact_svd<T: Real>(
    matrix: MatRef<'_, T>,
    wanted: &[usize],
) -> Result<Factors, InitError> {
    let factors = match gram::triplets(matrix, wanted)? {
        Some(factors) => factors,
        None => thin_svd(widened(matrix).as_ref(), wanted)?,
    };
    Ok(with_fixed_signs(factors))
}

/// The triplets `wanted` of the thin singular value decomposition.
fn thin_svd(matrix: MatRef<'_, f64>, wanted: &[usize]) -> Result<Factors, InitError> {
    let (rows, columns) = matrix.shape();
    let size = rows.min(columns);
    let (mut left, mut right) = (Mat::zeros(rows, size), Mat::zeros(columns, size));
    let mut values = Diag::zeros(size);
    let thin = ComputeSvdVectors::Thin;
    let scratch = svd_scratch::<f64>(rows, columns, thin, thin, PARALLEL, Default::default());
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
    let take = |all: &Mat<f64>| Mat::from_fn(all.nrows(), wanted.len(), |i, j| all[(i, wanted[j])]);
    let values = wanted.iter().map(|index| values.column_vector()[*index]).collect();
    Ok(Factors { left: take(&left), values, right: take(&right) })
}

/// The `count` leading triplets by a randomised range finder; see [`RandomisedSvd`].
///
/// The range is found in the precision of the matrix, which is enough: its error counts squared.
/// What is within it is decomposed in f64.
pub(crate) fn randomised_svd<T: Real>(
    matrix: MatRef<'_, T>,
    count: usize,
    settings: &RandomisedSvd,
) -> Result<Factors, InitError> {
    let (rows, columns) = matrix.shape();
    let width = (count + settings.oversampling).min(rows).min(columns);
    let mut sketch = vec![0.0; columns * width];
    fill_normal(&mut sketch, 1.0, &mut ChaCha8Rng::seed_from_u64(settings.seed));
    let sketch = Mat::from_fn(columns, width, |i, j| T::from(sketch[j * columns + i]));

    let mut range = orthonormalised(product(matrix, sketch.as_ref()));
    for _ in 0..settings.power_iterations {
        let back = orthonormalised(product(matrix.transpose(), range.as_ref()));
        range = orthonormalised(product(matrix, back.as_ref()));
    }
    let range = orthonormalised(widened(range.as_ref()));
    let small = projected(range.as_ref(), matrix);
    let leading: Vec<usize> = (0..count).collect();
    let Factors { left, values, right } = exact_svd(small.as_ref(), &leading)?;
    let left = product(range.as_ref(), left.as_ref());
    Ok(with_fixed_signs(Factors { left, values, right }))
}

/// The `count` leading triplets, by the method given.
pub(crate) fn leading_triplets<T: Real>(
    matrix: MatRef<'_, T>,
    count: usize,
    method: SvdMethod,
) -> Result<Factors, InitError> {
    match method.resolve(count, matrix.nrows().min(matrix.ncols())) {
        Some(settings) => randomised_svd(matrix, count, &settings),
        None => exact_svd(matrix, &(0..count).collect::<Vec<_>>()),
    }
}

/// Fixes the sign that a singular value decomposition leaves open: the component of each left
/// vector that is largest in size, the first among equals, becomes positive.
fn with_fixed_signs(mut factors: Factors) -> Factors {
    for index in 0..factors.values.len() {
        let mut largest = 0.0_f64;
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
