use burn::tensor::{Device, Tensor, TensorData};

use crate::BankShape;

/// Stacks the factors of all experts: `a` writes row `i` of `A` `[I]` and `b` column `i` of `B`
/// `[O]`, where `i = e r + k` for rank `k` of expert `e`.
pub(crate) fn stack(
    shape: &BankShape,
    device: &Device,
    a: impl Fn(usize, &mut [f32]),
    b: impl Fn(usize, &mut [f32]),
) -> (Tensor<3>, Tensor<3>) {
    let BankShape { num_experts, rank, in_features, out_features, .. } = *shape;
    let mut lora_a = vec![0.0; num_experts * rank * in_features];
    for (index, row) in lora_a.chunks_exact_mut(in_features).enumerate() {
        a(index, row);
    }
    let mut lora_b = vec![0.0; num_experts * out_features * rank];
    let mut column = vec![0.0; out_features];
    for (expert, matrix) in lora_b.chunks_exact_mut(out_features * rank).enumerate() {
        for k in 0..rank {
            b(expert * rank + k, &mut column);
            for (row, value) in matrix.chunks_exact_mut(rank).zip(&column) {
                row[k] = *value;
            }
        }
    }
    let lora_a = TensorData::new(lora_a, [num_experts, rank, in_features]);
    let lora_b = TensorData::new(lora_b, [num_experts, out_features, rank]);
    (Tensor::from_data(lora_a, device), Tensor::from_data(lora_b, device))
}

/// Writes `factor * values` to `to`, rounded once.
pub(crate) fn scaled<'a, T: Copy + Into<f64> + 'a>(
    values: impl IntoIterator<Item = &'a T>,
    factor: f64,
    to: &mut [f32],
) {
    to.iter_mut().zip(values).for_each(|(to, value)| *to = (factor * (*value).into()) as f32);
}
