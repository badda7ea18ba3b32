//! What the tests of starts share.
#![allow(dead_code)]

use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use svd_init::{BankShape, ExpertInit, ExpertStart, InitError, LayerStatistics};

/// A matrix of independent values with mean 0 and variance 1.
pub fn random(rows: usize, columns: usize, seed: u64) -> Tensor<2> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let bound = 3.0_f32.sqrt();
    let values: Vec<f32> = (0..rows * columns).map(|_| rng.random_range(-bound..bound)).collect();
    Tensor::from_data(TensorData::new(values, [rows, columns]), &Device::flex())
}

/// The shape of a bank for a weight `[in, out]`.
pub fn shape_of(weight: &Tensor<2>, num_experts: usize, rank: usize) -> BankShape {
    let [in_features, out_features] = weight.dims();
    BankShape { num_experts, rank, in_features, out_features, scaling: 2.0 }
}

pub fn start(
    init: &impl ExpertInit,
    weight: &Tensor<2>,
    shape: &BankShape,
    statistics: &LayerStatistics,
) -> Result<ExpertStart, InitError> {
    init.start(weight, shape, statistics, &mut SmallRng::seed_from_u64(0))
}

/// `B_e A_e`, as `[in, out]`.
pub fn product(start: &ExpertStart, expert: usize) -> Tensor<2> {
    (lora_b(start, expert).matmul(lora_a(start, expert))).transpose()
}

/// `A_e`, `[r, in]`.
pub fn lora_a(start: &ExpertStart, expert: usize) -> Tensor<2> {
    start.lora_a.clone().narrow(0, expert, 1).squeeze_dim(0)
}

/// `B_e`, `[out, r]`.
pub fn lora_b(start: &ExpertStart, expert: usize) -> Tensor<2> {
    start.lora_b.clone().narrow(0, expert, 1).squeeze_dim(0)
}

/// `s_e`.
pub fn scaling(start: &ExpertStart, shape: &BankShape, expert: usize) -> f64 {
    let own = start.expert_scaling.as_ref().map_or(1.0, |scaling| scaling[expert]);
    shape.scaling * own
}

/// `sum_e s_e B_e A_e`, `[in, out]`.
pub fn mixture(start: &ExpertStart, shape: &BankShape) -> Tensor<2> {
    let scaled = |e: usize| product(start, e) * scaling(start, shape, e);
    (1..shape.num_experts).fold(scaled(0), |sum, e| sum + scaled(e))
}

/// `W_res = W - c sum_e s_e B_e A_e`, `[in, out]`.
pub fn residual(weight: &Tensor<2>, start: &ExpertStart, shape: &BankShape) -> Tensor<2> {
    let coefficient = start.residual_coefficient.unwrap_or(0.0);
    weight.clone() - mixture(start, shape) * coefficient
}

/// The Frobenius norm.
pub fn norm(tensor: &Tensor<2>) -> f64 {
    dot(tensor, tensor).sqrt()
}

/// The Frobenius inner product.
pub fn dot(a: &Tensor<2>, b: &Tensor<2>) -> f64 {
    (a.clone() * b.clone()).sum().into_scalar::<f32>().into()
}

/// The distance of two matrices, relative to the second's norm.
pub fn distance(a: &Tensor<2>, b: &Tensor<2>) -> f64 {
    norm(&(a.clone() - b.clone())) / norm(b)
}

/// How far `m m^T` is from a multiple of the identity: the largest deviation from `value`.
pub fn gram_error(m: &Tensor<2>, value: f64) -> f64 {
    let [rows, _] = m.dims();
    let gram = m.clone().matmul(m.clone().transpose());
    let identity = Tensor::<2>::eye(rows, &Device::flex()) * value;
    (gram - identity).abs().max().into_scalar::<f32>().into()
}
