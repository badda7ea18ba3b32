//! Dropout, whose entries are random.

#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Distribution, Tensor, Tolerance};
use fused_ops::dropout_linear;

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// The factor of each entry of `[rows, width]`.
fn mask(rows: usize, width: usize, p: f64, seed: u64) -> Tensor<2> {
    let device = Device::flex();
    dropout_linear(Tensor::ones([rows, width], &device), Tensor::eye(width, &device), p, seed)
}

#[test]
fn the_share_and_the_scale_are_those_asked_for() {
    for p in [0.0, 0.05, 0.5, 0.9] {
        let y = floats(mask(500, 400, p, 11));
        let scale = (1.0 / (1.0 - p)) as f32;
        assert!(y.iter().all(|&y| y == 0.0 || y == scale));
        let dropped = |y: &[f32]| y.iter().filter(|&&y| y == 0.0).count() as f64;
        let deviation = |n: f64| (p * (1.0 - p) / n).sqrt();
        assert!((dropped(&y) / 2e5 - p).abs() <= 5.0 * deviation(2e5));
        // Rows and columns too, and neighbours are independent.
        for row in y.chunks(400) {
            assert!((dropped(row) / 400.0 - p).abs() <= 6.0 * deviation(400.0));
        }
        for column in 0..400 {
            let column: Vec<f32> = y.iter().skip(column).step_by(400).copied().collect();
            assert!((dropped(&column) / 500.0 - p).abs() <= 6.0 * deviation(500.0));
        }
        let both = y.windows(2).filter(|pair| pair[0] == 0.0 && pair[1] == 0.0).count() as f64;
        assert!((both / 2e5 - p * p).abs() <= 8.0 * p * deviation(2e5));
    }
}

#[test]
fn the_seed_decides() {
    let draw = |seed| floats(mask(30, 20, 0.5, seed));
    assert_eq!(draw(8), draw(8));
    // Also not up to the order of neighbours, which a hash without mixed keys would give.
    let agreeing = |a: &[f32], shift: usize| {
        let b = draw(9);
        (0..600).filter(|&i| a[i] == b[i ^ shift]).count()
    };
    for shift in [0, 1] {
        let count = agreeing(&draw(8), shift);
        assert!((200..400).contains(&count), "{count} of 600");
    }
}

#[test]
fn the_gradients_are_those_of_the_mask() {
    let device = Device::flex().autodiff();
    let random = |shape| Tensor::<2>::random(shape, Distribution::Uniform(-1.0, 1.0), &device);
    let (x, weight, gradient) = (random([40, 24]), random([6, 24]), random([40, 6]));
    let mask = Tensor::from_inner(mask(40, 24, 0.3, 9));
    for tracked in [[true, true], [true, false], [false, true]] {
        let run = |fused: bool| {
            let track = |x: &Tensor<2>, on| if on { x.clone().require_grad() } else { x.clone() };
            let (x, weight) = (track(&x, tracked[0]), track(&weight, tracked[1]));
            let y = match fused {
                true => dropout_linear(x.clone(), weight.clone(), 0.3, 9),
                false => (x.clone() * mask.clone()).matmul(weight.clone().transpose()),
            };
            let grads = (y.clone() * gradient.clone()).sum().backward();
            [Some(y), x.grad(&grads), weight.grad(&grads)]
        };
        for (found, expected) in run(true).into_iter().zip(run(false)) {
            assert_eq!(found.is_some(), expected.is_some());
            let Some((found, expected)) = found.zip(expected) else { continue };
            let tolerance = Tolerance::<f32>::rel_abs(1e-5, 1e-5);
            found.into_data().assert_approx_eq(&expected.into_data(), tolerance);
        }
    }
}
