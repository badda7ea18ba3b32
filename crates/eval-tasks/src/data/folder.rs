use std::fs;
use std::path::{Path, PathBuf};

use record_files::FileForm;

/// Files of a split, and whether their path names the configuration.
pub(super) struct Found {
    pub(super) files: Vec<PathBuf>,
    pub(super) of_configuration: bool,
}

/// Looks for a split in a folder that is a data set.
pub(super) fn in_dataset(folder: &Path, configuration: Option<&str>, split: &str) -> Option<Found> {
    if let Some(configuration) = configuration {
        for parent in [folder.to_owned(), child(folder, "dataset"), child(folder, "data")] {
            let inner = entry(&parent, configuration);
            for inner in inner.iter().flat_map(|inner| [inner.clone(), child(inner, "data")]) {
                let files = matching(&inner, |name| is_split(name, split));
                if !files.is_empty() {
                    return Some(Found { files, of_configuration: true });
                }
            }
        }
        for parent in [folder.to_owned(), child(folder, "data")] {
            let files = matching(&parent, |name| is_split_of(name, configuration, split));
            if !files.is_empty() {
                return Some(Found { files, of_configuration: true });
            }
        }
    }
    for parent in [folder.to_owned(), child(folder, "data")] {
        let files = matching(&parent, |name| is_split(name, split));
        if !files.is_empty() {
            return Some(Found { files, of_configuration: configuration.is_none() });
        }
    }
    None
}

/// Looks for a split of a hub's data set, or of a task, in a folder of many.
pub(super) fn in_root(
    root: &Path,
    dataset: &str,
    configuration: Option<&str>,
    task: &str,
    split: &str,
) -> Option<Found> {
    let (owner, name) = dataset.rsplit_once('/').unwrap_or(("", dataset));
    let mut folders = vec![root.join(dataset)];
    for candidate in [format!("{owner}__{name}"), format!("{owner}--{name}"), name.to_owned()] {
        folders.extend(entry(root, &candidate));
    }
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        if let Some(found) = in_dataset(folder, configuration, split) {
            return Some(found);
        }
    }
    let names = [Some(task), configuration, Some(name)];
    for (index, prefix) in names.iter().enumerate() {
        let Some(prefix) = prefix else { continue };
        let files = matching(root, |file| is_split_of(file, prefix, split));
        if !files.is_empty() {
            let of_configuration = index < 2 || configuration.is_none();
            return Some(Found { files, of_configuration });
        }
    }
    None
}

fn child(folder: &Path, name: &str) -> PathBuf {
    folder.join(name)
}

/// The entry of a folder with this name, whatever its case.
fn entry(folder: &Path, name: &str) -> Option<PathBuf> {
    let wanted = normal(name);
    let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| normal(&entry.file_name().to_string_lossy()) == wanted)
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found.into_iter().next()
}

fn normal(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

/// The files of rows in a folder whose name, without extension, fits; in order.
fn matching(folder: &Path, fits: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && FileForm::of_extension(path).is_some())
        .filter(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let name = name.unwrap_or_default();
            let name = name.strip_suffix(".gz").unwrap_or(&name);
            fits(&normal(name.rsplit_once('.').map_or(name, |(stem, _)| stem)))
        })
        .collect();
    files.sort();
    // The same rows may be there in two forms: those of the first form are taken.
    if let Some(first) = files.first().map(|file| file.extension().map(ToOwned::to_owned)) {
        files.retain(|file| file.extension().map(ToOwned::to_owned) == first);
    }
    files
}

/// The names of a split.
fn names(split: &str) -> Vec<String> {
    let mut names = vec![normal(split)];
    if split == "validation" {
        names.extend(["dev", "valid", "val"].map(str::to_owned));
    }
    names
}

/// `test`, `test_00000_of_00001`, `anything.test`.
fn is_split(stem: &str, split: &str) -> bool {
    names(split).iter().any(|name| {
        let last = stem.rsplit_once('.').map_or(stem, |(_, last)| last);
        is_or_shard(last, name)
    })
}

/// `c.test`, `c_test`, `c.test_00000_of_00001`.
fn is_split_of(stem: &str, prefix: &str, split: &str) -> bool {
    let Some(rest) = stem.strip_prefix(normal(prefix).as_str()) else { return false };
    let Some(rest) = rest.strip_prefix(['.', '_']) else { return false };
    names(split).iter().any(|name| is_or_shard(rest, name))
}

fn is_or_shard(text: &str, name: &str) -> bool {
    text.strip_prefix(name).is_some_and(|rest| {
        rest.is_empty()
            || rest
                .strip_prefix('_')
                .is_some_and(|shard| shard.starts_with(|c: char| c.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "{}").unwrap();
        }
        folder
    }

    fn found(
        files: &[&str],
        dataset: &str,
        configuration: Option<&str>,
        split: &str,
    ) -> Vec<String> {
        let root = tree(files);
        let found = in_root(root.path(), dataset, configuration, "the_task", split);
        let files = found.map(|found| found.files).unwrap_or_default();
        let relative =
            |file: &PathBuf| file.strip_prefix(root.path()).unwrap().display().to_string();
        files.iter().map(relative).collect()
    }

    #[test]
    fn layouts_of_the_hub_are_found() {
        let hub = [
            "allenai/ai2_arc/ARC-Easy/test-00000-of-00002.parquet",
            "allenai/ai2_arc/ARC-Easy/test-00001-of-00002.parquet",
            "allenai/ai2_arc/ARC-Easy/train-00000-of-00001.parquet",
            "allenai/ai2_arc/ARC-Challenge/test-00000-of-00001.parquet",
        ];
        assert_eq!(found(&hub, "allenai/ai2_arc", Some("ARC-Easy"), "test"), hub[..2]);
        assert!(found(&hub, "allenai/ai2_arc", Some("ARC-Easy"), "validation").is_empty());
        let plain = ["piqa/data/validation.jsonl", "piqa/data/train.jsonl"];
        assert_eq!(found(&plain, "baber/piqa", None, "validation"), plain[..1]);
        let glue = [
            "glue/mnli/validation_matched-00000-of-00001.parquet",
            "glue/mnli/validation_mismatched-00000-of-00001.parquet",
        ];
        assert_eq!(found(&glue, "nyu-mll/glue", Some("mnli"), "validation_matched"), glue[..1]);
        assert!(found(&glue, "nyu-mll/glue", Some("mnli"), "validation").is_empty());
    }

    #[test]
    fn single_files_are_found() {
        for file in [
            "the_task.test.jsonl",
            "ARC_Easy.test.jsonl",
            "ai2_arc.test.jsonl",
            "ai2-arc/arc-easy.test.jsonl",
            "ai2_arc/test.json",
            "ai2_arc/questions.test.json",
        ] {
            assert_eq!(found(&[file], "allenai/ai2_arc", Some("ARC-Easy"), "test"), [file]);
        }
        let nq = ["nq_open/NQ-open.dev.jsonl", "nq_open/NQ-open.efficientqa.test.1.1.jsonl"];
        assert_eq!(found(&nq, "google-research-datasets/nq_open", None, "validation"), nq[..1]);
        let adapters =
            ["LLM-Adapters/dataset/boolq/test.json", "LLM-Adapters/dataset/piqa/test.json"];
        assert_eq!(found(&adapters, "llm_adapters", Some("boolq"), "test"), adapters[..1]);
    }
}
