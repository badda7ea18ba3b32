use anyhow::{Context, Result};
use lora_moe::adapter_arithmetic::{MixOptions, Mixed, mix_adapters};
use lora_moe::adapter_formats::read_adapter;
use lora_moe::device::parse_device;

use super::output::OutputFolder;
use crate::args::MixArgs;

/// Runs `lora-moe mix`.
pub fn run(args: &MixArgs, device: &str) -> Result<()> {
    let device = parse_device(device)?;
    let output = OutputFolder::of_adapter(&args.output)?;
    let options = MixOptions { router_seed: args.router_seed, ..MixOptions::named(&args.router)? };
    let mut adapters = Vec::with_capacity(args.adapters.len());
    for folder in &args.adapters {
        adapters.push(read_adapter(folder)?);
    }
    let Mixed { adapter, notes } =
        mix_adapters(&adapters, &options, &device).with_context(|| {
            let folders: Vec<_> = args.adapters.iter().map(|f| f.display().to_string()).collect();
            format!("cannot mix {}", folders.join(", "))
        })?;
    for note in notes {
        eprintln!("note: {note}");
    }
    output.fill(|folder| Ok(adapter.write(folder)?))?;
    eprintln!(
        "a mixture of {} experts is in {}; train its router with [adapter] from = {:?}, train = \
         \"router\"",
        adapters.len(),
        args.output.display(),
        args.output.display().to_string()
    );
    Ok(())
}
