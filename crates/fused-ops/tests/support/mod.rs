//! What tests of equality share.

#![allow(clippy::unwrap_used, dead_code)]

use burn::tensor::{Device, Distribution, Tensor};

/// That which `LORA_MOE_DEVICE` names, by default `flex`.
pub fn device() -> Device {
    lora_moe::device::device_from_environment().unwrap().autodiff()
}

/// GPUs sum in another order, and their exponentials are less exact.
pub fn looser() -> f32 {
    if device() == Device::flex().autodiff() { 1.0 } else { 10.0 }
}

pub fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Uniform(-3.0, 3.0), &device())
}

pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

pub fn close(what: &str, found: &[f32], expected: &[f32], absolute: f32) {
    assert_eq!(found.len(), expected.len());
    for (i, (&a, &b)) in found.iter().zip(expected).enumerate() {
        assert!(a.is_finite() && b.is_finite(), "{what}[{i}]: {a} and {b}");
        let allowed = looser() * (absolute + 1e-5 * b.abs());
        assert!((a - b).abs() <= allowed, "{what}[{i}]: {a}, expected {b}");
    }
}

/// The result of `op` and the gradients of its inputs, for a random gradient of the result.
pub fn run<const N: usize, const D: usize, const E: usize>(
    inputs: &[Tensor<D>; N],
    weight: &Tensor<E>,
    op: impl Fn([Tensor<D>; N]) -> Tensor<E>,
) -> Vec<Vec<f32>> {
    let inputs = inputs.clone().map(|x| x.detach().require_grad());
    let y = op(inputs.clone());
    let grads = (y.clone() * weight.clone()).sum().backward();
    let mut all = vec![floats(y)];
    all.extend(inputs.iter().map(|x| floats(x.grad(&grads).unwrap())));
    all
}

pub fn same<const N: usize, const D: usize, const E: usize>(
    inputs: [Tensor<D>; N],
    fused: impl Fn([Tensor<D>; N]) -> Tensor<E>,
    composed: impl Fn([Tensor<D>; N]) -> Tensor<E>,
) {
    let weight = random(composed(inputs.clone()).dims());
    let found = run(&inputs, &weight, fused);
    let expected = run(&inputs, &weight, composed);
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let name = if i == 0 { "value".to_owned() } else { format!("gradient {i}") };
        close(&name, found, expected, 2e-6);
    }
}
