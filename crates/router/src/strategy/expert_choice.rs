use burn::module::Module;
use burn::tensor::{Device, Tensor};
use fused_ops::softmax_rows;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::capacity::{best_tokens, capacity};
use crate::error::number;
use crate::{
    BatchContext, GateConfig, GatedRouter, Reach, Read, RouterError, RouterShape, Routing,
    Strategy, StrategyConfig, select,
};

/// Configuration of an [`ExpertChoice`] router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpertChoiceRouterConfig {
    /// How many experts a token has on average, above 0. Default 2.
    pub capacity_factor: f64,
    /// The gate.
    pub gate: GateConfig,
}

impl Default for ExpertChoiceRouterConfig {
    fn default() -> Self {
        Self { capacity_factor: 2.0, gate: GateConfig::default() }
    }
}

impl StrategyConfig for ExpertChoiceRouterConfig {
    type Strategy = ExpertChoice;

    fn gate(&self) -> &GateConfig {
        &self.gate
    }

    fn check_strategy(&self, _shape: &RouterShape) -> Result<(), RouterError> {
        let positive = "a finite number above 0";
        number("capacity_factor", self.capacity_factor, |factor| factor > 0.0, positive)
    }

    fn init_strategy<R: Rng + ?Sized>(
        &self,
        _: &RouterShape,
        _: &mut R,
        _: &Device,
    ) -> ExpertChoice {
        ExpertChoice { capacity_factor: self.capacity_factor }
    }
}

/// Experts choose tokens: each takes the `ceil(capacity_factor * real tokens / E)` real tokens with
/// the largest `p = softmax(logits)` for it, with weight `p`.
///
/// All experts have equal loads; a token may have any number of experts, or none. Source: Zhou et
/// al., arXiv 2202.09368. A choice depends on all tokens of the batch, later ones
/// included, so it is not causal: at generation, one token at a time, every expert takes it.
#[derive(Module, Debug)]
pub struct ExpertChoice {
    /// How many experts a token has on average.
    pub capacity_factor: f64,
}

/// See [`ExpertChoice`].
pub type ExpertChoiceRouter = GatedRouter<ExpertChoice>;

impl Strategy for ExpertChoice {
    fn reach(&self) -> Reach {
        Reach::Batch
    }

    fn decide(&self, logits: Tensor<2>, _read: Read, context: &BatchContext) -> Routing {
        let [tokens, experts] = logits.dims();
        let probabilities = softmax_rows(logits.clone());
        let real = context.real_tokens(&logits.device()).reshape([tokens, 1]);
        let all = real.clone().sum_dim(0);
        let capacity = capacity(real.clone(), self.capacity_factor, experts).min_pair(all);
        let selected = best_tokens(probabilities.clone(), real, capacity);
        let weights = select::keep(probabilities.clone(), selected.clone());
        Routing::dense(logits, probabilities, weights)
            .with_selection(select::as_mask(selected), None)
    }
}
