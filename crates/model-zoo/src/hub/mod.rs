//! Models and data sets by name from the Hugging Face hub.

mod dataset;
mod error;
#[cfg(feature = "hub")]
mod fetch;
mod files;

use std::path::{Path, PathBuf};

pub use dataset::HubDataset;
pub use error::HubError;

/// A model on the Hugging Face hub.
///
/// What is `None` comes from the environment variables and files that Python's `huggingface_hub`
/// uses too, and files are cached where it caches them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubModel {
    /// `organisation/name`.
    pub name: String,
    /// A branch, a tag or a commit; `None` for `main`.
    pub revision: Option<String>,
    /// The address of the hub; `None` for `HF_ENDPOINT`, or `https://huggingface.co`.
    pub endpoint: Option<String>,
    /// The folder of the cache; `None` for `HF_HUB_CACHE`, `HF_HOME/hub`, or
    /// `~/.cache/huggingface/hub`.
    pub cache: Option<PathBuf>,
    /// The access token; `None` for `HF_TOKEN`, or what `hf auth login` stored.
    pub token: Option<String>,
}

impl HubModel {
    /// The newest revision of a model, as the environment says.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), revision: None, endpoint: None, cache: None, token: None }
    }

    /// Downloads what is not in the cache (configuration, tokenizer, weights), and returns the
    /// folder. Where the hub does not answer, what is in the cache must do.
    ///
    /// # Errors
    ///
    /// [`HubError`] when the name cannot be one, the hub does not give the files, or this program
    /// was built without the feature `hub`.
    pub fn fetch(&self) -> Result<PathBuf, HubError> {
        if !is_name(&self.name) {
            return Err(HubError::Name { name: self.name.clone() });
        }
        #[cfg(feature = "hub")]
        return fetch::fetch(
            self,
            &fetch::Wanted {
                kind: hf_hub::RepoType::Model,
                marker: "config.json",
                select: &|listed| files::needed(listed),
            },
        );
        #[cfg(not(feature = "hub"))]
        Err(HubError::NotBuilt { name: self.name.clone() })
    }
}

/// The folder of a model that is given as a folder or as `organisation/name` on the hub: what
/// exists here comes first.
///
/// # Errors
///
/// As [`HubModel::fetch`]; [`HubError::NoModel`] where a folder holds no model. What cannot be a name
/// is taken for a folder.
pub fn resolve_model(model: &Path, revision: Option<&str>) -> Result<PathBuf, HubError> {
    match model.to_str().filter(|name| is_name(name) && !model.exists()) {
        Some(name) => {
            let revision = revision.map(str::to_owned);
            HubModel { revision, ..HubModel::new(name) }.fetch()
        }
        None => {
            let no_model = |what| HubError::NoModel { path: model.to_owned(), what };
            let holds = |name: &str| model.join(name).is_file();
            match () {
                () if holds("config.json") => Ok(model.to_owned()),
                () if !model.exists() => Err(no_model(
                    "there is no such folder, and this is no `organisation/name` on the hub",
                )),
                () if holds("adapter_config.json") => Err(no_model(
                    "is the folder of an adapter, not of a model; give it as the adapter, and its \
                     base model as the model",
                )),
                () => Err(no_model("is not the folder of a model: it has no config.json")),
            }
        }
    }
}

/// Whether a text has the form `organisation/name`.
fn is_name(text: &str) -> bool {
    let part = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && !part.starts_with(['.', '-']) && part.chars().all(allowed)
    };
    text.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_an_organisation_and_are_no_paths() {
        for name in ["org/model", "meta-llama/Llama-3.2-1B", "a_b/c.d"] {
            assert!(is_name(name), "{name}");
        }
        for path in ["model", "./model", "../model", "/model", "a/b/c", "a/", "a b/c", "a/..", ""] {
            assert!(!is_name(path), "{path}");
        }
    }

    #[test]
    fn folders_come_before_names() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        assert_eq!(resolve_model(folder.path(), None).unwrap(), folder.path());
        for (path, what) in [("src/hub", "no config.json"), ("nowhere", "no such folder")] {
            let error = resolve_model(Path::new(path), None).unwrap_err().to_string();
            assert!(error.starts_with(path) && error.contains(what), "{error}");
        }
    }
}
