use std::path::Path;

use anyhow::{Context, Result};
use lora_moe::moe_adapter::write_atomically;

/// What of a Hugging Face folder is neither configuration nor weights.
const BESIDES: [&str; 13] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
];

/// Copies tokenizer, processor and generation settings of a model to a model made from it.
pub fn copy_besides(from: &Path, to: &Path) -> Result<()> {
    for name in BESIDES {
        let file = from.join(name);
        if file.is_file() {
            std::fs::read(&file)
                .and_then(|bytes| write_atomically(&to.join(name), &bytes))
                .with_context(|| format!("cannot copy {} to {}", file.display(), to.display()))?;
        }
    }
    Ok(())
}
