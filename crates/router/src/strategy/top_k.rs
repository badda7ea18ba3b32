use burn::module::Module;
use burn::tensor::{Device, Tensor};
use fused_ops::{HostValues, TopKShares, softmax_rows};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::number_of_experts;
use crate::few::{self, Weights};
use crate::{
    BatchContext, GateConfig, GatedRouter, Read, RouterError, RouterShape, Routing, Strategy,
    StrategyConfig, select,
};

/// Configuration of a [`TopK`] router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TopKRouterConfig {
    /// The number of experts for each token. Default 2.
    pub k: usize,
    /// Whether the weights are divided by their sum. With `k = 1` they are then always 1, and the
    /// gate does not learn from the task. Default true.
    pub renormalise: bool,
    /// Whether the weights are 1, with the gradient of the probabilities: for `k = 1` only.
    /// Default false.
    pub straight_through: bool,
    /// The gate.
    pub gate: GateConfig,
}

impl Default for TopKRouterConfig {
    fn default() -> Self {
        Self { k: 2, renormalise: true, straight_through: false, gate: GateConfig::default() }
    }
}

impl StrategyConfig for TopKRouterConfig {
    type Strategy = TopK;

    fn gate(&self) -> &GateConfig {
        &self.gate
    }

    fn check_strategy(&self, shape: &RouterShape) -> Result<(), RouterError> {
        number_of_experts("k", self.k, shape.num_experts)?;
        if self.straight_through && self.k != 1 {
            let allowed = "1, because `straight_through` is set".into();
            return Err(RouterError::Count { field: "k", value: self.k, allowed });
        }
        Ok(())
    }

    fn init_strategy<R: Rng + ?Sized>(&self, _: &RouterShape, _: &mut R, _: &Device) -> TopK {
        TopK { k: self.k, renormalise: self.renormalise, straight_through: self.straight_through }
    }
}

/// The `k` most probable experts: `w = p / (sum of the selected p)`, `p = softmax(logits)`.
///
/// Sources: GShard, arXiv 2006.16668; in mixtures of LoRA experts MoLA, arXiv 2402.08562, MixLoRA,
/// arXiv 2404.15159, GOAT, arXiv 2502.16894.
#[derive(Module, Debug)]
pub struct TopK {
    /// The number of experts for each token.
    pub k: usize,
    /// Whether the weights are divided by their sum.
    pub renormalise: bool,
    /// Whether the weights are 1, with the gradient of the probabilities.
    pub straight_through: bool,
}

/// See [`TopK`].
pub type TopKRouter = GatedRouter<TopK>;

impl Strategy for TopK {
    fn decide(&self, logits: Tensor<2>, _read: Read, _context: &BatchContext) -> Routing {
        if self.renormalise && !self.straight_through {
            let TopKShares { probabilities, mask, weights } = select::top_k_shares(&logits, self.k);
            let routing = Routing::dense(logits, probabilities, weights);
            return routing.with_selection(mask, Some(self.k));
        }
        let probabilities = softmax_rows(logits.clone());
        let mask = select::top_k_mask(logits.clone(), self.k);
        let kept = probabilities.clone() * mask.clone();
        let weights = match self.straight_through {
            true => kept.clone() - kept.without_autodiff() + mask.clone(),
            false => kept,
        };
        Routing::dense(logits, probabilities, weights).with_selection(mask, Some(self.k))
    }

    fn decide_few(&self, logits: &Tensor<2>, _tokens: &Tensor<2>) -> Option<Routing> {
        let weigh = match (self.straight_through, self.renormalise) {
            (true, _) => Weights::Ones,
            (false, true) => Weights::Renormalised,
            (false, false) => Weights::Probabilities,
        };
        let [_, experts] = logits.dims();
        let values = HostValues::of(logits).into();
        Some(few::top_k(values, experts, self.k, weigh, &logits.device()))
    }
}
