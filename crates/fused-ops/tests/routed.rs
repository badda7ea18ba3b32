//! Low-rank experts for the rows that selected them, and dropout on its own.

#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Distribution, Tensor, TensorData, Tolerance};
use fused_ops::{dropout, dropout_linear, linear_routed, linear_routed_composed, runs_kernels};

type Operation = fn(Tensor<2>, Tensor<2>, Tensor<3>, Tensor<3>, Tensor<2>, Tensor<2>) -> Tensor<2>;

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let device = Device::flex().autodiff();
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &device)
}

/// Equal up to the rounding of sums in another order, which goes with the largest value.
fn close(found: &TensorData, expected: &TensorData) {
    let pairs = found.iter::<f32>().zip(expected.iter::<f32>());
    let error = pairs.fold(0.0, |worst: f32, (a, b)| worst.max((a - b).abs()));
    let scale = expected.iter::<f32>().fold(1.0, |largest: f32, b| largest.max(b.abs()));
    assert_eq!(found.shape(), expected.shape());
    assert!(error <= 5e-6 * scale, "{error} of {scale}");
}

/// Sizes of one comparison; more outputs than one task takes of columns.
const SIZES: [[usize; 5]; 3] = [[1, 1, 1, 1, 1], [9, 5, 4, 2, 7], [60, 33, 6, 3, 1100]];

#[test]
fn the_kernel_is_the_composed_formula_in_values_and_gradients() {
    for [tokens, inputs, experts, rank, outputs] in SIZES {
        for selecting in [
            |_: usize, _: usize| true,
            |_: usize, _: usize| false,
            |t: usize, e: usize| (t * 7 + e * 3) % 5 < 2,
            |_: usize, e: usize| e == 0,
        ] {
            let chosen: Vec<f32> = (0..tokens * experts)
                .map(|i| f32::from(u8::from(selecting(i / experts, i % experts))))
                .collect();
            let chosen = TensorData::new(chosen, [tokens, experts]);
            let (y, x) = (random([tokens, outputs]), random([tokens, inputs]));
            let (a, up) = (random([experts, rank, inputs]), random([experts, rank, outputs]));
            let weights = random([tokens, experts]);
            let out = random([tokens, outputs]);
            let run = |operation: Operation| {
                let chosen = Tensor::from_data(chosen.clone(), &x.device());
                let [y, x, weights] = [&y, &x, &weights].map(|t| t.clone().detach().require_grad());
                let [a, up] = [&a, &up].map(|t| t.clone().detach().require_grad());
                let result =
                    operation(y.clone(), x.clone(), a.clone(), up.clone(), weights.clone(), chosen);
                let grads = (result.clone() * out.clone()).sum().backward();
                let mut all = vec![result.into_data()];
                all.extend([&y, &x, &weights].map(|t| t.grad(&grads).unwrap().into_data()));
                all.extend([&a, &up].map(|t| t.grad(&grads).unwrap().into_data()));
                all
            };
            let (kernel, composed) = (run(linear_routed), run(linear_routed_composed));
            for (kernel, composed) in kernel.iter().zip(&composed) {
                close(kernel, composed);
            }
        }
    }
}

#[test]
fn views_are_taken_as_they_read() {
    let (y, x) = (random([6, 9]), random([4, 9]).swap_dims(0, 1).narrow(0, 2, 6));
    let (a, up) = (random([2, 4, 3]).swap_dims(1, 2), random([2, 9, 3]).swap_dims(1, 2));
    let weights = random([3, 6]).swap_dims(0, 1).narrow(1, 1, 2);
    let chosen = weights.clone().greater_scalar(0.0).float();
    let run = |operation: Operation| {
        let [y, x, weights, chosen] = [&y, &x, &weights, &chosen].map(Tensor::clone);
        operation(y, x, a.clone(), up.clone(), weights, chosen).into_data()
    };
    let composed = run(linear_routed_composed);
    run(linear_routed).assert_approx_eq::<f32>(&composed, Tolerance::rel_abs(1e-5, 1e-5));
}

#[test]
fn the_result_does_not_depend_on_scheduling() {
    let (y, x) = (random([200, 1200]), random([200, 64]));
    let (a, up) = (random([8, 4, 64]), random([8, 4, 1200]));
    let weights = random([200, 8]);
    let chosen = weights.clone().greater_scalar(0.3).float();
    let run = || {
        let (y, x, weights) = (y.clone(), x.clone(), weights.clone());
        linear_routed(y, x, a.clone(), up.clone(), weights, chosen.clone()).into_data()
    };
    let first = run();
    assert!((0..10).all(|_| run() == first));
}

#[test]
fn dropout_is_that_of_dropout_linear_forth_and_back() {
    let x = random([12, 7]).require_grad();
    let expected =
        dropout_linear(Tensor::ones([12, 7], &x.device()), Tensor::eye(7, &x.device()), 0.4, 3);
    let y = dropout(x.clone(), 0.4, 3);
    let out = random([12, 7]);
    let value = (x.clone() * expected.clone()).into_data();
    y.clone().into_data().assert_approx_eq::<f32>(&value, Tolerance::rel_abs(1e-6, 1e-6));
    let grads = (y * out.clone()).sum().backward();
    let grad = x.grad(&grads).unwrap().into_data();
    let expected = (out * expected).into_data();
    grad.assert_approx_eq::<f32>(&expected, Tolerance::rel_abs(1e-6, 1e-6));
}

#[test]
fn kernels_run_for_f32_on_flex() {
    let x = Tensor::<2>::ones([2, 2], &Device::flex());
    assert!(runs_kernels(&x) && runs_kernels(&x.clone().autodiff()));
    assert!(!runs_kernels(&x.cast(burn::tensor::DType::F16)));
}
