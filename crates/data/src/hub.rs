use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};
use model_zoo::{HubDataset, HubModel};

use super::{DataError, paths::is_data};

const SCHEME: &str = "hf://datasets/";

/// What a path on the hub names, as in huggingface_hub's file system:
/// `hf://datasets/organisation/name@revision/pattern`.
#[derive(Debug, PartialEq)]
struct HubPath {
    name: String,
    revision: Option<String>,
    /// Of files in the repository; without it the files of rows of its training split.
    pattern: Option<String>,
}

impl HubPath {
    fn parse(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix(SCHEME)?.splitn(3, '/');
        let (owner, repository) = (parts.next()?, parts.next().unwrap_or_default());
        let (repository, revision) = match repository.split_once('@') {
            // As in addresses, where a revision is one part of a path.
            Some((repository, revision)) => (repository, Some(revision.replace("%2F", "/"))),
            None => (repository, None),
        };
        let pattern = parts.next().map(|rest| rest.trim_end_matches('/'));
        let pattern = pattern.filter(|rest| !rest.is_empty()).map(|rest| {
            // A folder stands for the files in it.
            let last = rest.rsplit('/').next().unwrap_or(rest);
            match last.contains(['.', '*', '?', '[']) {
                true => rest.to_owned(),
                false => format!("{rest}/*"),
            }
        });
        Some(Self { name: format!("{owner}/{repository}"), revision, pattern })
    }
}

/// The files of a path on the hub, downloaded where they are not in its cache; `None` of a path here.
///
/// # Errors
/// [`DataError::Hub`] where the hub does not give them, [`DataError::Path`] where there are none.
pub(super) fn hub_files(path: &Path) -> Result<Option<Vec<PathBuf>>, DataError> {
    let Some(HubPath { name, revision, pattern }) = path.to_str().and_then(HubPath::parse) else {
        return Ok(None);
    };
    let wrong = |message: String| DataError::Path { path: path.display().to_string(), message };
    let repository = HubModel { revision, ..HubModel::new(name) };
    let dataset = HubDataset { repository, config: None };
    let files = match pattern {
        None => dataset.files("train")?,
        Some(pattern) => {
            let pattern = Pattern::new(&pattern).map_err(|error| wrong(error.to_string()))?;
            let options =
                MatchOptions { require_literal_separator: true, ..MatchOptions::default() };
            let folder = dataset.fetch_matching(&|file| pattern.matches_with(file, options))?;
            let pattern = folder.join(pattern.as_str());
            let found = glob::glob_with(&pattern.to_string_lossy(), options)
                .map_err(|error| wrong(error.to_string()))?;
            let found: Result<Vec<PathBuf>, _> = found.collect();
            found.map_err(|error| wrong(error.to_string()))?
        }
    };
    let mut files: Vec<PathBuf> = files.into_iter().filter(|file| is_data(file)).collect();
    files.sort();
    match files.is_empty() {
        true => Err(wrong(
            "no files of rows of a split `train`; name some of the repository, as in \
             `hf://datasets/organisation/name/data/*.parquet`"
                .into(),
        )),
        false => Ok(Some(files)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_repository_revision_and_files() {
        let path = |name: &str, revision: Option<&str>, pattern: Option<&str>| {
            let [revision, pattern] = [revision, pattern].map(|part| part.map(str::to_owned));
            Some(HubPath { name: name.into(), revision, pattern })
        };
        assert_eq!(HubPath::parse("data/a.json"), None);
        assert_eq!(HubPath::parse("hf://datasets/a/b"), path("a/b", None, None));
        assert_eq!(HubPath::parse("hf://datasets/a/b@v1/"), path("a/b", Some("v1"), None));
        assert_eq!(
            HubPath::parse("hf://datasets/a/b@refs%2Fconvert%2Fparquet/main/train"),
            path("a/b", Some("refs/convert/parquet"), Some("main/train/*"))
        );
        assert_eq!(
            HubPath::parse("hf://datasets/a/b/**/*.jsonl.gz"),
            path("a/b", None, Some("**/*.jsonl.gz"))
        );
    }

    #[test]
    fn what_is_no_name_or_needs_the_hub_says_so() {
        let error = |path: &str| hub_files(Path::new(path)).unwrap_err().to_string();
        assert!(error("hf://datasets/a").contains("form `organisation/name`"));
        #[cfg(not(feature = "hub"))]
        assert!(error("hf://datasets/a/b").contains("without the feature `hub`"));
        assert!(hub_files(Path::new("a/b")).unwrap().is_none());
    }
}
