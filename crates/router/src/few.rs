//! Routings of few tokens on the host, as each step of generation has: what would be some ten
//! operations on tensors of a few numbers, one after the other, is one loop.

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::Routing;

/// What the selected experts weigh.
#[derive(Clone, Copy)]
pub(crate) enum Weights {
    /// Their probabilities.
    Probabilities,
    /// Their probabilities, divided by their sum.
    Renormalised,
    /// 1.
    Ones,
}

/// The `k` most probable of the experts of each row of logits: of equal ones the first.
pub(crate) fn top_k(
    logits: Vec<f32>,
    experts: usize,
    k: usize,
    weigh: Weights,
    device: &Device,
) -> Routing {
    let mut probabilities = Vec::with_capacity(logits.len());
    let mut weights = vec![0.0f32; logits.len()];
    let mut selected = vec![false; logits.len()];
    let chosen = weights.chunks_exact_mut(experts).zip(selected.chunks_exact_mut(experts));
    for (logits, (weights, selected)) in logits.chunks_exact(experts).zip(chosen) {
        let first = probabilities.len();
        softmax_into(logits, &mut probabilities);
        let probabilities = &probabilities[first..];
        for _ in 0..k {
            // The first that is left, where no comparison holds.
            let left = (0..logits.len()).filter(|e| !selected[*e]);
            let best = left.reduce(|best, e| if logits[e] > logits[best] { e } else { best });
            let Some(best) = best else { break };
            selected[best] = true;
        }
        let sum: f32 =
            probabilities.iter().zip(&*selected).filter(|(_, s)| **s).map(|(p, _)| p).sum();
        for ((weight, p), _) in
            weights.iter_mut().zip(probabilities).zip(&*selected).filter(|(_, s)| **s)
        {
            *weight = match weigh {
                Weights::Ones => 1.0,
                Weights::Renormalised if sum != 0.0 => p / sum,
                Weights::Renormalised | Weights::Probabilities => *p,
            };
        }
    }
    let shape = [logits.len() / experts, experts];
    let tensor = |values| of_rows(values, shape, device);
    let selection = selected.into_iter().map(|selected| f32::from(u8::from(selected))).collect();
    Routing::dense(tensor(logits), tensor(probabilities), tensor(weights))
        .with_selection(tensor(selection), Some(k))
}

/// A tensor of f32.
pub(crate) fn of_rows<const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
}

fn softmax_into(logits: &[f32], probabilities: &mut Vec<f32>) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let first = probabilities.len();
    probabilities.extend(logits.iter().map(|logit| (logit - largest).exp()));
    let sum: f32 = probabilities[first..].iter().sum();
    probabilities[first..].iter_mut().for_each(|p| *p /= sum);
}
