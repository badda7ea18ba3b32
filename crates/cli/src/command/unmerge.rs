use anyhow::{Context, Result, bail};
use lora_moe::device::parse_device;
use lora_moe::finetune::run::load_model;
use lora_moe::model_zoo::TextTokenizer;
use lora_moe::moe_adapter::{MERGE_RECORD_FILE, MergeRecord, StoredAdapter, unmerge_adapters};

use crate::args::UnmergeArgs;

/// Runs `lora-moe unmerge`.
pub fn run(args: &UnmergeArgs, device: &str) -> Result<()> {
    let device = parse_device(device)?;
    if args.output.join("config.json").exists() {
        bail!("{} already holds a model; choose another --output", args.output.display());
    }
    let folder = args.model.folder()?;
    let tokenizer = TextTokenizer::from_folder(&folder)?;
    let mut model = load_model(&folder, None, &args.model.options(), &device)?;
    let StoredAdapter { config, state, .. } = StoredAdapter::read(&args.adapter)?;
    let (record, source) = match MergeRecord::read(&folder, &device)? {
        Some(record) => {
            record
                .check_adapter(&state)
                .with_context(|| format!("{MERGE_RECORD_FILE} is of another merge"))?;
            (record, MERGE_RECORD_FILE)
        }
        None => {
            let origin = args.adapter.display().to_string();
            (MergeRecord::of_adapter(&model, &config, state, &origin)?, "the adapter's folder")
        }
    };
    unmerge_adapters(&mut model, &record)?;
    model.save(&args.output)?;
    tokenizer.save(&args.output).context("cannot write the tokenizer")?;
    eprintln!(
        "{} linears and {} whole parameters as they were, by {source}; the model is in {}",
        record.updates.len(),
        record.base.len(),
        args.output.display()
    );
    Ok(())
}
