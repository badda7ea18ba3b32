use std::cmp::Ordering;
use std::ops::Range;

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::softmax;
use burn::tensor::{DType, Int, Tensor, TensorData};
use fused_ops::{host_read, sent};
use moe_adapter::{Activation, AdapterError, Projection};
use router::RoutingTape;

use super::experts::Experts;
use crate::DecoderConfig;
use crate::config::{ExpertNames, SparseConfig};
use crate::parameters::ParameterSource;

/// The feed-forward layer of a base model that is a mixture of experts: of each token the `k`
/// experts with the largest `p = softmax(W x)`, `y = sum_e p_e expert_e(x)`, with the `p_e` of the
/// `k` divided by their sum where the model says so.
///
/// Each expert computes only its own tokens. Which these are the host must know, so that every such
/// layer of a pass waits for the device once. Gate and experts are frozen with the base model;
/// the linears of experts may have adapters without a router.
///
/// Sources: Jiang et al., arXiv 2401.04088, section 2.1; Yang et al., arXiv 2505.09388.
#[derive(Module, Debug)]
pub struct SparseFeedForward<P: Projection> {
    /// `W`, `H -> E`.
    pub gate: Linear,
    /// The experts.
    pub experts: Experts<P>,
    num_experts_per_tok: usize,
    norm_topk_prob: bool,
    #[module(skip)]
    activation: Activation,
    /// What files call this layer.
    #[module(skip)]
    block: &'static str,
}

impl<P: Projection> SparseFeedForward<P> {
    pub(super) fn build<S: ParameterSource>(
        config: &DecoderConfig,
        names: &ExpertNames,
        sparse: &SparseConfig,
        layer_path: &str,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        // What transformers 5 has in memory is called so in every family.
        let block = match source.holds(&format!("{layer_path}.mlp.gate.weight")) {
            true => "mlp",
            false => names.block,
        };
        let gate = format!("{layer_path}.{block}.gate");
        Ok(Self {
            gate: source.linear(&gate, config.hidden_size, sparse.num_experts, false)?,
            experts: Experts::build(config, names, sparse, layer_path, source)?,
            num_experts_per_tok: sparse.num_experts_per_tok,
            norm_topk_prob: sparse.norm_topk_prob,
            activation: config.activation,
            block: names.block,
        })
    }

    /// `[B, S, H]` to the same.
    pub(super) fn forward(&self, x: Tensor<3>, layer: usize, tape: &mut RoutingTape) -> Tensor<3> {
        let [batch, seq, hidden] = x.dims();
        let (tokens, k) = (batch * seq, self.num_experts_per_tok);
        if tokens == 0 {
            return x;
        }
        let (device, dtype) = (x.device(), x.dtype());
        let x = x.reshape([tokens, hidden]);
        let logits = fused_ops::linear(x.clone(), self.gate.weight.val(), None).cast(DType::F32);
        let plan = Plan::new(host_read(logits.clone()), k);
        let indices = |values: &[usize]| {
            let values: Vec<i64> = values.iter().map(|value| *value as i64).collect();
            let count = values.len();
            Tensor::<1, Int>::from_data(sent(TensorData::new(values, [count])), &device)
        };

        let chosen = indices(&plan.chosen).reshape([tokens, k]);
        let mut weights = softmax(logits, 1).gather(1, chosen);
        if self.norm_topk_prob {
            weights = weights.clone() / weights.sum_dim(1);
        }

        let of_pairs = indices(&plan.tokens);
        let context = tape.context().clone();
        let rows = x.select(0, of_pairs.clone());
        let mut outputs = Vec::with_capacity(plan.groups.len());
        for (expert, group) in &plan.groups {
            let (start, count) = (group.start, group.len());
            let rows = rows.clone().narrow(0, start, count).unsqueeze_dim::<3>(0);
            let context = context.of_tokens(of_pairs.clone().narrow(0, start, count));
            let y = tape.within(context, |tape| {
                self.experts.forward(*expert, rows, layer, self.activation, tape)
            });
            outputs.push(y.squeeze_dim::<2>(0));
        }
        let y = Tensor::cat(outputs, 0).select(0, indices(&plan.places));
        let y = y.reshape([tokens, k, hidden]) * weights.cast(dtype).reshape([tokens, k, 1]);
        y.sum_dim(1).reshape([batch, seq, hidden])
    }

    /// The projections of all experts, one expert after the other, with their paths inside the
    /// layer.
    pub(super) fn projections(&self) -> Vec<(&'static str, &P)> {
        self.experts.projections()
    }

    /// As [`projections`](Self::projections), to change them.
    pub(super) fn projections_mut(&mut self) -> Vec<(&'static str, &mut P)> {
        self.experts.projections_mut()
    }

    /// The path of the gate inside the layer, as files have it.
    pub(super) fn gate_path(&self) -> String {
        format!("{}.gate", self.block)
    }

    /// The same layer with [fused](Experts::Fused) experts.
    pub(super) fn fused(&self) -> Result<Self, AdapterError> {
        let experts = self.experts.fused(self.activation)?;
        Ok(Self { gate: self.gate.clone(), experts, ..*self })
    }
}

/// Which experts compute which tokens.
struct Plan {
    /// The experts of each token, `[T * k]`.
    chosen: Vec<usize>,
    /// The tokens of the pairs of token and expert, the pairs of an expert one after the other.
    tokens: Vec<usize>,
    /// The pairs of each expert that has any.
    groups: Vec<(usize, Range<usize>)>,
    /// Where each of `chosen` is among the pairs.
    places: Vec<usize>,
}

impl Plan {
    /// The `k` experts of each token with the largest logits, `[T, E]`; of equal ones the first.
    fn new(logits: TensorData, k: usize) -> Self {
        let [tokens, experts] = [logits.shape()[0], logits.shape()[1]];
        let logits: Vec<f32> = logits.iter::<f32>().collect();
        let mut chosen = Vec::with_capacity(tokens * k);
        for row in logits.chunks(experts) {
            let mut order: Vec<usize> = (0..experts).collect();
            let by_size = |a: &usize, b: &usize| {
                row[*b].partial_cmp(&row[*a]).unwrap_or(Ordering::Equal).then(a.cmp(b))
            };
            order.sort_unstable_by(by_size);
            chosen.extend(&order[..k]);
        }
        let mut pairs: Vec<usize> = (0..chosen.len()).collect();
        pairs.sort_by_key(|pair| chosen[*pair]);
        let mut places = vec![0; pairs.len()];
        let mut groups: Vec<(usize, Range<usize>)> = Vec::new();
        for (place, pair) in pairs.iter().enumerate() {
            places[*pair] = place;
            match groups.last_mut() {
                Some((expert, group)) if *expert == chosen[*pair] => group.end = place + 1,
                _ => groups.push((chosen[*pair], place..place + 1)),
            }
        }
        let tokens = pairs.iter().map(|pair| pair / k).collect();
        Self { chosen, tokens, groups, places }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_grouped_by_their_experts() {
        let logits = TensorData::new(vec![0.0f32, 3.0, 1.0, 2.0, 2.0, 0.0], [2, 3]);
        let plan = Plan::new(logits, 2);
        assert_eq!(plan.chosen, [1, 2, 0, 1]);
        assert_eq!(plan.groups, [(0, 0..1), (1, 1..3), (2, 3..4)]);
        assert_eq!(plan.tokens, [1, 0, 1, 0]);
        assert_eq!(plan.places, [1, 3, 0, 2]);
    }
}
