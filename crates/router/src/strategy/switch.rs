use burn::module::Module;
use burn::tensor::{Device, Tensor};
use fused_ops::softmax_rows;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::capacity::{capacity, first_tokens};
use crate::error::number;
use crate::{
    BatchContext, GateConfig, GatedRouter, Reach, Read, RouterError, RouterShape, Routing,
    Strategy, StrategyConfig, select,
};

/// Configuration of a [`Switch`] router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SwitchRouterConfig {
    /// How many times its equal share of the tokens an expert takes at most, above 0. Default
    /// 1.25.
    pub capacity_factor: f64,
    /// The gate.
    pub gate: GateConfig,
}

impl Default for SwitchRouterConfig {
    fn default() -> Self {
        Self { capacity_factor: 1.25, gate: GateConfig::default() }
    }
}

impl StrategyConfig for SwitchRouterConfig {
    type Strategy = Switch;

    fn gate(&self) -> &GateConfig {
        &self.gate
    }

    fn check_strategy(&self, _shape: &RouterShape) -> Result<(), RouterError> {
        let positive = "a finite number above 0";
        number("capacity_factor", self.capacity_factor, |factor| factor > 0.0, positive)
    }

    fn init_strategy<R: Rng + ?Sized>(&self, _: &RouterShape, _: &mut R, _: &Device) -> Switch {
        Switch { capacity_factor: self.capacity_factor }
    }
}

/// The most probable expert, with weight `p`, as long as it has room: an expert takes the first
/// `ceil(capacity_factor * real tokens / E)` of its tokens in the order of the batch. The others
/// have no expert, and neither has padding.
///
/// Source: Switch Transformer, arXiv 2101.03961, equation 3. What a token's expert is
/// depends on the tokens before it in the batch, also outside of training.
#[derive(Module, Debug)]
pub struct Switch {
    /// How many times its equal share of the tokens an expert takes at most.
    pub capacity_factor: f64,
}

/// See [`Switch`].
pub type SwitchRouter = GatedRouter<Switch>;

impl Strategy for Switch {
    fn reach(&self) -> Reach {
        Reach::Batch
    }

    fn decide(&self, logits: Tensor<2>, _read: Read, context: &BatchContext) -> Routing {
        let [tokens, experts] = logits.dims();
        let probabilities = softmax_rows(logits.clone());
        let real = context.real_tokens(&logits.device()).reshape([tokens, 1]);
        let assigned = select::top_k(logits.clone(), 1).float() * real.clone();
        let capacity = capacity(real, self.capacity_factor, experts);
        let selected = first_tokens(assigned, capacity);
        let weights = select::keep(probabilities.clone(), selected.clone());
        Routing::dense(logits, probabilities, weights)
            .with_selection(select::as_mask(selected), Some(1))
    }
}
