use std::path::Path;

use anyhow::{Context, Result, bail};
use lora_moe::adapter_formats::{detect_format, read_adapter_as};
use lora_moe::model_zoo::AnyModelConfig;
use lora_moe::moe_adapter::{ADAPTER_CONFIG_FILE, StoredAdapter};

use crate::args::InspectArgs;
use crate::text::grouped;

/// Runs `lora-moe inspect`.
pub fn run(args: &InspectArgs, device: &str) -> Result<()> {
    if args.routing {
        return super::routing::run(args, device);
    }
    let folder = args.folder.as_deref().context("a folder is needed")?;
    if folder.join(ADAPTER_CONFIG_FILE).is_file() {
        adapter(folder)
    } else if folder.join("config.json").is_file() || folder.is_file() {
        model(folder)
    } else {
        bail!(
            "{}: neither a model folder (config.json) nor an adapter folder \
             ({ADAPTER_CONFIG_FILE})",
            folder.display()
        )
    }
}

#[allow(clippy::print_stdout)]
fn model(folder: &Path) -> Result<()> {
    let config = if folder.is_file() {
        AnyModelConfig::from_file(folder)?
    } else {
        AnyModelConfig::from_folder(folder)?
    };
    let line = |name: &str, value: &str| println!("{name:<21} {value}");
    line("family", config.family());
    line("parameters", &grouped(config.parameter_count()));
    for (name, value) in config.summary() {
        line(name, &value);
    }
    line("target_modules", &config.target_modules().join(", "));
    Ok(())
}

#[allow(clippy::print_stdout)]
fn adapter(folder: &Path) -> Result<()> {
    let layout = detect_format(folder)?;
    let StoredAdapter { config, state, base_model_name_or_path: base, precision, .. } =
        read_adapter_as(folder, layout)?;
    let values: usize = state.values().map(|data| data.num_elements()).sum();
    println!("{}", serde_json::to_string_pretty(&config)?);
    println!("layout                {layout}");
    println!("base model            {}", base.as_deref().unwrap_or("not said"));
    if let Some(precision) = precision {
        println!("precision             {precision}");
    }
    println!("tensors               {} of {} values", state.len(), grouped(values));
    for (name, data) in &state {
        println!("  {name} {:?}", data.shape().as_slice());
    }
    Ok(())
}
