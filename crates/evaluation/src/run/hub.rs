use std::path::{Path, PathBuf};

use eval_tasks::{BoxError, HubSource};
use model_zoo::HubDataset;

/// Data sets from the Hugging Face hub, where this program was built with the feature `hub`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hub;

impl HubSource for Hub {
    fn files(
        &self,
        dataset: &str,
        configuration: Option<&str>,
        split: &str,
    ) -> Result<Vec<PathBuf>, BoxError> {
        let folder = HubDataset::new(dataset, configuration.map(str::to_owned)).fetch()?;
        let mut files = Vec::new();
        collect(&folder, &mut files)?;
        files.retain(|file| {
            belongs(file.strip_prefix(&folder).unwrap_or(file), configuration, split)
        });
        files.sort();
        Ok(files)
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

/// Whether a file holds rows of the split: `split` begins its name or a part of it, or is a folder.
/// Where folders are named after configurations, it must be in that of its own.
fn belongs(file: &Path, configuration: Option<&str>, split: &str) -> bool {
    let parts: Vec<String> =
        file.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let Some((name, folders)) = parts.split_last() else { return false };
    let stem = name.split('.').next().unwrap_or(name);
    let in_split = folders.iter().any(|folder| folder == split)
        || stem == split
        || name.split(['-', '.', '_']).any(|part| part == split);
    let in_configuration = match configuration {
        Some(configuration) if !folders.is_empty() && folders[0] != "data" => {
            folders.iter().any(|folder| folder == configuration) || stem.contains(configuration)
        }
        _ => true,
    };
    in_split && in_configuration && name != "README.md"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_belong_to_a_split_of_a_configuration() {
        let arc = Path::new("ARC-Easy/test-00000-of-00001.parquet");
        assert!(belongs(arc, Some("ARC-Easy"), "test"));
        assert!(!belongs(arc, Some("ARC-Challenge"), "test"));
        assert!(!belongs(arc, Some("ARC-Easy"), "train"));
        assert!(belongs(Path::new("data/validation.jsonl"), None, "validation"));
        assert!(belongs(Path::new("main/test/0000.parquet"), Some("main"), "test"));
        assert!(!belongs(Path::new("README.md"), None, "README"));
    }
}
