use std::path::PathBuf;

use clap::Args;
use lora_moe::model_zoo::WeightDType;

use super::ModelArgs;

/// Arguments of `merge`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe merge --model llama --adapter runs/lora --output merged
  lora-moe merge --model llama --adapter runs/slim --prompt 'The capital of France' --output merged
  lora-moe merge --model llama --adapter runs/mix --weights 0.2,0.8 --output merged

A mixture decides for every token, so it is merged at the mean weights that a text routes to
(--prompt) or at given ones (--weights); without, only a uniform router is merged. What a single
adapter's folder does not say is written to merged_adapter.safetensors, for `lora-moe unmerge`.")]
pub struct MergeArgs {
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// An adapter folder.
    #[arg(long)]
    pub adapter: PathBuf,
    /// A text whose routing the mixture is frozen at.
    #[arg(long)]
    pub prompt: Option<String>,
    /// The weights of the experts, one for each, the same in every layer.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "W,W,…",
        allow_hyphen_values = true,
        conflicts_with = "prompt"
    )]
    pub weights: Vec<f64>,
    /// Receives the merged model.
    #[arg(long)]
    pub output: PathBuf,
    /// The element type that it is written in; auto is that of the model's own files.
    #[arg(long, value_name = "DTYPE", default_value_t = WeightDType::AsStored)]
    pub output_dtype: WeightDType,
}

/// Arguments of `unmerge`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  lora-moe unmerge --model merged --adapter runs/lora --output base

Where the merged model has a merged_adapter.safetensors, that says what to take out; the adapter's
folder suffices for a single LoRA, rsLoRA or (IA)^3.")]
pub struct UnmergeArgs {
    /// The merged model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// The folder of the adapter that was merged.
    #[arg(long)]
    pub adapter: PathBuf,
    /// Receives the base model.
    #[arg(long)]
    pub output: PathBuf,
    /// The element type that it is written in; auto is that of the merged model's files.
    #[arg(long, value_name = "DTYPE", default_value_t = WeightDType::AsStored)]
    pub output_dtype: WeightDType,
}
