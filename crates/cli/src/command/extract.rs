use anyhow::{Result, bail};
use lora_moe::adapter_arithmetic::{extract_expert, extract_mixture};
use lora_moe::adapter_formats::{AdapterFormat, WriteOptions, read_adapter, write_adapter};
use lora_moe::lora_expert::ExpertsConfig;
use lora_moe::moe_adapter::ADAPTER_CONFIG_FILE;

use crate::args::ExtractArgs;

/// Runs `lora-moe extract`.
pub fn run(args: &ExtractArgs) -> Result<()> {
    if args.output.join(ADAPTER_CONFIG_FILE).exists() {
        bail!("{} already holds an adapter; choose another --output", args.output.display());
    }
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
    write_adapter(&single, &args.output, &WriteOptions::new(format))?;
    eprintln!("a single adapter in the layout {format} is in {}", args.output.display());
    Ok(())
}
