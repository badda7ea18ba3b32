use burn::module::Module;
use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Device, Tensor};
use fused_ops::softmax_rows;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::{number, number_of_experts};
use crate::{
    BatchContext, Buffer, GateConfig, GatedRouter, Read, RouterError, RouterShape, Routing,
    Strategy, StrategyConfig, select,
};

/// Configuration of a [`Sigmoid`] router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SigmoidRouterConfig {
    /// The number of experts for each token. Default 2.
    pub k: usize,
    /// Whether the weights are divided by their sum. Default true.
    pub renormalise: bool,
    /// How much the balancing bias of an expert moves in a training pass, at least 0; 0 for none.
    /// Default 0.001.
    pub bias_update_rate: f64,
    /// The gate.
    pub gate: GateConfig,
}

impl Default for SigmoidRouterConfig {
    fn default() -> Self {
        Self { k: 2, renormalise: true, bias_update_rate: 1e-3, gate: GateConfig::default() }
    }
}

impl StrategyConfig for SigmoidRouterConfig {
    type Strategy = Sigmoid;

    fn gate(&self) -> &GateConfig {
        &self.gate
    }

    fn check_strategy(&self, shape: &RouterShape) -> Result<(), RouterError> {
        number_of_experts("k", self.k, shape.num_experts)?;
        let allowed = "a finite number of at least 0";
        number("bias_update_rate", self.bias_update_rate, |rate| rate >= 0.0, allowed)
    }

    fn init_strategy<R: Rng + ?Sized>(
        &self,
        shape: &RouterShape,
        _: &mut R,
        device: &Device,
    ) -> Sigmoid {
        Sigmoid {
            bias: Buffer::new(Tensor::zeros([shape.num_experts], device)),
            k: self.k,
            renormalise: self.renormalise,
            bias_update_rate: self.bias_update_rate,
        }
    }
}

/// Sigmoid scores with loss-free balancing.
///
/// `s = sigmoid(logits)`; the `k` experts with the largest `s + b` are selected, and weigh
/// `s / (sum of the selected s)`. After each training pass `b_e` grows by the update rate where
/// expert `e` had fewer than the mean number of (real) tokens, and shrinks where it had more; no
/// optimiser moves it. Sources: DeepSeek-V3, arXiv 2412.19437, equations 13 to 16; Wang et al.,
/// arXiv 2408.15664, algorithm 1. The probabilities of the routing are `s / sum s`.
#[derive(Module, Debug)]
pub struct Sigmoid {
    /// `b`, `[E]`: running state, for the selection only.
    pub bias: Buffer<1>,
    /// The number of experts for each token.
    pub k: usize,
    /// Whether the weights are divided by their sum.
    pub renormalise: bool,
    /// How much the bias moves in a training pass.
    pub bias_update_rate: f64,
}

/// See [`Sigmoid`].
pub type SigmoidRouter = GatedRouter<Sigmoid>;

impl Strategy for Sigmoid {
    fn decide(&self, logits: Tensor<2>, _read: Read, context: &BatchContext) -> Routing {
        let [tokens, _] = logits.dims();
        // Quotients of scores are a softmax of their logarithms, which stays exact where all
        // scores vanish.
        let log_scores = log_sigmoid(logits.clone());
        let probabilities = softmax_rows(log_scores.clone());
        let scores = log_scores.clone().exp();
        let bias = self.bias.value();
        let biased = scores.clone().without_autodiff() + bias.clone().unsqueeze_dim(0);
        let selected = select::top_k(biased, self.k);
        let weights = if self.renormalise {
            select::masked_softmax(log_scores, selected.clone())
        } else {
            select::keep(scores, selected.clone())
        };
        if context.is_training() && self.bias_update_rate > 0.0 {
            let real = context.real_tokens(&logits.device()).reshape([tokens, 1]);
            let load: Tensor<1> =
                (selected.clone().float().without_autodiff() * real).sum_dim(0).squeeze_dim(0);
            let missing = (load.clone().mean_dim(0) - load).sign();
            self.bias.set(bias + missing * self.bias_update_rate);
        }
        Routing::dense(logits, probabilities, weights)
            .with_selection(select::as_mask(selected), Some(self.k))
    }
}
