use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use data::{DataFile, EncodeConfig, SampleStore, paths, store_samples};
use model_zoo::TextTokenizer;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::train::TrainError;

/// The version of what encoding makes of the same input.
const ENCODING: u32 = 1;

/// The samples of files, from a folder of stores where they are there already, and put there
/// otherwise.
pub(super) fn cached(
    folder: &Path,
    files: &[DataFile],
    tokenizer: &TextTokenizer,
    config: &EncodeConfig,
    progress: &dyn Fn(usize),
) -> Result<SampleStore, TrainError> {
    std::fs::create_dir_all(folder).map_err(TrainError::io(folder))?;
    let made_of = made_of(files, tokenizer, config)?;
    let store = folder.join(format!("samples-{}", &hash([made_of.to_string()])[..24]));
    match SampleStore::open(&store)? {
        Some(samples) => Ok(samples),
        None => Ok(store_samples(&store, files, tokenizer, config, made_of, progress)?),
    }
}

/// All that changes the samples of files: these, by path, size and time of change; how they are read
/// and encoded; the tokenizer with its templates; the version of this program.
fn made_of(
    files: &[DataFile],
    tokenizer: &TextTokenizer,
    config: &EncodeConfig,
) -> Result<Value, TrainError> {
    let files: Result<Vec<_>, TrainError> = files.iter().map(file_state).collect();
    let saved = tempfile::tempdir().map_err(TrainError::io(&std::env::temp_dir()))?;
    tokenizer.save(saved.path())?;
    let mut parts = Vec::new();
    let mut dated = false;
    for entry in sorted(saved.path()).map_err(TrainError::io(saved.path()))? {
        let text = std::fs::read_to_string(&entry).map_err(TrainError::io(&entry))?;
        dated |= text.contains("strftime_now");
        parts.push(entry.file_name().unwrap_or_default().to_string_lossy().into_owned());
        parts.push(text);
    }
    let mut made_of = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "encoding_version": ENCODING,
        "encoding": config,
        "tokenizer": hash(parts),
        "files": files?,
    });
    // A template that writes the date makes other samples every day.
    if dated {
        let today = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() / 86_400);
        made_of["days_since_1970"] = today.into();
    }
    Ok(made_of)
}

fn sorted(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries: Result<Vec<_>, _> =
        folder.read_dir()?.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut entries = entries?;
    entries.sort();
    Ok(entries)
}

/// An entry of the data and the state of its files.
fn file_state(file: &DataFile) -> Result<Value, TrainError> {
    // Which share an entry has does not change its samples.
    let entry = DataFile { weight: None, ..file.clone() };
    let mut states = Vec::new();
    for path in paths(&file.path)? {
        let state = path.metadata().map_err(TrainError::io(&path))?;
        let changed = state.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let path = path.canonicalize().map_err(TrainError::io(&path))?;
        states.push(json!({
            "path": path.display().to_string(),
            "bytes": state.len(),
            "changed_ns": changed.map(|time| time.as_nanos().to_string()),
        }));
    }
    Ok(json!({ "entry": entry, "files": states }))
}

fn hash(parts: impl IntoIterator<Item = String>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
