use std::path::PathBuf;

use clap::Args;

/// Arguments of `demo`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe demo
  lora-moe demo --output runs/demo --seed 1
  lora-moe demo --search               # how the learning rates were found (takes long)
  lora-moe demo --config demo.json     # other sizes, amounts or methods")]
pub struct DemoArgs {
    /// Receives report.html and results.json.
    #[arg(long, default_value = "lora-moe-demo")]
    pub output: PathBuf,
    /// Everything random follows from it.
    #[arg(long)]
    pub seed: Option<u64>,
    /// A JSON file of settings that differ from the defaults.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Search the learning rate of each method on the validation half, instead of reporting.
    #[arg(long)]
    pub search: bool,
    /// The learning rates that the search tries.
    #[arg(long, value_delimiter = ',', default_value = "5e-4,1e-3,2e-3,4e-3")]
    pub grid: Vec<f64>,
    /// Where the pre-trained world is cached (default: the user's cache folder).
    #[arg(long)]
    pub cache: Option<PathBuf>,
}
