use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use lora_moe::finetune::train::latest_checkpoint;
use lora_moe::moe_adapter::{ADAPTER_CONFIG_FILE, FolderLock};

/// What a run leaves in its folder besides checkpoints; anything else there stays.
const OWN: [&str; 11] = [
    "metrics.jsonl",
    "runs",
    "evaluations",
    ADAPTER_CONFIG_FILE,
    "adapter_model.safetensors",
    "adapter_model.bin",
    "labels.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
];

/// Removes the run that a folder holds, and says what is removed; does nothing where there is none.
pub fn remove_run(folder: &Path) -> Result<()> {
    if !folder.join(ADAPTER_CONFIG_FILE).exists() && latest_checkpoint(folder).is_none() {
        return Ok(());
    }
    if folder.join("config.json").exists() {
        bail!(
            "{}: holds a model besides a run, so --overwrite removes nothing; choose another \
             `training.output_dir`",
            folder.display()
        );
    }
    // A run that is still going on keeps it.
    let lock = FolderLock::acquire(folder)?;
    let mut removed = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let checkpoint = name
            .strip_prefix("checkpoint-")
            .is_some_and(|step| !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit()));
        if checkpoint || OWN.contains(&name.as_str()) {
            removed.push(name);
        }
    }
    removed.sort();
    eprintln!("{}: removing {}", folder.display(), removed.join(", "));
    for name in removed {
        let path = folder.join(name);
        // Of a link only the link.
        let removed = match path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        removed.with_context(|| format!("{}: cannot be removed", path.display()))?;
    }
    drop(lock);
    Ok(())
}
