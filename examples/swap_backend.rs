//! The same training on any device, chosen by name at run time, and how far its numbers are from
//! the CPU's.
//!
//! ```text
//! cargo run --release --example swap_backend -- flex
//! cargo run --release -p examples --example swap_backend --features vulkan -- vulkan
//! cargo run --release -p examples --example swap_backend --features cuda -- cuda:0
//! ```
#![allow(clippy::print_stdout)]

mod support;

use std::time::{Duration, Instant};

use anyhow::Context;
use lora_moe::burn::module::Module;
use lora_moe::burn::tensor::Device;
use lora_moe::device::{available, default_device, parse_device};
use lora_moe::finetune::train::{Learner, LearnerConfig, TrainingConfig};
use lora_moe::model_zoo::{CausalLm, Decoder, TokenInput};
use lora_moe::moe_adapter::{AdaptedLinear, Preset, attach};
use lora_moe::router::RoutingTape;
use support::{pattern, tiny_decoder};

const STEPS: u32 = 6;

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
        let others = self.other_steps / (STEPS - 1);
        println!("{name}: first step {:.1?}, each other {others:.1?}", self.first_step);
    }
}

/// A few steps of LoRAMoE on a small random model. Every random number comes from a seed on the
/// host, so every device starts from the same values.
fn train(device: &Device) -> anyhow::Result<Run> {
    let mut config = Preset::LoramoePaper.config();
    config.lora_dropout = 0.0; // drawn on the device, so it differs between devices
    let balancing = config.balance_loss.as_ref().context("the preset has no balance loss")?;
    let mut model = Decoder::<AdaptedLinear>::init_random(&tiny_decoder(), 0, device)?.no_grad();
    attach(&mut model, &config, 0)?;

    let training = LearnerConfig::new(&TrainingConfig::default(), &config);
    let mut learner = Learner::new(model, Some(balancing.init()?), training)?;
    let batches = [pattern(&device.clone().autodiff())?];
    let (mut losses, mut times) = (Vec::new(), Vec::new());
    for _ in 0..STEPS {
        let start = Instant::now();
        losses.push(learner.step(&batches, 1e-3)?.loss as f32);
        device.sync()?;
        times.push(start.elapsed());
    }

    let input = TokenInput::new(pattern(device)?.input_ids);
    let mut tape = RoutingTape::new(input.context());
    let model = learner.model().valid();
    let logits = model.logits(model.hidden_states(&input, None, &mut tape)).into_data();
    let logits = logits.iter::<f32>().collect();
    Ok(Run { losses, logits, first_step: times[0], other_steps: times[1..].iter().sum() })
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
