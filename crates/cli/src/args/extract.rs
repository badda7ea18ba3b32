use std::path::PathBuf;

use clap::Args;

/// Arguments of `extract`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe extract --adapter runs/loramoe --expert 3 --output expert-3
  lora-moe extract --adapter runs/mix --weights 0.2,0.8 --output mean

Without --expert and --weights, the mixture of a uniform router. The folder written is a LoRA as
PEFT has it.")]
pub struct ExtractArgs {
    /// The folder of a mixture.
    #[arg(long)]
    pub adapter: PathBuf,
    /// The expert to write, counted from 0 as the router counts.
    #[arg(long, conflicts_with = "weights")]
    pub expert: Option<usize>,
    /// The weights of the experts, one for each, the same in every layer.
    #[arg(long, value_delimiter = ',', value_name = "W,W,…", allow_hyphen_values = true)]
    pub weights: Vec<f64>,
    /// The folder to write.
    #[arg(long)]
    pub output: PathBuf,
}
