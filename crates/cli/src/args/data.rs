use std::path::PathBuf;

use clap::Args;

/// Arguments of `data`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe data --config run.toml
  lora-moe data --config run.toml --show 20 --set data.template=chat
  lora-moe data --config run.toml --json > samples.jsonl

On a terminal what is learned is green; elsewhere it stands in brackets ⟦ ⟧. No weights are read.")]
pub struct DataArgs {
    /// The configuration of the run.
    #[arg(long)]
    pub config: PathBuf,
    /// Overrides a key of the configuration; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// How many rows of the training data are shown. Default 5, with --json all.
    #[arg(long, value_name = "ROWS")]
    pub show: Option<usize>,
    /// Print a JSON object a line for each sample instead: input_ids, labels (-100 where a token is
    /// not learned), text and origin, and the task_type or label where there is one; the counts go to
    /// standard error.
    #[arg(long)]
    pub json: bool,
}
