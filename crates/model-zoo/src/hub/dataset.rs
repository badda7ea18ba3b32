use std::path::{Path, PathBuf};

use super::{HubError, HubModel, is_name};

/// A data set on the Hugging Face hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubDataset {
    /// Where it is.
    pub repository: HubModel,
    /// The configuration, as `ARC-Easy` of `allenai/ai2_arc`.
    pub config: Option<String>,
}

impl HubDataset {
    /// The newest revision of a data set, as the environment says.
    pub fn new(name: impl Into<String>, config: Option<String>) -> Self {
        Self { repository: HubModel::new(name), config }
    }

    /// Downloads the files of rows that are not in the cache, and returns the folder of the
    /// revision.
    ///
    /// # Errors
    ///
    /// [`HubError`] when the name cannot be one, the hub does not give the files, or this program
    /// was built without the feature `hub`.
    pub fn fetch(&self) -> Result<PathBuf, HubError> {
        let name = &self.repository.name;
        if !is_name(name) {
            return Err(HubError::Name { name: name.clone() });
        }
        #[cfg(feature = "hub")]
        return super::fetch::fetch(
            &self.repository,
            &super::fetch::Wanted {
                kind: hf_hub::RepoType::Dataset,
                marker: "README.md",
                select: &|listed| needed(listed, self.config.as_deref()),
            },
        );
        #[cfg(not(feature = "hub"))]
        Err(HubError::NotBuilt { name: name.clone() })
    }

    /// As [`fetch`](Self::fetch), of the files whose paths in the repository are wanted.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Self::fetch).
    pub fn fetch_matching(&self, wanted: &dyn Fn(&str) -> bool) -> Result<PathBuf, HubError> {
        let name = &self.repository.name;
        if !is_name(name) {
            return Err(HubError::Name { name: name.clone() });
        }
        #[cfg(feature = "hub")]
        return super::fetch::fetch(
            &self.repository,
            &super::fetch::Wanted {
                kind: hf_hub::RepoType::Dataset,
                marker: "README.md",
                select: &|listed| matching(listed, wanted),
            },
        );
        #[cfg(not(feature = "hub"))]
        {
            let _ = wanted;
            Err(HubError::NotBuilt { name: name.clone() })
        }
    }

    /// The files of rows of a split, downloaded where they are not in the cache; in order.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Self::fetch).
    pub fn files(&self, split: &str) -> Result<Vec<PathBuf>, HubError> {
        let folder = self.fetch()?;
        let mut files = Vec::new();
        collect(&folder, &mut files)
            .map_err(|error| HubError::Cache { path: folder.clone(), error })?;
        let config = self.config.as_deref();
        files.retain(|file| belongs(file.strip_prefix(&folder).unwrap_or(file), config, split));
        files.sort();
        Ok(files)
    }
}

/// The files whose paths are wanted. `README.md` marks the revision.
#[cfg_attr(not(feature = "hub"), allow(dead_code))]
fn matching(listed: &[String], wanted: &dyn Fn(&str) -> bool) -> Option<Vec<String>> {
    let chosen: Vec<&String> = listed.iter().filter(|name| wanted(name)).collect();
    let marker = listed.iter().filter(|name| *name == "README.md" && !wanted(name));
    (!chosen.is_empty()).then(|| marker.chain(chosen).cloned().collect())
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

/// The files of rows of a configuration: those in the folder of its name, else those named after
/// it, else all. `README.md` marks the revision.
#[cfg_attr(not(feature = "hub"), allow(dead_code))]
fn needed(listed: &[String], config: Option<&str>) -> Option<Vec<String>> {
    let kinds = [".parquet", ".json", ".jsonl", ".csv", ".tsv", ".arrow", ".txt"];
    // Parquet first: where it is, other files hold the same rows or descriptions of them.
    let of_kinds = |kinds: &[&str]| -> Vec<&String> {
        let hidden = |name: &str| name.split('/').any(|part| part.starts_with('.'));
        let rows = |name: &&String| kinds.iter().any(|kind| name.ends_with(kind)) && !hidden(name);
        listed.iter().filter(rows).collect()
    };
    let parquet = of_kinds(&kinds[..1]);
    let rows = if parquet.is_empty() { of_kinds(&kinds[1..]) } else { parquet };
    let in_folder = |name: &str, config: &str| name.split('/').any(|part| part == config);
    let named = |name: &str, config: &str| {
        name.rsplit('/').next().is_some_and(|file| file.starts_with(config))
    };
    let of_config = |test: &dyn Fn(&str, &str) -> bool| -> Vec<&String> {
        let belongs = |name: &&&String| config.is_some_and(|config| test(name.as_str(), config));
        rows.iter().filter(belongs).copied().collect()
    };
    let chosen = [of_config(&in_folder), of_config(&named), rows.clone()];
    let chosen = chosen.into_iter().find(|files| !files.is_empty())?;
    let marker = listed.iter().filter(|name| *name == "README.md");
    Some(marker.chain(chosen).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(listed: &[&str], config: Option<&str>) -> Option<Vec<String>> {
        let listed: Vec<_> = listed.iter().map(|name| (*name).to_owned()).collect();
        needed(&listed, config)
    }

    #[test]
    fn the_rows_of_one_configuration_are_chosen() {
        let arc = [
            "README.md",
            "ARC-Challenge/test-00000-of-00001.parquet",
            "ARC-Easy/test-00000-of-00001.parquet",
            "ARC-Easy/train-00000-of-00001.parquet",
            "dataset_infos.json",
        ];
        assert_eq!(files(&arc, Some("ARC-Easy")).unwrap(), [arc[0], arc[2], arc[3]]);
        let plain = [".gitattributes", "README.md", "data/train.jsonl", "data/test.jsonl"];
        assert_eq!(files(&plain, None).unwrap(), plain[1..]);
        let named = ["main-train.jsonl", "socratic-train.jsonl"];
        assert_eq!(files(&named, Some("main")).unwrap(), named[..1]);
        assert_eq!(files(&["README.md", "script.py"], None), None);
    }

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

    #[test]
    fn files_are_chosen_by_their_paths() {
        let listed = ["README.md", "a/b.json", "c.csv"].map(str::to_owned);
        let wanted = |name: &str| name.starts_with("a/");
        assert_eq!(matching(&listed, &wanted).unwrap(), ["README.md", "a/b.json"]);
        assert_eq!(matching(&listed, &|name| name == "d"), None);
    }
}
