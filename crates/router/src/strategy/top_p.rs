use burn::module::Module;
use burn::tensor::{Device, Tensor};
use fused_ops::softmax_rows;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::{number, number_of_experts};
use crate::{
    BatchContext, GateConfig, GatedRouter, Read, RouterError, RouterShape, Routing, Strategy,
    StrategyConfig, select,
};

/// Configuration of a [`TopP`] router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TopPRouterConfig {
    /// The probability that the selected experts cover, in (0, 1]. Default 0.8.
    pub p: f64,
    /// Whether the expert at which the sum exceeds `p` is selected too. Default true.
    pub inclusive: bool,
    /// The number of experts selected in any case. Default 1.
    pub min_experts: usize,
    /// Whether the weights are divided by their sum. Default false, as in MixLoRA.
    pub renormalise: bool,
    /// The gate.
    pub gate: GateConfig,
}

impl Default for TopPRouterConfig {
    fn default() -> Self {
        Self {
            p: 0.8,
            inclusive: true,
            min_experts: 1,
            renormalise: false,
            gate: GateConfig::default(),
        }
    }
}

impl StrategyConfig for TopPRouterConfig {
    type Strategy = TopP;

    fn gate(&self) -> &GateConfig {
        &self.gate
    }

    fn check_strategy(&self, shape: &RouterShape) -> Result<(), RouterError> {
        number("p", self.p, |p| p > 0.0 && p <= 1.0, "in (0, 1]")?;
        number_of_experts("min_experts", self.min_experts, shape.num_experts)
    }

    fn init_strategy<R: Rng + ?Sized>(&self, _: &RouterShape, _: &mut R, _: &Device) -> TopP {
        TopP {
            p: self.p,
            inclusive: self.inclusive,
            min_experts: self.min_experts,
            renormalise: self.renormalise,
        }
    }
}

/// The most probable experts that together cover the probability `p`: `w = p_e` of the selected,
/// divided by their sum or not.
///
/// Source: Huang et al., arXiv 2403.07652; MixLoRA's `mixlora-dynamic`, arXiv 2404.15159, is the
/// inclusive form with `p = 0.8`, not renormalised.
#[derive(Module, Debug)]
pub struct TopP {
    /// The probability that the selected experts cover.
    pub p: f64,
    /// Whether the expert at which the sum exceeds `p` is selected too.
    pub inclusive: bool,
    /// The number of experts selected in any case.
    pub min_experts: usize,
    /// Whether the weights are divided by their sum.
    pub renormalise: bool,
}

/// See [`TopP`].
pub type TopPRouter = GatedRouter<TopP>;

impl Strategy for TopP {
    fn decide(&self, logits: Tensor<2>, _read: Read, _context: &BatchContext) -> Routing {
        let probabilities = softmax_rows(logits.clone());
        let crossing =
            if self.inclusive { select::Crossing::Kept } else { select::Crossing::Dropped };
        let selected = select::top_p(probabilities.clone(), self.p, crossing, self.min_experts);
        let weigh = if self.renormalise { select::renormalise } else { select::keep };
        let weights = weigh(probabilities.clone(), selected.clone());
        Routing::dense(logits, probabilities, weights)
            .with_selection(select::as_mask(selected), None)
    }
}
