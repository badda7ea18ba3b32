use anyhow::{Result, ensure};
use lora_moe::device::parse_device;
use lora_moe::finetune::bench::{TrainBench, bench_train};
use lora_moe::finetune::run::{adapter_from_assignments, load_model};
use lora_moe::model_zoo::{Decoder, DecoderConfig, LoadOptions};

use crate::args::{BenchArgs, BenchCommand, BenchTrainArgs};

/// Runs `lora-moe bench`.
pub fn run(args: &BenchArgs, device: &str) -> Result<()> {
    match &args.what {
        BenchCommand::Train(args) => train(args, device),
    }
}

#[allow(clippy::print_stdout)]
fn train(args: &BenchTrainArgs, device: &str) -> Result<()> {
    let device = parse_device(device)?;
    let adapter = adapter_from_assignments(&args.preset, &args.set)?;
    ensure!(args.steps > 0, "--steps is 0, but must be at least 1");
    ensure!(args.batch_size > 0 && args.seq_len > 1, "--batch-size or --seq-len is too small");
    let model: Decoder = if args.random_init {
        let config = if args.config.is_dir() {
            DecoderConfig::from_folder(&args.config)?
        } else {
            DecoderConfig::from_file(&args.config)?
        };
        frozen(Decoder::init_random(&config, args.seed, &device)?)
    } else {
        ensure!(
            args.config.is_dir(),
            "{}: to use its weights give the model's folder; for random ones add --random-init",
            args.config.display()
        );
        load_model(&args.config, None, &LoadOptions::default(), &device)?
    };
    let bench = TrainBench {
        batch_size: args.batch_size,
        seq_len: args.seq_len,
        steps: args.steps,
        warmup: args.warmup,
        seed: args.seed,
        recompute: args.recompute,
    };
    let result = bench_train(model, &adapter, &bench)?;
    if args.json {
        println!("{}", serde_json::to_string(&result)?);
    } else {
        println!(
            "{:.0} tokens/s, {:.3} s a step, {:.0} MiB at the peak, {} trainable parameters",
            result.tokens_per_s, result.step_s, result.peak_rss_mb, result.trainable
        );
    }
    Ok(())
}

fn frozen(model: Decoder) -> Decoder {
    use lora_moe::burn::module::Module;
    model.no_grad()
}
