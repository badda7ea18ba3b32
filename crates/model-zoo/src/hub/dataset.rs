use std::path::PathBuf;

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
}
