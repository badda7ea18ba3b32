//! A router that this workspace does not have, training a model of the zoo.
//!
//! ```text
//! cargo run --release --example custom_router
//! ```
//!
//! [`CosineRouter`] compares each token with one prototype per expert. Implementing [`Router`] is
//! all there is to it: experts, adapters, models, losses and checkpoints take it as it is. The
//! model is tiny and random, and learns a simple pattern of tokens through its adapters alone.
#![allow(clippy::print_stdout)]

use std::path::Path;

use lora_moe::burn; // The derive macro of modules looks for this name.
use lora_moe::burn::module::{Module, Param};
use lora_moe::burn::nn::loss::CrossEntropyLossConfig;
use lora_moe::burn::optim::{AdamWConfig, GradientsParams};
use lora_moe::burn::tensor::activation::softmax;
use lora_moe::burn::tensor::{DType, Device, Int, Tensor, TensorData};
use lora_moe::device::default_device;
use lora_moe::lora_expert::{LoraBank, LoraBankConfig};
use lora_moe::model_zoo::{CausalLm, Decoder, DecoderConfig, TokenInput};
use lora_moe::moe_adapter::{
    AdaptedLinear, AdapterError, AdapterState, MoeAdapter, TargetModules, adapt, adapter_state,
    load_adapter_state,
};
use lora_moe::router::{BatchContext, Router, Routing, RoutingTape};
use lora_moe::svd_init::{BankShape, ExpertInit, LayerStatistics, LoraInit};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

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
        let prototypes = Param::from_data(TensorData::new(values, [experts, hidden]), device);
        Self { prototypes, temperature: 0.2 }
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
    let length = (x.clone().powi_scalar(2).sum_dim(1) + 1e-12).sqrt();
    x / length
}

/// The zoo's model with this router in its linears.
type Model = Decoder<AdaptedLinear<CosineRouter, LoraBank>>;

pub(crate) fn main() -> anyhow::Result<()> {
    let device = default_device()?;
    let mut model = adapted(&device, 1)?.train();
    let (input, labels) = pattern(&device.clone().autodiff());
    let cross_entropy = CrossEntropyLossConfig::new().init(&device.clone().autodiff());
    let mut optimizer = AdamWConfig::new().init();
    for step in 1..=60 {
        let mut tape = RoutingTape::new(input.context().with_training(0));
        let logits = model.logits(model.hidden_states(&input, None, &mut tape));
        let loss = cross_entropy.forward(logits.flatten(0, 1), labels.clone());
        if step == 1 || step % 10 == 0 {
            println!("step {step:>2}  loss {:.4}", loss.clone().into_scalar::<f32>());
        }
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-2, model, grads);
    }

    let model = model.valid();
    let path = std::env::temp_dir().join("custom_router.safetensors");
    save(&adapter_state(&model), &path)?;
    let mut loaded = adapted(&device, 2)?;
    load_adapter_state(&mut loaded, read(&path)?, &path.display().to_string())?;
    let (input, _) = pattern(&device);
    anyhow::ensure!(logits(&loaded, &input) == logits(&model, &input), "the model changed");
    println!("saved to {} and loaded again: same logits", path.display());
    Ok(())
}

/// A frozen random model, adapted by hand: `build` is called for each targeted linear.
fn adapted(device: &Device, seed: u64) -> anyhow::Result<Model> {
    let mut config = DecoderConfig::new(32, 32, 64, 2, 4);
    config.initializer_range = 0.2; // a frozen random head needs larger weights to be of use
    let mut model = Model::init_random(&config, 0, device)?.no_grad();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let count = adapt(&mut model, &TargetModules::all_linear(), None, |_path, _site, linear| {
        let weight = linear.weight.val();
        let [in_features, out_features] = weight.dims();
        let shape = BankShape { num_experts: 4, rank: 4, in_features, out_features, scaling: 2.0 };
        let start = LoraInit.start(&weight, &shape, &LayerStatistics::default(), &mut rng)?;
        let experts = LoraBankConfig::new(shape.scaling).init(start.lora_a, start.lora_b)?;
        let router = CosineRouter::init(in_features, 4, &mut rng, device);
        Ok::<_, AdapterError>((MoeAdapter::new(router, experts), None))
    })?;
    println!("{count} linears adapted");
    Ok(model)
}

/// Sequences in which each token decides the next, and the tokens that follow.
fn pattern(device: &Device) -> (TokenInput, Tensor<1, Int>) {
    const SHAPE: [usize; 2] = [8, 16];
    let next = |token: i64| (5 * token + 3) % 32;
    let mut ids = Vec::new();
    for sample in 0..SHAPE[0] as i64 {
        let first = 4 * sample;
        ids.extend(std::iter::successors(Some(first), |token| Some(next(*token))).take(SHAPE[1]));
    }
    let labels: Vec<i64> = ids.iter().map(|token| next(*token)).collect();
    let input = TokenInput::new(Tensor::from_data(TensorData::new(ids, SHAPE), device));
    (input, Tensor::from_data(labels.as_slice(), device))
}

fn logits(model: &Model, input: &TokenInput) -> TensorData {
    let mut tape = RoutingTape::new(input.context());
    model.logits(model.hidden_states(input, None, &mut tape)).into_data()
}

fn save(state: &AdapterState, path: &Path) -> anyhow::Result<()> {
    let mut views = Vec::new();
    for (name, data) in state {
        let shape = data.shape().as_slice().to_vec();
        views.push((name, TensorView::new(Dtype::F32, shape, data.as_bytes())?));
    }
    Ok(std::fs::write(path, safetensors::serialize(views, None)?)?)
}

fn read(path: &Path) -> anyhow::Result<AdapterState> {
    let bytes = std::fs::read(path)?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    let data = |view: &TensorView<'_>| {
        TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), DType::F32)
    };
    Ok(tensors.tensors().iter().map(|(name, view)| (name.clone(), data(view))).collect())
}
