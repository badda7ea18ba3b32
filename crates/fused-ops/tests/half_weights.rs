//! Products with matrices in half types are those with the widened matrices.

#![allow(clippy::unwrap_used)]

use burn::tensor::{DType, Device, Distribution, Tensor};
use fused_ops::{linear, linear_add, linear_composed};

fn random(shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), device)
}

fn same<const D: usize>(what: &str, found: Tensor<D>, expected: Tensor<D>) {
    assert_eq!(found.dtype(), DType::F32, "{what}");
    let [found, expected] = [found, expected].map(|x| x.into_data().try_to_vec::<f32>().unwrap());
    let largest = expected.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
        assert!((a - b).abs() <= 5e-6 * largest, "{what}[{i}]: {a}, expected {b}");
    }
}

/// One row, few, and many; sizes below and above those that are widened at once.
const SIZES: [[usize; 3]; 6] =
    [[1, 256, 512], [7, 300, 1040], [32, 64, 48], [40, 96, 80], [33, 2048, 600], [5, 31, 17]];

#[test]
fn halves_are_widened_and_summed_in_f32() {
    let device = Device::flex();
    for dtype in [DType::BF16, DType::F16] {
        for [m, k, n] in SIZES {
            let x = random([m, k], &device);
            let half = random([k, n], &device).cast(dtype);
            let wide = half.clone().cast(DType::F32);
            let what = format!("{dtype:?} {m} x {k} x {n}");
            let expected = linear_composed(x.clone(), wide.clone(), None);
            same(&what, linear(x.clone(), half.clone(), None), expected.clone());

            // Held as the transpose, and as a part of a larger matrix.
            let turned = half.clone().transpose().mul_scalar(1.0).transpose();
            same(&what, linear(x.clone(), turned, None), expected.clone());
            let padded = Tensor::cat(vec![half.clone(), half.clone()], 1).narrow(1, n, n);
            same(&what, linear(x.clone(), padded, None), expected);

            let bias = random([1, n], &device).reshape([n]);
            let expected = linear_composed(x.clone(), wide.clone(), Some(bias.clone()));
            same(&what, linear(x.clone(), half.clone(), Some(bias)), expected);

            let (h, b) = (random([m, 4], &device), random([4, n], &device));
            let expected = linear_composed(x.clone(), wide, None) + h.clone().matmul(b.clone());
            same(&what, linear_add(x, half, None, h, b), expected);
        }
    }
}

#[test]
fn gradients_pass_through_constants_in_halves() {
    let plain = Device::flex();
    let device = plain.clone().autodiff();
    for [m, k, n] in SIZES {
        let half = random([k, n], &plain).cast(DType::BF16);
        let weight = random([m, n], &device);
        let x = random([m, k], &device).require_grad();
        let constant = Tensor::from_inner(half.clone());
        let grads = (linear(x.clone(), constant, None) * weight.clone()).sum().backward();
        let expected = weight.inner().matmul(half.cast(DType::F32).transpose());
        same("gradient", x.grad(&grads).unwrap(), expected);
    }
}

#[test]
fn tracked_halves_have_gradients_too() {
    let device = Device::flex().autodiff();
    let x = random([40, 64], &device).require_grad();
    let half = random([64, 48], &device).cast(DType::BF16).detach().require_grad();
    let grads = linear(x.clone(), half.clone(), None).sum().backward();
    assert_eq!(half.grad(&grads).unwrap().dims(), [64, 48]);
    assert_eq!(x.grad(&grads).unwrap().dtype(), DType::F32);
}
