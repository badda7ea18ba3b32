use burn::module::Module;
use burn::tensor::activation::softplus;
use burn::tensor::{Device, Tensor};
use fused_ops::{Draw, TopKShares};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::affine::Affine;
use crate::error::number_of_experts;
use crate::{
    BatchContext, GateConfig, GatedRouter, Read, RouterError, RouterNoise, RouterShape, Routing,
    RoutingExtras, Strategy, StrategyConfig, random, select,
};

/// Configuration of a [`NoisyTopK`] router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoisyTopKRouterConfig {
    /// The number of experts for each token. Default 2.
    pub k: usize,
    /// The gate. The source starts it at zero (`init = "zeros"`).
    pub gate: GateConfig,
}

impl Default for NoisyTopKRouterConfig {
    fn default() -> Self {
        Self { k: 2, gate: GateConfig::default() }
    }
}

impl StrategyConfig for NoisyTopKRouterConfig {
    type Strategy = NoisyTopK;

    fn gate(&self) -> &GateConfig {
        &self.gate
    }

    fn check_strategy(&self, shape: &RouterShape) -> Result<(), RouterError> {
        number_of_experts("k", self.k, shape.num_experts)
    }

    fn init_strategy<R: Rng + ?Sized>(
        &self,
        shape: &RouterShape,
        _: &mut R,
        device: &Device,
    ) -> NoisyTopK {
        let dims = [self.gate.num_features(shape), shape.num_experts];
        NoisyTopK { noise: Affine::zeros(dims, device), k: self.k }
    }
}

/// Top-k with trainable noise: `h = logits + n * softplus(N x)`, `n` standard normal, in training;
/// `w = softmax` of the `k` largest `h`.
///
/// The noise weight `N` starts at zero. Source: Shazeer et al., arXiv 1701.06538, equations 3 to 5.
/// The logits and probabilities of the routing are those with the noise, which is in its extras.
#[derive(Module, Debug)]
pub struct NoisyTopK {
    /// `N`, `[E, F]`.
    pub noise: Affine,
    /// The number of experts for each token.
    pub k: usize,
}

/// See [`NoisyTopK`].
pub type NoisyTopKRouter = GatedRouter<NoisyTopK>;

impl Strategy for NoisyTopK {
    fn decide(&self, mut logits: Tensor<2>, read: Read, context: &BatchContext) -> Routing {
        let mut extras = RoutingExtras::default();
        if let Some(seed) = context.training_seed {
            let std = softplus(self.noise.forward(read.rows.clone()), 1.0);
            let noise = random::drawn(&std, Draw::Normal { std: 1.0 }, seed, "router noise");
            let noisy = logits.clone() + read.spread(std.clone() * noise);
            extras.noise = Some(RouterNoise { logits, std: read.spread(std) });
            logits = noisy;
        }
        let TopKShares { probabilities, mask, weights } = select::top_k_shares(&logits, self.k);
        Routing::dense(logits, probabilities, weights)
            .with_selection(mask, Some(self.k))
            .with_extras(extras)
    }
}
