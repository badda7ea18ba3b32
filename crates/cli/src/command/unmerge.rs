use anyhow::{Context, Result};
use lora_moe::adapter_arithmetic::{MERGE_RECORD_FILE, MergeRecord, unmerge_adapters};
use lora_moe::adapter_formats::read_adapter;
use lora_moe::device::parse_device;
use lora_moe::finetune::run::load_any_model;
use lora_moe::model_zoo::{Rounding, with_any_model};
use lora_moe::moe_adapter::StoredAdapter;

use super::besides::copy_besides;
use super::merge::{output_dtype, written};
use super::output::OutputFolder;
use crate::args::UnmergeArgs;

/// Runs `lora-moe unmerge`.
pub fn run(args: &UnmergeArgs, device: &str) -> Result<()> {
    let device = parse_device(device)?;
    let output = OutputFolder::of_model(&args.output)?;
    let folder = args.model.folder()?;
    let mut model = load_any_model(&folder, None, &args.model.options_to_write(), &device)?;
    let StoredAdapter { config, state, .. } = read_adapter(&args.adapter)?;
    let (record, source) = match MergeRecord::read(&folder, &device)? {
        Some(record) => {
            record
                .check_adapter(&state)
                .with_context(|| format!("{MERGE_RECORD_FILE} is of another merge"))?;
            (record, MERGE_RECORD_FILE)
        }
        None => {
            let origin = args.adapter.display().to_string();
            let record = with_any_model!(&model, model => {
                MergeRecord::of_adapter(model, &config, state, &origin)
            })?;
            (record, "the adapter's folder")
        }
    };
    with_any_model!(&mut model, model => unmerge_adapters(model, &record))?;
    let dtype = output_dtype(args.output_dtype, &folder)?;
    let mut rounding = Rounding::default();
    output.fill(|to| {
        copy_besides(&folder, to)?;
        rounding = model.save_in(to, Some(dtype))?;
        Ok(())
    })?;
    eprintln!(
        "{} linears and {} whole parameters as they were, by {source}; the model is in {}{}",
        record.updates.len(),
        record.base.len(),
        args.output.display(),
        written(dtype, rounding)
    );
    Ok(())
}
