use anyhow::{Result, ensure};
use lora_moe::burn::module::Module;
use lora_moe::burn::tensor::Device;
use lora_moe::device::parse_device;
use lora_moe::finetune::bench::{GenerateBench, TrainBench, bench_generate, bench_train};
use lora_moe::finetune::run::{adapter_from_assignments, check_precision, load_model};
use lora_moe::model_zoo::{Decoder, DecoderConfig, LoadOptions};
use lora_moe::moe_adapter::attach;
use serde::Serialize;

use crate::args::{BenchArgs, BenchCommand, BenchGenerateArgs, BenchModelArgs, BenchTrainArgs};

/// Runs `lora-moe bench`.
pub fn run(args: &BenchArgs, device: &str) -> Result<()> {
    let device = parse_device(device)?;
    match &args.what {
        BenchCommand::Train(args) => train(args, &device),
        BenchCommand::Generate(args) => generate(args, &device),
    }
}

fn train(args: &BenchTrainArgs, device: &Device) -> Result<()> {
    let adapter = adapter_from_assignments(&args.preset, &args.set)?;
    ensure!(args.steps > 0, "--steps is 0, but must be at least 1");
    ensure!(args.batch_size > 0 && args.seq_len > 1, "--batch-size or --seq-len is too small");
    let bench = TrainBench {
        batch_size: args.batch_size,
        seq_len: args.seq_len,
        steps: args.steps,
        warmup: args.warmup,
        seed: args.model.seed,
        recompute: args.recompute,
    };
    let result = bench_train(model(&args.model, device)?, &adapter, &bench)?;
    let text = format!(
        "{:.0} tokens/s, {:.3} s a step, {:.0} MiB at the peak{}, {} trainable parameters",
        result.tokens_per_s,
        result.step_s,
        result.peak_rss_mb,
        of_device(result.peak_device_memory_mb),
        result.trainable
    );
    report(args.model.json, &result, &text)
}

fn generate(args: &BenchGenerateArgs, device: &Device) -> Result<()> {
    let sizes = [
        ("--steps", args.steps),
        ("--batch-size", args.batch_size),
        ("--prompt", args.prompt),
        ("--tokens", args.tokens),
    ];
    for (name, size) in sizes {
        ensure!(size > 0, "{name} is 0, but must be at least 1");
    }
    let mut model = model(&args.model, device)?;
    if let Some(preset) = &args.preset {
        attach(&mut model, &adapter_from_assignments(preset, &args.set)?, args.model.seed)?;
    }
    let bench = GenerateBench {
        batch_size: args.batch_size,
        prompt: args.prompt,
        tokens: args.tokens,
        steps: args.steps,
        warmup: args.warmup,
        seed: args.model.seed,
    };
    let result = bench_generate(&model, &bench)?;
    let text = format!(
        "{:.1} tokens/s, {:.1} ms a token, {:.3} s until the first, {:.0} MiB at the peak{}",
        result.tokens_per_s,
        1e3 * result.token_s,
        result.prompt_s,
        result.peak_rss_mb,
        of_device(result.peak_device_memory_mb)
    );
    report(args.model.json, &result, &text)
}

fn of_device(mb: Option<f64>) -> String {
    mb.map_or_else(String::new, |mb| format!(" and {mb:.0} MiB of the device's"))
}

/// The frozen model of a benchmark.
fn model(args: &BenchModelArgs, device: &Device) -> Result<Decoder> {
    if args.random_init {
        let config = match args.config.is_dir() {
            true => DecoderConfig::from_folder(&args.config)?,
            false => DecoderConfig::from_file(&args.config)?,
        };
        check_precision(args.dtype.computed(), args.quantization, device)?;
        return Ok(Decoder::<_>::init_random(&config, args.seed, device)?.no_grad());
    }
    ensure!(
        args.config.is_dir(),
        "{}: to use its weights give the model's folder; for random ones add --random-init",
        args.config.display()
    );
    let options = LoadOptions {
        dtype: args.dtype,
        quantization: args.quantization,
        ..LoadOptions::default()
    };
    Ok(load_model(&args.config, None, &options, device)?)
}

#[allow(clippy::print_stdout)]
fn report(json: bool, result: &impl Serialize, text: &str) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(result)?);
    } else {
        println!("{text}");
    }
    Ok(())
}
