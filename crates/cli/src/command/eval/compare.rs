use std::path::{Path, PathBuf};

use anyhow::Result;
use lora_moe::evaluation::retention::{compare, retention_page, retention_table};
use lora_moe::moe_adapter::write_atomically;

/// Compares an evaluation with later ones: tables on standard output, and a report in a folder.
#[allow(clippy::print_stdout)]
pub fn run(before: &Path, after: &[PathBuf], output: Option<&Path>) -> Result<()> {
    let mut compared = Vec::with_capacity(after.len());
    for after in after {
        let retention = compare(before, after)?;
        println!("{} -> {}\n", retention.before, retention.after);
        println!("{}", retention_table(&retention));
        compared.push(retention);
    }
    if let Some(folder) = output {
        std::fs::create_dir_all(folder)?;
        let json = serde_json::to_string_pretty(&compared)? + "\n";
        write_atomically(&folder.join("retention.json"), json.as_bytes())?;
        let page = retention_page(&compared)?;
        write_atomically(&folder.join("retention.html"), page.as_bytes())?;
    }
    Ok(())
}
