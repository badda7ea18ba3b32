use burn::module::Module;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};
use fused_ops::softmax_rows;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::affine::Affine;
use crate::error::number;
use crate::{
    BatchContext, GateConfig, GatedRouter, Read, RouterError, RouterShape, Routing, RoutingExtras,
    Strategy, StrategyConfig, select,
};

/// Configuration of an [`Adamole`] router.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamoleRouterConfig {
    /// `tau_max`, the largest threshold, in (0, 1]. Default `1 / E`, with which every token has an
    /// expert; with more, a token may have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_threshold: Option<f64>,
    /// The gate.
    pub gate: GateConfig,
}

impl StrategyConfig for AdamoleRouterConfig {
    type Strategy = Adamole;

    fn gate(&self) -> &GateConfig {
        &self.gate
    }

    fn check_strategy(&self, _shape: &RouterShape) -> Result<(), RouterError> {
        match self.max_threshold {
            Some(value) => number("max_threshold", value, |t| t > 0.0 && t <= 1.0, "in (0, 1]"),
            None => Ok(()),
        }
    }

    fn init_strategy<R: Rng + ?Sized>(
        &self,
        shape: &RouterShape,
        rng: &mut R,
        device: &Device,
    ) -> Adamole {
        let features = self.gate.num_features(shape);
        let max_threshold = self.max_threshold.unwrap_or(1.0 / shape.num_experts as f64);
        Adamole { threshold: Affine::kaiming_uniform([features, 1], rng, device), max_threshold }
    }
}

/// The experts above a threshold that depends on the token.
///
/// `tau = tau_max * sigmoid(v x + b)`, `w = (p - tau)_+ / sum (p - tau)_+`. Source: AdaMoLE, arXiv
/// 2405.00361. Its balance loss averages `p - tau` over all tokens, what is
/// below the threshold included: `balance_scores`.
#[derive(Module, Debug)]
pub struct Adamole {
    /// `v` `[1, F]` and `b` `[1]`.
    pub threshold: Affine,
    /// `tau_max`.
    pub max_threshold: f64,
}

/// See [`Adamole`].
pub type AdamoleRouter = GatedRouter<Adamole>;

impl Strategy for Adamole {
    fn decide(&self, logits: Tensor<2>, read: Read, _context: &BatchContext) -> Routing {
        let probabilities = softmax_rows(logits.clone());
        let threshold = sigmoid(self.threshold.forward(read.rows.clone())) * self.max_threshold;
        let above = probabilities.clone() - read.spread(threshold);
        let selected = above.clone().without_autodiff().greater_equal_elem(0.0);
        let weights = select::renormalise(above.clone(), selected.clone());
        let extras = RoutingExtras { balance_scores: Some(above), ..Default::default() };
        Routing::dense(logits, probabilities, weights)
            .with_selection(select::as_mask(selected), None)
            .with_extras(extras)
    }
}
