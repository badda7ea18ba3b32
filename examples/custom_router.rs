//! A router that this workspace does not have, training a model of the zoo.
//!
//! ```text
//! cargo run --release --example custom_router
//! ```
//!
//! `CosineRouter` compares each token with one prototype per expert. Implementing `Router` is
//! all there is to it: experts, adapters, models, losses and checkpoints take it as it is. The
//! model is tiny and random, and learns a simple pattern of tokens through its adapters alone.
#![allow(clippy::print_stdout)]

mod support;

use lora_moe::burn; // The derive macro of modules looks for this name.
use lora_moe::burn::module::{Module, Param};
use lora_moe::burn::tensor::activation::softmax;
use lora_moe::burn::tensor::{DType, Device, Tensor, TensorData};
use lora_moe::device::default_device;
use lora_moe::finetune::train::{Learner, LearnerConfig, TrainingConfig};
use lora_moe::lora_expert::{LoraBank, LoraBankConfig};
use lora_moe::model_zoo::Decoder;
use lora_moe::moe_adapter::{
    AdaptedLinear, AdapterError, MoeAdapter, TargetModules, adapt, adapter_state,
};
use lora_moe::router::{BatchContext, Router, Routing};
use lora_moe::svd_init::{BankShape, ExpertInit, LayerStatistics, LoraInit};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::{pattern, tiny_decoder};

/// `p = softmax(cos(x, c_e) / temperature)`: which expert's prototype `c_e` a token points at,
/// whatever its length.
#[derive(Module, Debug)]
struct CosineRouter {
    /// `[num_experts, hidden_size]`.
    prototypes: Param<Tensor<2>>,
    temperature: f64,
}

impl CosineRouter {
    fn init(hidden: usize, experts: usize, rng: &mut impl Rng, device: &Device) -> Self {
        let values: Vec<f32> = (0..experts * hidden).map(|_| rng.random_range(-1.0..1.0)).collect();
        let prototypes = TensorData::new(values, [experts, hidden]);
        Self { prototypes: Param::from_data(prototypes, device), temperature: 0.2 }
    }
}

impl Router for CosineRouter {
    fn num_experts(&self) -> usize {
        self.prototypes.dims()[0]
    }

    fn route(&self, x: Tensor<2>, _context: &BatchContext) -> Routing {
        let cosines = unit(x).matmul(unit(self.prototypes.val()).transpose());
        let logits = cosines / self.temperature;
        let probabilities = softmax(logits.clone(), 1);
        Routing::dense(logits, probabilities.clone(), probabilities)
    }
}

/// Each row over its length, in f32.
fn unit(x: Tensor<2>) -> Tensor<2> {
    let x = x.cast(DType::F32);
    x.clone() / (x.powi_scalar(2).sum_dim(1) + 1e-12).sqrt()
}

/// The zoo's model with this router in its linears.
type Model = Decoder<AdaptedLinear<CosineRouter, LoraBank>>;

pub(crate) fn main() -> anyhow::Result<()> {
    let device = default_device()?;
    let config = LearnerConfig::from(&TrainingConfig::default());
    let mut learner = Learner::new(adapted(&device)?, None, config)?;
    let batches = [pattern(&device.clone().autodiff())?];
    for _ in 0..60 {
        println!("loss {:.4}", learner.step(&batches, 1e-2)?.loss);
    }
    // What files of adapters hold, this router's prototypes among it.
    for name in adapter_state(&learner.model().valid()).keys().take(3) {
        println!("{name}");
    }
    Ok(())
}

/// A frozen random model, adapted by hand: `build` is called for each targeted linear.
fn adapted(device: &Device) -> anyhow::Result<Model> {
    let mut model = Model::init_random(&tiny_decoder(), 0, device)?.no_grad();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    adapt(&mut model, &TargetModules::all_linear(), None, |_path, _site, linear| {
        let weight = linear.weight();
        let [in_features, out_features] = weight.dims();
        let shape = BankShape { num_experts: 4, rank: 4, in_features, out_features, scaling: 2.0 };
        let start = LoraInit.start(&weight, &shape, &LayerStatistics::default(), &mut rng)?;
        let experts = LoraBankConfig::new(shape.scaling).init(start.lora_a, start.lora_b)?;
        let router = CosineRouter::init(in_features, 4, &mut rng, device);
        Ok::<_, AdapterError>((MoeAdapter::new(router, experts), None))
    })?;
    Ok(model)
}
