//! Low-rank experts of few rows.

#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Distribution, Tensor, TensorData};
use fused_ops::{add_low_rank, add_low_rank_composed, few_rows};

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &Device::flex())
}

/// Equal up to the rounding of sums in another order, which goes with the largest value.
fn close(found: Tensor<2>, expected: Tensor<2>, what: &str) {
    let [found, expected] = [found, expected].map(Tensor::into_data);
    let pairs = found.iter::<f32>().zip(expected.iter::<f32>());
    let error = pairs.fold(0.0, |worst: f32, (a, b)| worst.max((a - b).abs()));
    let scale = expected.iter::<f32>().fold(1.0, |largest: f32, b| largest.max(b.abs()));
    assert_eq!(found.shape(), expected.shape(), "{what}");
    assert!(error <= 5e-6 * scale, "{what}: {error} of {scale}");
}

/// Rows, inputs, experts, outputs: whole vectors and not, alone and shared by threads.
const SIZES: [[usize; 4]; 6] = [
    [1, 1, 1, 1],
    [1, 576, 8, 1536],
    [1, 33, 3, 77],
    [2, 16, 8, 40],
    [7, 130, 5, 61],
    [32, 64, 2, 900],
];

#[test]
fn the_kernel_is_the_composed_formula() {
    for [rows, inputs, experts, outputs] in SIZES {
        for rank in [1, 3, 4, 5, 8, 16, 24, 30] {
            for (of_a, weighted) in [(experts, true), (experts, false), (1, true), (1, false)] {
                let (y, x) = (random([rows, outputs]), random([rows, inputs]));
                let factors = || [random([of_a, rank, inputs]), random([experts, outputs, rank])];
                let [a, b] = factors();
                // Every third weight is 0: of some rows all, of a single expert too.
                let weights = weighted.then(|| {
                    let values = random([rows, experts]).into_data();
                    let kept = values.iter::<f32>().enumerate();
                    let kept: Vec<f32> =
                        kept.map(|(i, w)| if i % 3 == 1 { 0.0 } else { w }).collect();
                    let data = TensorData::new(kept, [rows, experts]);
                    Tensor::<2>::from_data(data, &Device::flex())
                });
                assert!(few_rows(&x));
                let run = |operation: fn(_, _, _, _, _) -> Tensor<2>| {
                    let factors: [Tensor<3>; 2] = [a.clone(), b.clone()];
                    operation(y.clone(), x.clone(), factors, weights.clone(), 0.5)
                };
                let what = format!("{rows} {inputs} {experts} {outputs}, rank {rank} of {of_a}");
                close(run(add_low_rank), run(add_low_rank_composed), &what);
            }
        }
    }
}

#[test]
fn experts_without_weight_are_not_looked_at() {
    let (x, y) = (random([2, 8]), random([2, 6]));
    let mut a = random([2, 4, 8]);
    a = a.slice_assign([1..2, 0..4, 0..8], Tensor::full([1, 4, 8], f32::NAN, &Device::flex()));
    let weights = Tensor::<2>::from_data([[1.0, 0.0], [0.5, 0.0]], &Device::flex());
    let found = add_low_rank(y, x, [a, random([2, 6, 4])], Some(weights), 1.0);
    assert!(found.into_data().iter::<f32>().all(f32::is_finite));
}

#[test]
fn training_and_many_rows_take_other_ways() {
    assert!(!few_rows(&random([33, 4])));
    let tracked = Tensor::<2>::zeros([1, 4], &Device::flex().autodiff());
    assert!(!few_rows(&tracked));
}
