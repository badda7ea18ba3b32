//! Tunes a small mixture on two kinds of text, evaluates it, and draws how it routes them.
//!
//! ```text
//! cargo run --release --example evaluate_and_plot -- [FOLDER]
//! ```
//!
//! Writes into FOLDER (default `examples-out`) the curve of the loss, `loss.svg`, and the folder
//! `routing` with `routing.html` (heat maps of the experts' shares by layer), `.csv` and `.json`.
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};

use lora_moe::burn::module::Module;
use lora_moe::data::{Collator, Sample};
use lora_moe::device::default_device;
use lora_moe::evaluation::evaluate;
use lora_moe::evaluation::routing::{DEAD_SHARE, routing_statistics, write_routing};
use lora_moe::finetune::train::{Learner, LearnerConfig, TrainingConfig};
use lora_moe::model_zoo::{Decoder, DecoderConfig};
use lora_moe::moe_adapter::{Preset, attach};
use lora_moe::report::{Lines, lines_svg};

pub(crate) fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).map_or_else(|| "examples-out".into(), PathBuf::from);
    run(&folder)
}

pub(crate) fn run(folder: &Path) -> anyhow::Result<()> {
    let device = default_device()?;
    let mut config = DecoderConfig::new(64, 32, 64, 4, 4);
    config.initializer_range = 0.2; // a frozen random head needs larger weights to be of use
    let mut model = Decoder::init_random(&config, 0, &device)?.no_grad();
    let mut adapter = Preset::MolaRectangle.config();
    adapter.lora_dropout = 0.0;
    attach(&mut model, &adapter, 0)?;

    let train: Vec<Sample> = (0..32).map(sample).collect();
    let test: Vec<Sample> = (32..64).map(sample).collect();
    let before = evaluate(&model, &test, 8)?;

    let balance = adapter.balance_loss.as_ref().map(|loss| loss.init()).transpose()?;
    let training = TrainingConfig::default();
    let mut learner = Learner::new(model, balance, LearnerConfig::new(&training, &adapter))?;
    let collator = Collator::new(0);
    let device = device.autodiff();
    let (mut task, mut balance) = (Vec::new(), Vec::new());
    for step in 0..40 {
        let start = 8 * (step % 4);
        let batch =
            collator.collate_indices(&train, &[0, 1, 2, 3, 4, 5, 6, 7].map(|i| start + i))?;
        let report = learner.step(&[batch.to_device(&device)], 1e-2)?;
        task.push((step as f64, report.loss));
        balance.push((step as f64, report.balance_loss.unwrap_or(0.0)));
    }

    // Evaluation and analytics want the model off its autodiff device.
    let model = learner.model().valid();
    let after = evaluate(&model, &test, 8)?;
    println!(
        "perplexity on {} targets: {:.2} before tuning, {:.2} after",
        after.targets,
        before.perplexity(),
        after.perplexity()
    );
    anyhow::ensure!(after.loss < before.loss, "tuning did not help");

    let report = routing_statistics(&model, &test, 8)?.report(DEAD_SHARE);
    println!(
        "{:>5}  {:<18} {:>13} {:>8} {:>4} {:>14}",
        "layer", "projection", "largest share", "entropy", "dead", "specialisation"
    );
    for site in &report.sites {
        println!(
            "{:>5}  {:<18} {:>13.2} {:>8.2} {:>4} {:>14.3}",
            site.layer,
            site.module,
            site.all.largest_share,
            site.all.entropy,
            site.all.dead_experts.len(),
            site.specialisation.unwrap_or(0.0)
        );
    }
    write_routing(&folder.join("routing"), &report)?;
    let curves = [Lines::plain("task", task), Lines::plain("balance", balance)];
    let svg = lines_svg("Loss of the tuning", ["step", "loss (nats)"], &curves)?;
    std::fs::write(folder.join("loss.svg"), svg)?;
    println!("written to {}: loss.svg, routing/routing.html", folder.display());
    Ok(())
}

/// Two kinds of text of 16 tokens, each with tokens and a rule of its own for the next one.
fn sample(index: u32) -> Sample {
    let kind = index % 2;
    let next =
        |token: &u32| Some(if kind == 0 { (5 * token + 3) % 32 } else { (9 * token + 7) % 32 });
    let ids = std::iter::successors(Some(index / 2), next).map(|token| token + 32 * kind);
    let target_mask = (0..16).map(|position| position > 0).collect();
    Sample {
        input_ids: ids.take(16).collect(),
        target_mask,
        task_type: Some(kind),
        ..Sample::default()
    }
}
