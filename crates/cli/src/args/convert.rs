use std::path::PathBuf;

use clap::Args;
use lora_moe::adapter_formats::AdapterFormat;

/// Arguments of `convert`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lora-moe convert --adapter runs/lora --to peft --output peft-lora
  lora-moe convert --adapter mixlora-from-moe-peft --to native --output runs/mixlora
  lora-moe convert --adapter goat --to native --model llama --output runs/goat

Layouts: native, peft, x-lora, loramoe, hydralora, goat, adamole, mola, mixlora,
moe-peft-loramoe, moe-peft-mola, moe-peft-dynmole. What the target has no place for is an error that names it, and
nothing is written.")]
pub struct ConvertArgs {
    /// An adapter folder.
    #[arg(long)]
    pub adapter: PathBuf,
    /// Its layout; found out where absent.
    #[arg(long)]
    pub from: Option<AdapterFormat>,
    /// The layout to write.
    #[arg(long)]
    pub to: AdapterFormat,
    /// The folder to write.
    #[arg(long)]
    pub output: PathBuf,
    /// Write adapter_model.bin, as torch.save does, instead of adapter_model.safetensors.
    #[arg(long)]
    pub bin: bool,
    /// Drop settings that matter in training only and that the target has no keys for, as the
    /// balance loss.
    #[arg(long)]
    pub drop_training: bool,
    /// The base model of an adapter whose layout leaves its start to be repeated (GOAT, PEFT's
    /// PiSSA): the start is then stored. Only with --to native.
    #[arg(long)]
    pub model: Option<PathBuf>,
}
