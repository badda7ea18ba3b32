use std::path::PathBuf;

use clap::Args;

/// Arguments of `predict`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe predict --config run.toml --output predictions.jsonl
  lora-moe predict --config run.toml --data test.tsv --output predictions.csv
  lora-moe predict --config run.toml --model merged --data images --output predictions.jsonl

Of each row its file, its number in it from 0, the answer (label), the probability of each label
(scores; of a regression the number), and the data's own label where there is one (gold). The file is
written at once, when all rows are answered. Where all rows have labels, what is measured of the
answers is printed.")]
pub struct PredictArgs {
    /// The configuration of the run that trained the adapter, for its model, and for how the files
    /// are to be read: as its first file to train on.
    #[arg(long)]
    pub config: PathBuf,
    /// Overrides a key of the configuration; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// An adapter folder, as a checkpoint. Default: the run's, `training.output_dir`.
    #[arg(long, conflicts_with = "model")]
    pub adapter: Option<PathBuf>,
    /// A model with a head of its own, as `merge` writes, instead of the run's model and adapter.
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Files or folders of rows; may be given several times. Default: those to validate on.
    #[arg(long, value_name = "PATH")]
    pub data: Vec<PathBuf>,
    /// Receives the predictions: .jsonl or .csv.
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// The rows of one forward pass. Default: `training.per_device_eval_batch_size`.
    #[arg(long)]
    pub batch_size: Option<usize>,
}
