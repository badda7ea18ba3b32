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
    // The samples of type 1 lie around one point, those of type 0 around its opposite.
    let normal = |shape, std| Tensor::<3>::random(shape, Distribution::Normal(0.0, std), &device);
    let types = Tensor::<1, Int>::from_data([1, 0, 1, 0, 1, 0, 1, 0], &device);
    let is_one: Tensor<3> = types.clone().float().reshape([SAMPLES, 1, 1]);
    let x = normal([SAMPLES, TOKENS, IN], 1.0) + normal([1, 1, IN], 1.0) * (is_one.clone() * 2 - 1);
    let correction = || x.clone().matmul(normal([1, IN, 3], 0.3).matmul(normal([1, 3, OUT], 0.3)));
    let corrections = correction() * is_one.clone() + correction() * (is_one * -1 + 1);
    let target = Tensor::from_inner(base.linear().forward(x.clone()) + corrections);
    let x = Tensor::from_inner(x);
    let context = BatchContext::new(SAMPLES, TOKENS).with_task_types(types.autodiff());

    // The same layer, now on the autodiff device: the frozen linear stays frozen.
    let balancing = LocalizedBalancingConfig { blc_weight: 0.01, ..Default::default() }.init()?;
    let mut layer = base.train();
    let mut optimizer = AdamWConfig::new().init();
    println!("step  task loss  balance loss");
    for step in 1..=50 {
        let mut tape = RoutingTape::recording(context.clone().with_training(0));
        let y = layer.forward(x.clone(), SITE, &mut tape);
        let task = (y - target.clone()).powi_scalar(2).mean();
        let balance = balancing.loss(&tape)?.context("the layer has no router")?;
        if step == 1 || step % 10 == 0 {
            let (task, balance) = (task.clone().into_scalar::<f32>(), balance.clone());
            println!("{step:>4}  {task:>9.4}  {:>12.6}", balance.into_scalar::<f32>());
        }
        let grads = GradientsParams::from_grads((task + balance).backward(), &layer);
        layer = optimizer.step(2e-2, layer, grads);
    }

    let mut tape = RoutingTape::recording(context);
    layer.forward(x, SITE, &mut tape);
    let record = tape.records().first().context("the layer has no router")?;
    let weights = record.routing.weights.clone().reshape([SAMPLES / 2, 2, TOKENS, EXPERTS]);
    let shares = weights.mean_dim(2).mean_dim(0).into_data();
    println!("\nshare of each expert (the first half is of type 1)");
    for (kind, shares) in [1, 0].iter().zip(shares.as_slice::<f32>()?.chunks(EXPERTS)) {
        let shares: Vec<_> = shares.iter().map(|s| format!("{:>5.1}%", 100.0 * s)).collect();
        println!("samples of type {kind}: {}", shares.join(" "));
    }
    Ok(())
}

/// The frozen linear with a mixture of experts that starts as nothing.
fn compose(device: &Device) -> anyhow::Result<Layer> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let linear = LinearConfig::new(IN, OUT).init(device).no_grad();
    let (in_features, out_features) = (IN, OUT);
    let shape =
        BankShape { num_experts: EXPERTS, rank: 4, in_features, out_features, scaling: 2.0 };
    let start =
        LoraInit.start(&linear.weight.val(), &shape, &LayerStatistics::default(), &mut rng)?;
    let experts = LoraBankConfig::new(shape.scaling).init(start.lora_a, start.lora_b)?;
    let router = DenseRouterConfig::new(IN, EXPERTS).init(&mut rng, device)?;
    let mut layer = Layer::from_linear(linear);
    layer.replace_adapter(Some(MoeAdapter::new(router, experts)));
    Ok(layer)
}
