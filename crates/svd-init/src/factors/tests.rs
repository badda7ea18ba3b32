use super::*;

fn all(matrix: &Mat<f32>) -> Factors {
    let size = matrix.nrows().min(matrix.ncols());
    exact_svd(matrix.as_ref(), &(0..size).collect::<Vec<_>>()).unwrap()
}

/// A matrix `[rows, columns]` of independent normal values.
fn gaussian(rows: usize, columns: usize, seed: u64) -> Mat<f32> {
    let mut values = vec![0.0; rows * columns];
    fill_normal(&mut values, 1.0, &mut ChaCha8Rng::seed_from_u64(seed));
    MatRef::from_column_major_slice(&values, rows, columns).to_owned()
}

/// A matrix with the singular values `value(i)`.
fn with_spectrum(rows: usize, columns: usize, value: impl Fn(usize) -> f32) -> Mat<f32> {
    let size = rows.min(columns);
    let left = orthonormalised(gaussian(rows, size, 1));
    let right = orthonormalised(gaussian(columns, size, 2));
    let left = Mat::from_fn(rows, size, |i, j| left[(i, j)] * value(j));
    product(left.as_ref(), right.transpose())
}

fn rebuilt(factors: &Factors) -> Mat<f64> {
    let Factors { left, values, right } = factors;
    let left = Mat::from_fn(left.nrows(), left.ncols(), |i, j| left[(i, j)] * values[j]);
    product(left.as_ref(), right.transpose())
}

fn gram_error(vectors: &Mat<f64>) -> f64 {
    let gram = product(vectors.transpose(), vectors.as_ref());
    (&gram - Mat::<f64>::identity(gram.nrows(), gram.ncols())).norm_max()
}

fn bits(factors: &Factors) -> Vec<u64> {
    let matrices = [&factors.left, &factors.right];
    let vectors = matrices.into_iter().flat_map(|m| m.col_iter().flat_map(|c| c.iter()));
    factors.values.iter().chain(vectors).map(|value| value.to_bits()).collect()
}

#[test]
fn full_decomposition_is_orthonormal_sorted_and_exact() {
    for (rows, columns) in [(60, 60), (200, 33), (33, 200), (300, 150), (1, 7), (7, 1)] {
        let matrix = gaussian(rows, columns, 3);
        let factors = all(&matrix);
        assert_eq!(factors.values.len(), rows.min(columns));
        assert!(factors.values.is_sorted_by(|a, b| a >= b));
        assert!(gram_error(&factors.left) < 1e-10, "{rows}x{columns}");
        assert!(gram_error(&factors.right) < 1e-10, "{rows}x{columns}");
        let error = (&rebuilt(&factors) - &widened(matrix.as_ref())).norm_max();
        assert!(error < 1e-10 * factors.values[0], "{rows}x{columns}: {error}");
    }
}

#[test]
fn largest_component_of_each_left_vector_is_positive() {
    let matrix = gaussian(50, 80, 4);
    let full = all(&matrix);
    let some = randomised_svd(matrix.as_ref(), 6, &RandomisedSvd::default()).unwrap();
    for factors in [full, some] {
        for column in factors.left.col_iter() {
            let largest = column.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs()));
            assert!(largest.unwrap() > 0.0);
        }
    }
}

#[test]
fn signs_do_not_depend_on_those_of_the_decomposition() {
    let matrix = gaussian(40, 30, 5);
    let factors = all(&matrix);
    let flipped = |m: &Mat<f64>| Mat::from_fn(m.nrows(), m.ncols(), |i, j| -m[(i, j)]);
    let again = with_fixed_signs(Factors {
        left: flipped(&factors.left),
        values: factors.values.clone(),
        right: flipped(&factors.right),
    });
    assert_eq!(bits(&factors), bits(&again));
}

#[test]
fn result_does_not_depend_on_the_number_of_threads() {
    for (rows, columns) in [(300, 300), (500, 150)] {
        let matrix = gaussian(rows, columns, 6);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let settings = RandomisedSvd::default();
                let full = all(&matrix);
                (bits(&full), bits(&randomised_svd(matrix.as_ref(), 8, &settings).unwrap()))
            })
        };
        let one = run(1);
        for threads in [2, 3, 7] {
            assert!(run(threads) == one, "{rows}x{columns}, {threads} threads");
        }
    }
}

#[test]
fn randomised_equals_full_where_the_spectrum_decays() {
    let matrix = with_spectrum(400, 300, |i| 10.0 * 0.8_f32.powi(i as i32));
    let full = all(&matrix);
    let some = randomised_svd(matrix.as_ref(), 12, &RandomisedSvd::default()).unwrap();
    for index in 0..12 {
        let error = (some.values[index] - full.values[index]).abs() / full.values[index];
        assert!(error < 1e-5, "value {index} is off by {error}");
        for (ours, theirs) in [(&some.left, &full.left), (&some.right, &full.right)] {
            let difference = (ours.col(index) - theirs.col(index)).norm_max();
            assert!(difference < 1e-4, "vector {index} is off by {difference}");
        }
    }
}

#[test]
fn randomised_basis_of_a_flat_spectrum_captures_nearly_as_much() {
    let matrix = gaussian(500, 400, 7);
    let energy = |f: &Factors| f.values.iter().take(16).map(|v| v * v).sum::<f64>();
    let full = all(&matrix);
    let some = randomised_svd(matrix.as_ref(), 16, &RandomisedSvd::default()).unwrap();
    let captured = energy(&some) / energy(&full);
    assert!((0.9..=1.0001).contains(&captured), "{captured}");
    assert!(gram_error(&some.left) < 1e-10);
    assert!(gram_error(&some.right) < 1e-10);
}

#[test]
fn randomised_follows_its_seed() {
    let matrix = gaussian(200, 100, 8);
    let run = |seed| {
        let settings = RandomisedSvd { seed, ..RandomisedSvd::default() };
        bits(&randomised_svd(matrix.as_ref(), 4, &settings).unwrap())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_sketch_as_wide_as_the_matrix_is_exact() {
    let matrix = gaussian(30, 20, 9);
    let full = all(&matrix);
    let some = randomised_svd(matrix.as_ref(), 20, &RandomisedSvd::default()).unwrap();
    // The range is found in f32.
    assert!((&rebuilt(&some) - &widened(matrix.as_ref())).norm_max() < 1e-5);
    assert!((some.values[19] - full.values[19]).abs() < 1e-9);
}
