//! One adapted linear, composed from its parts and trained: a frozen linear, a dense router, LoRA
//! experts and LoRAMoE's localised balancing.
//!
//! ```text
//! cargo run --release --example compose_by_hand
//! ```
//!
//! Two tasks want two different corrections of the same frozen linear, and their inputs can be
//! told apart; the router learns to.
#![allow(clippy::print_stdout)]

use anyhow::Context;
use lora_moe::balance_loss::{BalanceLoss, LocalizedBalancingConfig};
use lora_moe::burn::module::Module;
use lora_moe::burn::nn::LinearConfig;
use lora_moe::burn::optim::{AdamWConfig, GradientsParams};
use lora_moe::burn::tensor::{Device, Distribution, Int, Tensor};
use lora_moe::device::default_device;
use lora_moe::lora_expert::{LoraBank, LoraBankConfig};
use lora_moe::moe_adapter::{AdaptedLinear, AdaptedProjection, MoeAdapter, Projection};
use lora_moe::router::{BatchContext, DenseRouter, DenseRouterConfig, RoutingTape, Site};
use lora_moe::svd_init::{BankShape, ExpertInit, LayerStatistics, LoraInit};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const IN: usize = 16;
const OUT: usize = 24;
const EXPERTS: usize = 4;
const SAMPLES: usize = 8;
const TOKENS: usize = 32;
const SITE: Site = Site::new(0, "linear");

type Layer = AdaptedLinear<DenseRouter, LoraBank>;

pub(crate) fn main() -> anyhow::Result<()> {
    let device = default_device()?;
    device.seed(0);
    let base = compose(&device)?;
    let tasks = Tasks::new(&base, &device);
    let balancing = LocalizedBalancingConfig { blc_weight: 0.01, ..Default::default() }.init()?;

    // The same layer, now on the autodiff device: the frozen linear stays frozen.
    let mut layer = base.train();
    let mut optimizer = AdamWConfig::new().init();
    println!("step  task loss  balance loss");
    for step in 1..=50 {
        let mut tape = RoutingTape::recording(tasks.context().with_training(0));
        let y = layer.forward(tasks.x.clone(), SITE, &mut tape);
        let task = (y - tasks.target.clone()).powi_scalar(2).mean();
        let balance = balancing.loss(&tape)?.context("the layer has no router")?;
        if step == 1 || step % 10 == 0 {
            let (task, balance) = (task.clone().into_scalar::<f32>(), balance.clone());
            println!("{step:>4}  {task:>9.4}  {:>12.6}", balance.into_scalar::<f32>());
        }
        let grads = GradientsParams::from_grads((task + balance).backward(), &layer);
        layer = optimizer.step(2e-2, layer, grads);
    }
    tasks.print_shares(&layer)
}

/// The frozen linear with a mixture of experts that starts as nothing.
fn compose(device: &Device) -> anyhow::Result<Layer> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let linear = LinearConfig::new(IN, OUT).init(device).no_grad();
    let shape = BankShape {
        num_experts: EXPERTS,
        rank: 4,
        in_features: IN,
        out_features: OUT,
        scaling: 2.0,
    };
    let start =
        LoraInit.start(&linear.weight.val(), &shape, &LayerStatistics::default(), &mut rng)?;
    let experts = LoraBankConfig::new(shape.scaling).init(start.lora_a, start.lora_b)?;
    let router = DenseRouterConfig::new(IN, EXPERTS).init(&mut rng, device)?;
    let mut layer = Layer::from_linear(linear);
    layer.replace_adapter(Some(MoeAdapter::new(router, experts)));
    Ok(layer)
}

/// Samples of two tasks in turn: those of type 1 lie around one point, those of type 0 around its
/// opposite.
struct Tasks {
    x: Tensor<3>,
    target: Tensor<3>,
    types: Tensor<1, Int>,
}

impl Tasks {
    fn new(base: &Layer, device: &Device) -> Self {
        let normal =
            |shape: [usize; 3], std| Tensor::random(shape, Distribution::Normal(0.0, std), device);
        let centre = normal([1, 1, IN], 1.0);
        let (mut xs, mut targets, mut types) = (Vec::new(), Vec::new(), Vec::new());
        let corrections = [0, 1].map(|_| normal([1, IN, 3], 0.3).matmul(normal([1, 3, OUT], 0.3)));
        for sample in 0..SAMPLES {
            let task = sample % 2;
            let side = if task == 1 { 1.0 } else { -1.0 };
            let x = normal([1, TOKENS, IN], 1.0) + centre.clone() * side;
            let y = base.linear().forward(x.clone());
            targets.push(y + x.clone().matmul(corrections[task].clone()));
            xs.push(x);
            types.push(task as i64);
        }
        let device = device.clone().autodiff();
        Self {
            x: Tensor::from_inner(Tensor::cat(xs, 0)),
            target: Tensor::from_inner(Tensor::cat(targets, 0)),
            types: Tensor::from_data(types.as_slice(), &device),
        }
    }

    fn context(&self) -> BatchContext {
        BatchContext::new(SAMPLES, TOKENS).with_task_types(self.types.clone())
    }

    /// How much each task uses each expert.
    fn print_shares(&self, layer: &Layer) -> anyhow::Result<()> {
        let layer = layer.valid();
        let mut tape = RoutingTape::recording(self.context());
        layer.forward(self.x.clone().inner(), SITE, &mut tape);
        let record = tape.records().first().context("the layer has no router")?;
        let weights = record.routing.weights.clone().reshape([SAMPLES / 2, 2, TOKENS, EXPERTS]);
        let shares = weights.mean_dim(2).mean_dim(0).into_data();
        let shares: Vec<f32> = shares.iter::<f32>().collect();
        println!("\nshare of each expert (the first half is of type 1)");
        for (task, shares) in shares.chunks(EXPERTS).enumerate() {
            let shares: Vec<_> = shares.iter().map(|s| format!("{:>5.1}%", 100.0 * s)).collect();
            println!("samples of type {task}: {}", shares.join(" "));
        }
        Ok(())
    }
}
