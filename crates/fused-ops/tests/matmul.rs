//! Products of few rows equal Burn's, in values and gradients, however the factors lie in memory.

#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Distribution, Tensor, Tolerance};
use fused_ops::matmul_few_rows;

fn random(shape: [usize; 4], device: &Device) -> Tensor<4> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), device)
}

fn close(found: Tensor<4>, expected: Tensor<4>) {
    let tolerance = Tolerance::<f32>::rel_abs(1e-5, 2e-5);
    found.into_data().assert_approx_eq(&expected.into_data(), tolerance);
}

#[test]
fn few_rows_with_a_cache_of_keys_and_values() {
    let device = Device::flex();
    for (rows, keys, head_dim) in [(1, 1, 16), (3, 37, 64), (4, 5, 24), (16, 130, 32), (17, 9, 16)]
    {
        // The cache has room for more than was seen.
        let cache = random([2, 3, keys + 7, head_dim], &device).narrow(2, 0, keys);
        let q = random([2, 3, rows, head_dim], &device);
        close(
            matmul_few_rows(q.clone(), cache.clone().transpose()),
            q.matmul(cache.clone().transpose()),
        );
        let weights = random([2, 3, rows, keys], &device);
        close(
            matmul_few_rows(weights.clone(), cache.clone()),
            weights.clone().matmul(cache.clone()),
        );
        let later = cache.narrow(2, keys / 2, keys - keys / 2);
        let weights = weights.narrow(3, keys / 2, keys - keys / 2);
        close(matmul_few_rows(weights.clone(), later.clone()), weights.matmul(later));
    }
}

#[test]
fn any_other_order_and_one_matrix_for_all() {
    let device = Device::flex();
    let a = random([2, 3, 4, 16], &device);
    let turned = random([2, 16, 3, 32], &device).swap_dims(1, 2);
    close(matmul_few_rows(a.clone(), turned.clone()), a.clone().matmul(turned));
    let shared = random([1, 1, 16, 32], &device).expand([2, 3, 16, 32]);
    close(matmul_few_rows(a.clone(), shared.clone()), a.clone().matmul(shared));
    let nothing = random([2, 3, 16, 32], &device).narrow(3, 0, 16).narrow(2, 0, 16);
    close(matmul_few_rows(a.clone(), nothing.clone()), a.matmul(nothing));
}

#[test]
fn gradients_are_those_of_the_product() {
    let device = Device::flex().autodiff();
    let (a, b) = (random([1, 2, 3, 16], &device), random([1, 2, 16, 16], &device));
    let gradients = |product: fn(Tensor<4>, Tensor<4>) -> Tensor<4>| {
        let (a, b) = (a.clone().detach().require_grad(), b.clone().detach().require_grad());
        let grads = product(a.clone(), b.clone()).powi_scalar(2).sum().backward();
        (a.grad(&grads).unwrap(), b.grad(&grads).unwrap())
    };
    let (found, expected) = (gradients(matmul_few_rows), gradients(Tensor::matmul));
    close(found.0, expected.0);
    close(found.1, expected.1);
}
