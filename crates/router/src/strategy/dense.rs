use burn::module::Module;
use burn::tensor::{Device, Tensor};
use fused_ops::softmax_rows;
use rand::Rng;

use crate::{
    BatchContext, GateConfig, GatedRouter, Read, RouterError, RouterShape, Routing, Strategy,
    StrategyConfig,
};

/// Configuration of a [`DenseRouter`] for a layer of known sizes.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseRouterConfig {
    /// The size of a token's activation, `I`.
    pub hidden_size: usize,
    /// The number of experts, `E`.
    pub num_experts: usize,
    /// The gate.
    pub gate: GateConfig,
}

impl DenseRouterConfig {
    /// A router with the default gate.
    pub fn new(hidden_size: usize, num_experts: usize) -> Self {
        Self { hidden_size, num_experts, gate: GateConfig::default() }
    }

    /// Sets the gate.
    pub fn with_gate(mut self, gate: GateConfig) -> Self {
        self.gate = gate;
        self
    }

    /// Makes the router, with random numbers from `rng`: the same on every device.
    ///
    /// # Errors
    ///
    /// [`RouterError`] naming the field that cannot work.
    pub fn init<R: Rng + ?Sized>(
        &self,
        rng: &mut R,
        device: &Device,
    ) -> Result<DenseRouter, RouterError> {
        let shape = RouterShape::new(self.hidden_size, self.num_experts);
        StrategyConfig::init(self, &shape, rng, device)
    }
}

impl StrategyConfig for DenseRouterConfig {
    type Strategy = Dense;

    fn gate(&self) -> &GateConfig {
        &self.gate
    }

    fn check_strategy(&self, _shape: &RouterShape) -> Result<(), RouterError> {
        Ok(())
    }

    fn init_strategy<R: Rng + ?Sized>(&self, _: &RouterShape, _: &mut R, _: &Device) -> Dense {
        Dense {}
    }
}

/// Softmax over all experts: every expert sees every token, with weight `softmax(logits)`.
///
/// Source: LoRAMoE, arXiv 2312.09979, equation 3; also MoLoRA, arXiv 2309.05444, and HydraLoRA,
/// arXiv 2404.19245.
#[derive(Module, Debug)]
pub struct Dense {}

/// See [`Dense`].
pub type DenseRouter = GatedRouter<Dense>;

impl Strategy for Dense {
    fn decide(&self, logits: Tensor<2>, _read: Read, _context: &BatchContext) -> Routing {
        let probabilities = softmax_rows(logits.clone());
        Routing::dense(logits, probabilities.clone(), probabilities)
    }
}
