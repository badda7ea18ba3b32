use std::path::PathBuf;

use clap::Args;

/// Arguments of `train`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  lora-moe train --config run.toml
  lora-moe train --config run.toml --set adapter.num_experts=8 --set training.max_steps=100
  lora-moe train --config run.toml --dry-run --measure
  lora-moe train --config run.toml --resume
  lora-moe train --config run.toml --resume checkpoint-500 --set training.learning_rate=1e-5
  lora-moe train --config goat.toml --config loramoe.toml
  lora-moe train --config run.toml --devices cuda:0,cuda:1
  mpirun -n 4 lora-moe train --config run.toml      # built with --features mpi

Several ranks share the forward passes of each step (training.gradient_accumulation_steps), and learn
what one learns.")]
pub struct TrainArgs {
    /// The configuration; `lora-moe config` prints one. Given several times, the runs train at once
    /// on one copy of their model's weights.
    #[arg(long, required = true)]
    pub config: Vec<PathBuf>,
    /// Overrides a key of the configuration; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Continue from the last healthy checkpoint in `training.output_dir`, or from the one named.
    #[arg(long, value_name = "CHECKPOINT", num_args = 0..=1)]
    pub resume: Option<Option<PathBuf>>,
    /// Remove the run that `training.output_dir` holds, once the new one is prepared. What is removed
    /// is said; other files in the folder stay.
    #[arg(long, conflicts_with_all = ["resume", "dry_run"])]
    pub overwrite: bool,
    /// Train over several devices of this machine, each a rank, as in cuda:0,cuda:1; on a CPU
    /// flex,flex. They share the passes of a step as under mpirun.
    #[arg(long, value_name = "DEVICES", value_delimiter = ',')]
    pub devices: Vec<String>,
    /// Over several ranks: after how many seconds of waiting for another one the run ends.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    pub rank_timeout: u64,
    /// Say what the run would train, hold and take, and begin nothing. Of the model only config.json
    /// is read, and the tokenizer where there is data.
    #[arg(long, conflicts_with = "resume")]
    pub dry_run: bool,
    /// With --dry-run: time steps of models of two and three layers of this shape, with random weights.
    #[arg(long, requires = "dry_run")]
    pub measure: bool,
    /// With --dry-run: leave the data alone.
    #[arg(long, requires = "dry_run")]
    pub without_data: bool,
}
