//! The same training on any device, chosen by name at run time, and how far its numbers are from
//! the CPU's.
//!
//! ```text
//! cargo run --release --example swap_backend -- flex
//! cargo run --release -p examples --example swap_backend --features vulkan -- vulkan
//! cargo run --release -p examples --example swap_backend --features cuda -- cuda:0
//! ```
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use anyhow::Context;
use lora_moe::burn::module::Module;
use lora_moe::burn::nn::loss::CrossEntropyLossConfig;
use lora_moe::burn::optim::{AdamWConfig, GradientsParams};
use lora_moe::burn::tensor::{Device, Int, Tensor, TensorData};
use lora_moe::device::{available, default_device, parse_device};
use lora_moe::model_zoo::{CausalLm, Decoder, DecoderConfig, TokenInput};
use lora_moe::moe_adapter::{AdaptedLinear, Preset, attach};
use lora_moe::router::RoutingTape;

const STEPS: usize = 6;
const SHAPE: [usize; 2] = [4, 32];
const VOCABULARY: i64 = 256;

pub(crate) fn main() -> anyhow::Result<()> {
    run(std::env::args().nth(1).as_deref())
}

pub(crate) fn run(name: Option<&str>) -> anyhow::Result<()> {
    println!("compiled in: {}", available().join(", "));
    let device = match name {
        Some(name) => parse_device(name)?,
        None => default_device()?,
    };
    let name = name.unwrap_or("the default device");
    let run = train(&device)?;
    run.print(name);

    if !available().contains(&"flex") {
        println!("flex is not compiled in, so there is nothing to compare with");
        return Ok(());
    }
    let flex = train(&parse_device("flex")?)?;
    flex.print("flex");
    println!("largest difference of losses: {:.1e}", difference(&run.losses, &flex.losses));
    println!("largest difference of logits: {:.1e}", difference(&run.logits, &flex.logits));
    Ok(())
}

/// What a training left behind.
struct Run {
    losses: Vec<f32>,
    logits: Vec<f32>,
    first_step: Duration,
    other_steps: Duration,
}

impl Run {
    fn print(&self, name: &str) {
        let losses: Vec<_> = self.losses.iter().map(|loss| format!("{loss:.4}")).collect();
        println!("{name}: losses {}", losses.join(" "));
        // The first step of a GPU compiles its kernels.
        let others = self.other_steps / (STEPS as u32 - 1);
        println!("{name}: first step {:.1?}, each other {others:.1?}", self.first_step);
    }
}

/// A few steps of LoRAMoE on a small random model. Every random number comes from a seed on the
/// host, so every device starts from the same values.
fn train(device: &Device) -> anyhow::Result<Run> {
    let mut config = Preset::LoramoePaper.config();
    config.lora_dropout = 0.0; // drawn on the device, so it differs between devices
    let balancing = config.balance_loss.as_ref().context("the preset has no balance loss")?;
    let balancing = balancing.init()?;

    let llama = DecoderConfig::new(VOCABULARY as usize, 128, 352, 2, 4);
    let mut model = Decoder::<AdaptedLinear>::init_random(&llama, 0, device)?.no_grad();
    attach(&mut model, &config, 0)?;
    let mut model = model.train();

    let device = device.clone().autodiff();
    let (input, labels) = batch(&device);
    let types = Tensor::<1, Int>::from_data([1, 0, 1, 0], &device);
    let cross_entropy = CrossEntropyLossConfig::new().init(&device);
    let mut optimizer = AdamWConfig::new().init();
    let (mut losses, mut times) = (Vec::new(), Vec::new());
    for _ in 0..STEPS {
        let start = Instant::now();
        let context = input.context().with_task_types(types.clone()).with_training(0);
        let mut tape = RoutingTape::recording(context);
        let logits = model.logits(model.hidden_states(&input, None, &mut tape));
        let mut loss = cross_entropy.forward(logits.flatten(0, 1), labels.clone());
        if let Some(balance) = balancing.loss(&tape)? {
            loss = loss + balance;
        }
        losses.push(loss.clone().into_scalar::<f32>());
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-3, model, grads);
        device.sync()?;
        times.push(start.elapsed());
    }

    let model = model.valid();
    let (input, _) = batch(&model.device());
    let mut tape = RoutingTape::new(input.context());
    let logits = model.logits(model.hidden_states(&input, None, &mut tape)).into_data();
    Ok(Run {
        losses,
        logits: logits.iter::<f32>().collect(),
        first_step: times[0],
        other_steps: times[1..].iter().sum(),
    })
}

/// Tokens and those that follow them.
fn batch(device: &Device) -> (TokenInput, Tensor<1, Int>) {
    let ids: Vec<i64> = (0..(SHAPE[0] * SHAPE[1]) as i64).map(|i| 7 * i % VOCABULARY).collect();
    let labels: Vec<i64> = ids.iter().map(|token| (token + 7) % VOCABULARY).collect();
    let input = TokenInput::new(Tensor::from_data(TensorData::new(ids, SHAPE), device));
    (input, Tensor::from_data(labels.as_slice(), device))
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
