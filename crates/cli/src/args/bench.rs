use std::path::PathBuf;

use clap::{Args, Subcommand};
use lora_moe::finetune::train::Recompute;
use lora_moe::model_zoo::{Quantization, WeightDType};

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// What to measure.
    #[command(subcommand)]
    pub what: BenchCommand,
}

/// The benchmarks.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Training steps on random tokens.
    Train(BenchTrainArgs),
    /// Generation after random prompts.
    Generate(BenchGenerateArgs),
}

/// The model of a benchmark.
#[derive(Debug, Args)]
pub struct BenchModelArgs {
    /// The config.json of a model, or the folder that holds it.
    #[arg(long)]
    pub config: PathBuf,
    /// Random weights; without it, those of the folder.
    #[arg(long)]
    pub random_init: bool,
    /// The element type of the matrices of a folder in memory; auto is that of its files on a CPU,
    /// which computes with them in f32, and float32 elsewhere.
    #[arg(long, default_value_t, conflicts_with = "random_init")]
    pub dtype: WeightDType,
    /// Hold the linears of the layers in fewer bits: int8, fp4, nf4 or nf4_double.
    #[arg(long, conflicts_with = "random_init")]
    pub quantization: Option<Quantization>,
    /// The seed of weights and tokens.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `bench generate`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  lora-moe bench generate --config path/to/model --dtype bfloat16 --preset loramoe-paper")]
pub struct BenchGenerateArgs {
    #[command(flatten)]
    pub model: BenchModelArgs,
    /// The method whose adapter, fresh, is on the model; without it, the base model.
    #[arg(long)]
    pub preset: Option<String>,
    /// Overrides a key of the adapter, as in adapter.num_experts=8; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "preset")]
    pub set: Vec<String>,
    /// The prompts, which are continued together.
    #[arg(long, default_value_t = 1)]
    pub batch_size: usize,
    /// The tokens of a prompt.
    #[arg(long, default_value_t = 16)]
    pub prompt: usize,
    /// The tokens that are timed, after the first.
    #[arg(long, default_value_t = 64)]
    pub tokens: usize,
    /// The timed rounds.
    #[arg(long, default_value_t = 5)]
    pub steps: usize,
    /// The rounds before those.
    #[arg(long, default_value_t = 1)]
    pub warmup: usize,
}

/// Arguments of `bench train`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  lora-moe bench train --config config.json --random-init --preset loramoe-paper \\
    --set adapter.num_experts=8 --steps 10 --json")]
pub struct BenchTrainArgs {
    #[command(flatten)]
    pub model: BenchModelArgs,
    /// The method.
    #[arg(long, default_value = "loramoe-paper")]
    pub preset: String,
    /// Overrides a key of the adapter, as in adapter.num_experts=8; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The timed steps.
    #[arg(long, default_value_t = 10)]
    pub steps: usize,
    /// The steps before those.
    #[arg(long, default_value_t = 2)]
    pub warmup: usize,
    /// The samples of a step.
    #[arg(long, default_value_t = 4)]
    pub batch_size: usize,
    /// The tokens of a sample.
    #[arg(long, default_value_t = 256)]
    pub seq_len: usize,
    /// What is computed again in the backward pass: none, block, "every N" or "nested N".
    #[arg(long, default_value_t = Recompute::None)]
    pub recompute: Recompute,
}
