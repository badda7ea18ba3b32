use std::path::PathBuf;

use clap::Args;

/// Arguments of `inspect`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe inspect path/to/llama
  lora-moe inspect config.json
  lora-moe inspect runs/loramoe-paper
  lora-moe inspect --routing --model path/to/llama --adapter runs/loramoe-paper --data test.json

With --routing, routing.json, routing.csv and routing.html are written to the output folder.")]
pub struct InspectArgs {
    /// A model folder or its config.json, or an adapter folder (adapter_config.json).
    #[arg(required_unless_present = "routing")]
    pub folder: Option<PathBuf>,
    /// Report how the experts of an adapter are used on data.
    #[arg(long, requires_all = ["model", "adapter", "data"], conflicts_with = "folder")]
    pub routing: bool,
    /// A Hugging Face folder.
    #[arg(long, requires = "routing")]
    pub model: Option<PathBuf>,
    /// An adapter folder.
    #[arg(long, requires = "routing")]
    pub adapter: Option<PathBuf>,
    /// Files of records: JSON, JSON Lines, CSV, TSV, Parquet or Arrow.
    #[arg(long, requires = "routing", num_args = 1..)]
    pub data: Vec<PathBuf>,
    /// The folder to write to.
    #[arg(long, requires = "routing", default_value = "routing")]
    pub output: PathBuf,
    /// How an instruction becomes a prompt: alpaca, plain, chat, or a text with {instruction}.
    #[arg(long, requires = "routing", default_value = "alpaca")]
    pub template: String,
    /// The longest sample in tokens.
    #[arg(long, requires = "routing", default_value_t = 1024)]
    pub max_length: usize,
    /// The samples of one forward pass.
    #[arg(long, requires = "routing", default_value_t = 8)]
    pub batch_size: usize,
}
