use std::path::PathBuf;

use clap::Args;

use super::ModelArgs;

/// Arguments of `logits`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  lora-moe logits --model llama --inputs in.safetensors --output out.safetensors

IN holds `input_ids`, and optionally `attention_mask` (1 for a token, 0 for padding), as int64
[batch, seq], or for models of images `pixel_values`, f32 [batch, channels, height, width]. OUT
receives f32: `logits`, [batch, seq, vocab] of a decoder and [batch, labels] of a classifier; of
CLIP's vision tower `image_embeds` and `last_hidden_state`.")]
pub struct LogitsArgs {
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// An adapter folder.
    #[arg(long)]
    pub adapter: Option<PathBuf>,
    /// The safetensors file to read.
    #[arg(long)]
    pub inputs: PathBuf,
    /// The safetensors file to write.
    #[arg(long)]
    pub output: PathBuf,
}
