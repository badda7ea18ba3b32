use std::path::PathBuf;

use clap::Args;

/// Arguments of `mix`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe mix --adapters runs/code runs/maths runs/law --output runs/mix
  lora-moe mix --adapters runs/code runs/maths --router loramoe-paper --output runs/mix

The router starts as the mean of the adapters where its type allows; train it alone with
[adapter] from = \"runs/mix\" and train = \"router\" in the configuration of a run.")]
pub struct MixArgs {
    /// The folders of the adapters, of one base model.
    #[arg(long, required = true, num_args = 2..)]
    pub adapters: Vec<PathBuf>,
    /// The router: a type, as in dense, top_k or uniform, or a preset.
    #[arg(long, default_value = "dense")]
    pub router: String,
    /// Start the router at random from this seed, instead of with a gate of zeros.
    #[arg(long)]
    pub router_seed: Option<u64>,
    /// The folder to write.
    #[arg(long)]
    pub output: PathBuf,
}
