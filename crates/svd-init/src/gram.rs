//! Singular triplets by the eigenvectors of a product of the matrix with itself.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::{Accum, ColMut, Mat, MatRef};

use crate::InitError;
use crate::factors::Factors;
use crate::products::{PARALLEL, Real, in_blocks, product, projected};

/// The least singular value, relative to the largest, whose triplet the eigenvectors give to 1e-5.
///
/// Squaring loses `eps / ratio^2` of an eigenvalue, 2e-13 here, which is divided by the gap to the
/// next one: values that are 1e-7 of each other apart still have their own vectors.
const SAFE_RATIO: f64 = 0.03;

/// The least singular value, relative to the largest of all, that a projection leaves to 1e-7.
const FLOOR: f64 = 1e-9;

/// The triplets `wanted` of `M`, counted by falling singular value, with signs as they come; `None`
/// where one of them is too small for this.
///
/// With `M` `[n, m]`, `n <= m` (else its transpose): `n^2 m` flops for the lower half of `M M^T`,
/// about `9 n^3` for its eigenvectors, and `2 n m k` for `v = M^T u / sigma`. The decomposition of
/// `M` itself takes several times as long.
///
/// The eigenvectors `U_s` of small eigenvalues are exact as a space, but not one by one. Triplets
/// among them are those of `U_s^T M`, which has nothing large left, found in the same way.
pub(crate) fn triplets<T: Real>(
    matrix: MatRef<'_, T>,
    wanted: &[usize],
) -> Result<Option<Factors>, InitError> {
    let wide = matrix.nrows() <= matrix.ncols();
    let matrix = if wide { matrix } else { matrix.transpose() };
    let Some(Factors { left: near, values, right: far }) = of_wide(matrix, wanted, None)? else {
        return Ok(None);
    };
    let (left, right) = if wide { (near, far) } else { (far, near) };
    Ok(Some(Factors { left, values, right }))
}

/// As [`triplets`], of a matrix that is not taller than wide. `floor` is the least singular value,
/// where it is known.
fn of_wide<T: Real>(
    matrix: MatRef<'_, T>,
    wanted: &[usize],
    floor: Option<f64>,
) -> Result<Option<Factors>, InitError> {
    let (squares, vectors) = eigenvectors(matrix)?;
    let largest = squares.first().copied().unwrap_or(0.0);
    let floor = floor.unwrap_or(FLOOR * largest.max(0.0).sqrt());
    if largest <= floor * floor {
        return Ok(None);
    }
    let least = SAFE_RATIO * SAFE_RATIO * largest;
    let safe = squares.iter().position(|square| *square < least).unwrap_or(squares.len());
    let (large, small): (Vec<usize>, Vec<usize>) = wanted.iter().partition(|index| **index < safe);

    let near = Mat::from_fn(vectors.nrows(), large.len(), |i, j| vectors[(i, large[j])]);
    let mut far = projected(near.as_ref(), matrix).transpose().to_owned();
    let normalise = |column: ColMut<'_, f64>| {
        let norm = column.norm_l2();
        column.iter_mut().for_each(|value| *value /= norm);
        norm
    };
    let values: Vec<f64> = far.col_iter_mut().map(normalise).collect();
    if small.is_empty() {
        return Ok(Some(Factors { left: near, values, right: far }));
    }

    let space = vectors.subcols(safe, vectors.ncols() - safe);
    let rest = projected(space, matrix);
    let indices: Vec<usize> = small.iter().map(|index| index - safe).collect();
    let Some(rest) = of_wide(rest.as_ref(), &indices, Some(floor))? else {
        return Ok(None);
    };
    let rest = Factors { left: product(space, rest.left.as_ref()), ..rest };
    let found = Factors { left: near, values, right: far };
    let (mut of_large, mut of_small) = (0.., 0..);
    let places: Vec<(&Factors, usize)> = wanted
        .iter()
        .filter_map(|index| match *index < safe {
            true => of_large.next().map(|at| (&found, at)),
            false => of_small.next().map(|at| (&rest, at)),
        })
        .collect();
    let columns = |side: fn(&Factors) -> &Mat<f64>, rows: usize| {
        Mat::from_fn(rows, places.len(), |i, j| side(places[j].0)[(i, places[j].1)])
    };
    Ok(Some(Factors {
        left: columns(|of| &of.left, matrix.nrows()),
        values: places.iter().map(|(of, at)| of.values[*at]).collect(),
        right: columns(|of| &of.right, matrix.ncols()),
    }))
}

/// The eigenvalues of `M M^T`, falling, and its eigenvectors.
fn eigenvectors<T: Real>(matrix: MatRef<'_, T>) -> Result<(Vec<f64>, Mat<f64>), InitError> {
    let size = matrix.nrows();
    let mut gram = Mat::zeros(size, size);
    let (lower, full) = (BlockStructure::TriangularLower, BlockStructure::Rectangular);
    in_blocks(matrix, |_, block| {
        let (gram, block) = (gram.as_mut(), block.as_ref());
        matmul(gram, lower, Accum::Add, block, full, block.transpose(), full, 1.0, PARALLEL);
    });
    let (mut squares, mut vectors) = (Diag::zeros(size), Mat::zeros(size, size));
    let with = ComputeEigenvectors::Yes;
    let scratch = self_adjoint_evd_scratch::<f64>(size, with, PARALLEL, Default::default());
    self_adjoint_evd(
        gram.as_ref(),
        squares.as_mut(),
        Some(vectors.as_mut()),
        PARALLEL,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .map_err(|_| InitError::NoConvergence)?;
    // They come in rising order.
    let squares = squares.column_vector().iter().rev().copied().collect();
    Ok((squares, vectors.as_ref().reverse_cols().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triplets_follow_the_scale_of_the_matrix() {
        let values = |scale: f64| {
            let matrix = Mat::from_fn(3, 5, |i, j| scale * ((3 * i + 7 * j) as f64).sin());
            triplets(matrix.as_ref(), &[0, 1]).unwrap().unwrap().values
        };
        let whole = values(1.0);
        for scale in [1e-6, 1e6] {
            for (found, expected) in values(scale).into_iter().zip(&whole) {
                assert!((found / (scale * expected) - 1.0).abs() < 1e-9, "{scale}: {found}");
            }
        }
        let nothing = Mat::<f64>::zeros(3, 5);
        assert!(triplets(nothing.as_ref(), &[0]).unwrap().is_none());
    }
}
