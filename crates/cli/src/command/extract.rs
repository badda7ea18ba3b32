use anyhow::Result;
use lora_moe::adapter_arithmetic::{extract_expert, extract_mixture};
use lora_moe::adapter_formats::{AdapterFormat, WriteOptions, read_adapter, write_adapter};
use lora_moe::lora_expert::ExpertsConfig;

use super::output::OutputFolder;
use crate::args::ExtractArgs;

/// Runs `lora-moe extract`.
pub fn run(args: &ExtractArgs) -> Result<()> {
    let output = OutputFolder::of_adapter(&args.output)?;
    let adapter = read_adapter(&args.adapter)?;
    let single = match args.expert {
        Some(expert) => extract_expert(&adapter, expert)?,
        None => {
            let weights = (!args.weights.is_empty()).then_some(args.weights.as_slice());
            extract_mixture(&adapter, weights)?
        }
    };
    // PEFT has another layout for (IA)^3.
    let format = match single.config.experts {
        ExpertsConfig::Ia3 {} => AdapterFormat::Native,
        _ => AdapterFormat::Peft,
    };
    output.fill(|folder| Ok(write_adapter(&single, folder, &WriteOptions::new(format))?))?;
    eprintln!("a single adapter in the layout {format} is in {}", args.output.display());
    Ok(())
}
