//! The command line: a file for the arguments of each subcommand, as `command` has one for what it does.

mod bench;
mod config;
mod convert;
mod data;
mod demo;
mod eval;
mod extract;
mod generate;
mod inspect;
mod logits;
mod merge;
mod mix;
mod model;
mod predict;
#[cfg(feature = "serve")]
mod serve;
mod shell;
mod study;
mod train;

use clap::{Parser, Subcommand};
use lora_moe::fused_ops::Precision;

pub use bench::{BenchArgs, BenchCommand, BenchGenerateArgs, BenchModelArgs, BenchTrainArgs};
pub use config::ConfigArgs;
pub use convert::ConvertArgs;
pub use data::DataArgs;
pub use demo::DemoArgs;
pub use eval::EvalArgs;
pub use extract::ExtractArgs;
pub use generate::GenerateArgs;
pub use inspect::InspectArgs;
pub use logits::LogitsArgs;
pub use merge::{MergeArgs, UnmergeArgs};
pub use mix::MixArgs;
pub use model::{LoadArgs, ModelArgs};
pub use predict::PredictArgs;
#[cfg(feature = "serve")]
pub use serve::ServeArgs;
pub use shell::{CompletionsArgs, ManArgs};
pub use study::{StudyArgs, StudyCommand, StudyFiles, StudyPlanArgs, StudySubmitArgs};
pub use train::TrainArgs;

/// Fine-tune frozen transformers with mixtures of LoRA experts.
#[derive(Debug, Parser)]
#[command(
    name = "lora-moe",
    version,
    about,
    after_help = "Examples:
  lora-moe demo
  lora-moe config --preset loramoe-paper > run.toml
  lora-moe train --config run.toml --set model.path=path/to/llama
  lora-moe generate --model path/to/llama --adapter runs/loramoe-paper --prompt 'Hello'

Exit codes: 0 success, 1 failure (the reason on standard error), 2 wrong usage."
)]
pub struct Cli {
    /// Where to compute: flex (CPU), cuda, cuda:1, vulkan, wgpu, metal, rocm.
    ///
    /// Each has to be compiled in by the feature of its name; by default only flex is.
    #[arg(long, global = true, env = "LORA_MOE_DEVICE", default_value = "flex")]
    pub device: String,
    /// How activations are multiplied with frozen weights: f32 (the default), tf32 or bf16, with sums in
    /// f32. Takes precedence over `training.precision`.
    ///
    /// All other products, softmax, norms, losses and the optimiser are in f32 whatever is chosen. tf32 is
    /// for GPUs, and bf16 on a CPU for weights held in bfloat16, 8 or 4 bits.
    #[arg(long, global = true, env = "LORA_MOE_PRECISION")]
    pub precision: Option<Precision>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train an adapter as a configuration file describes it.
    Train(TrainArgs),
    /// Show what a model will see of the data of a run, and what of it is learned.
    Data(DataArgs),
    /// Measure a model, with or without adapters: scores on tasks, or its loss on data.
    Eval(Box<EvalArgs>),
    /// Answer rows of texts or images by an encoder that `train` has trained.
    Predict(PredictArgs),
    /// Continue a text.
    Generate(GenerateArgs),
    /// Answer OpenAI's requests over HTTP, with one model and many adapters.
    #[cfg(feature = "serve")]
    Serve(Box<ServeArgs>),
    /// Compute logits for tokens or images, for comparison with another implementation.
    Logits(LogitsArgs),
    /// Describe a model folder or an adapter folder.
    Inspect(InspectArgs),
    /// Fold an adapter into the weights of its model.
    Merge(MergeArgs),
    /// Take a merged adapter out of the weights again.
    Unmerge(UnmergeArgs),
    /// Write one expert of a mixture, or a mixture at fixed weights, as a single LoRA.
    Extract(ExtractArgs),
    /// Make a mixture of single LoRAs that were trained one by one.
    Mix(MixArgs),
    /// Write an adapter in the layout of another project.
    Convert(ConvertArgs),
    /// Print a commented configuration to start from.
    Config(ConfigArgs),
    /// A complete experiment with nothing to download: LoRA against LoRAMoE in a small world.
    Demo(DemoArgs),
    /// Compare methods under equal conditions, and write a report.
    Study(Box<StudyArgs>),
    /// Measure the cost of training and of generation.
    Bench(BenchArgs),
    /// Print the completions of a shell.
    Completions(CompletionsArgs),
    /// Write the manual pages of all commands.
    Man(ManArgs),
}
