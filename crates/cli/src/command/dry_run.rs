use std::fmt::Write;

use anyhow::Result;
use lora_moe::data::DataFile;
use lora_moe::device::parse_device;
use lora_moe::finetune::run::{AnyRunConfig, DryMeasurement, DryRun, DryRunOptions, PeakMemory};

use crate::args::TrainArgs;
use crate::text::{grouped, shares};

/// Runs `lora-moe train --dry-run`.
#[allow(clippy::print_stdout)]
pub fn run(args: &TrainArgs, device: &str) -> Result<()> {
    let device = parse_device(device)?;
    let options = DryRunOptions { without_data: args.without_data, measure: args.measure };
    for path in &args.config {
        let config = AnyRunConfig::from_file(path, &args.set)?;
        let (run, files) = match &config {
            AnyRunConfig::Causal(config) => {
                (DryRun::new(config, options, &device)?, &config.data.train[..])
            }
            AnyRunConfig::Labelled(config) => {
                (DryRun::of_labelled(config, options, &device)?, &[][..])
            }
        };
        if args.config.len() > 1 {
            println!("{}", path.display());
        }
        println!("{}", text(&run, files)?);
    }
    Ok(())
}

fn text(run: &DryRun, files: &[DataFile]) -> Result<String> {
    let (trainable, gib) = (run.trainable(), |bytes: f64| bytes / f64::from(1 << 30));
    let percent = 100.0 * trainable as f64 / run.parameters as f64;
    let mut text = format!(
        "model     {} parameters\nadapter   {} trainable parameters ({percent:.2} % of the model's) on {} \
         linears",
        grouped(run.parameters),
        grouped(trainable),
        run.linears
    );
    let parts = [("experts", run.experts), ("routers", run.routers), ("whole modules", run.whole)];
    for (what, count) in parts.into_iter().filter(|(_, count)| (1..trainable).contains(count)) {
        write!(text, ", {what} {}", grouped(count))?;
    }
    write!(
        text,
        "\nmemory    weights {:.2} GiB; adapter {:.2}, gradients {:.2}, optimiser {:.2} GiB",
        gib(run.weight_bytes),
        gib(run.adapter_bytes),
        gib(run.gradient_bytes),
        gib(run.optimizer_bytes)
    )?;
    if let Some(data) = &run.data {
        write!(
            text,
            "\ndata      {} samples, {} tokens, {} of them learned; the longest has {}",
            grouped(data.samples),
            grouped(data.tokens),
            grouped(data.learned),
            data.longest
        )?;
        write!(text, "\nrecords   {}", data.report)?;
        for line in data.mixture.iter().flat_map(|mixture| shares(files, mixture)) {
            write!(text, "\nmixture   {line}")?;
        }
    }
    if let Some(steps) = run.steps {
        write!(text, "\nsteps     {}", grouped(steps))?;
    }
    if let Some(measured) = &run.measured {
        text.push_str(&measurement(measured, run.steps)?);
    }
    Ok(text)
}

fn measurement(measured: &DryMeasurement, steps: Option<usize>) -> Result<String> {
    let gib = |bytes: f64| bytes / f64::from(1 << 30);
    let DryMeasurement { step_s, memory, batch: [batch, seq], run } = measured;
    let mut text = format!("\nmeasured  micro-batches of {batch} x {seq} tokens: ");
    match step_s {
        Some(step_s) => write!(text, "{step_s:.2} s for a step")?,
        None => {
            let run: Vec<_> = run.iter().map(usize::to_string).collect();
            write!(text, "memory by lines through {} tokens", run.join(" and "))?;
        }
    }
    if let (Some(step_s), Some(steps)) = (step_s, steps) {
        write!(text, ", {:.1} h in all", step_s * steps as f64 / 3600.0)?;
    }
    if let Some(memory) = memory {
        let PeakMemory { held, kept, work, freed, other } = *memory;
        write!(text, "; {:.2} GiB of memory at most", gib(memory.bytes()))?;
        write!(
            text,
            "\npeak      weights, adapter and optimiser {:.2} GiB; activations and gradients that all layers \
             keep {:.2}, most beside them {:.2}, kept of what was freed {:.2}; process and checkpoint {:.2} \
             GiB",
            gib(held),
            gib(kept),
            gib(work),
            gib(freed),
            gib(other)
        )?;
    }
    Ok(text)
}
