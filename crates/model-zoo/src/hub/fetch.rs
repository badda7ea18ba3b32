use std::env;
use std::path::PathBuf;

use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};

use super::{HubError, HubModel};

const ENDPOINT: &str = "https://huggingface.co";
/// Downloads go on after so many interruptions.
const RETRIES: usize = 3;

/// What is fetched of a repository.
pub(super) struct Wanted<'a> {
    pub(super) kind: RepoType,
    /// A file that every such repository has; it marks what is in the cache.
    pub(super) marker: &'a str,
    /// The files, of those that are listed; `None` where what is needed is not there.
    pub(super) select: &'a dyn Fn(&[String]) -> Option<Vec<String>>,
}

/// Downloads what is not in the cache, and returns the folder of the revision.
pub(super) fn fetch(model: &HubModel, wanted: &Wanted<'_>) -> Result<PathBuf, HubError> {
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let endpoint = model.endpoint.clone().or_else(|| variable("HF_ENDPOINT"));
    let endpoint = endpoint.unwrap_or_else(|| ENDPOINT.to_owned());
    let endpoint = endpoint.trim_end_matches('/');
    let folder = model.cache.clone().or_else(|| variable("HF_HUB_CACHE").map(PathBuf::from));
    let cache = folder.map_or_else(Cache::from_env, Cache::new);
    let token = model.token.clone().or_else(|| variable("HF_TOKEN")).or_else(|| cache.token());
    let revision = model.revision.as_deref().unwrap_or("main");
    let failed = |what: &str, error: ApiError| HubError::Fetch {
        name: model.name.clone(),
        revision: revision.to_owned(),
        what: what.to_owned(),
        endpoint: endpoint.to_owned(),
        message: explain(&error),
    };
    let repo =
        |revision: &str| Repo::with_revision(model.name.clone(), wanted.kind, revision.to_owned());

    let api = ApiBuilder::from_cache(cache.clone())
        .with_endpoint(endpoint.to_owned())
        .with_token(token)
        .with_retries(RETRIES)
        .with_progress(true)
        .build()
        .map_err(|error| failed("a connection", error))?;
    let info = match api.repo(repo(revision)).info() {
        Ok(info) => info,
        Err(error) => {
            let cached = cache.repo(repo(revision)).get(wanted.marker);
            let folder = cached.filter(|_| unreachable_hub(&error));
            let folder = folder.and_then(|marker| marker.parent().map(PathBuf::from));
            return folder.ok_or_else(|| failed("the list of files", error));
        }
    };
    let listed: Vec<String> = info.siblings.into_iter().map(|file| file.rfilename).collect();
    let files = (wanted.select)(&listed).ok_or_else(|| HubError::NothingUsable {
        name: model.name.clone(),
        revision: revision.to_owned(),
        what: match wanted.kind {
            RepoType::Dataset => "files of rows (parquet, json, jsonl, csv)",
            _ => {
                "`config.json` and `model*.safetensors`, nor `config.json` and \
                  `pytorch_model*.bin`"
            }
        },
    })?;
    // It becomes a part of paths.
    if info.sha.is_empty() || !info.sha.chars().all(|c| c.is_ascii_alphanumeric()) {
        let error = ApiError::InvalidHeader("sha");
        return Err(failed("the commit", error));
    }
    // By commit, so that all files are of one, whatever happens to the branch meanwhile.
    let commit = api.repo(repo(&info.sha));
    let mut folder = PathBuf::new();
    for file in files {
        let path = commit.get(&file).map_err(|error| failed(&format!("`{file}`"), error))?;
        // The folder of the revision is as many levels up as the name has parts.
        if let Some(root) = path.ancestors().nth(file.split('/').count()) {
            folder = root.to_owned();
        }
    }
    // Only now is the revision complete; found by name without the hub from now on.
    cache
        .repo(repo(revision))
        .create_ref(&info.sha)
        .map_err(|error| failed("a place in the cache", ApiError::from(error)))?;
    Ok(folder)
}

/// Whether the hub did not answer at all.
fn unreachable_hub(error: &ApiError) -> bool {
    match error {
        ApiError::RequestError(error) => !matches!(**error, ureq::Error::StatusCode(_)),
        _ => false,
    }
}

fn explain(error: &ApiError) -> String {
    let hint = match error {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(401 | 403) => {
                " (the name is wrong, or access must be asked for and HF_TOKEN set)"
            }
            ureq::Error::StatusCode(404) => " (there is no such repository or revision)",
            _ => "",
        },
        _ => "",
    };
    format!("{error}{hint}")
}
