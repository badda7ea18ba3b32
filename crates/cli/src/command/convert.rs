use anyhow::{Context, Result};
use lora_moe::adapter_formats::{WriteOptions, detect_format, read_adapter_as, write_adapter};
use lora_moe::device::parse_device;
use lora_moe::finetune::run::load_any_model;
use lora_moe::model_zoo::with_any_model;
use lora_moe::moe_adapter::{WeightsFile, adapter_state};

use super::output::OutputFolder;
use crate::args::ConvertArgs;

/// Runs `lora-moe convert`.
pub fn run(args: &ConvertArgs, device: &str) -> Result<()> {
    let output = OutputFolder::of_adapter(&args.output)?;
    let format = match args.from {
        Some(format) => format,
        None => detect_format(&args.adapter)?,
    };
    let mut adapter = read_adapter_as(&args.adapter, format)?;
    if let Some(folder) = &args.model {
        // What the start took out of the weights is then stored, so that no one has to repeat it.
        let device = parse_device(device)?;
        let model = load_any_model(folder, Some(&args.adapter), &Default::default(), &device)
            .context("cannot put the adapter on its base model")?;
        adapter.state = with_any_model!(&model, model => adapter_state(model));
    }
    let options = WriteOptions {
        format: args.to,
        weights: if args.bin { WeightsFile::PyTorch } else { WeightsFile::Safetensors },
        drop_training: args.drop_training,
    };
    output.fill(|folder| Ok(write_adapter(&adapter, folder, &options)?))?;
    eprintln!(
        "{} tensors, from the layout {format} to {}, in {}",
        adapter.state.len(),
        args.to,
        args.output.display()
    );
    Ok(())
}
