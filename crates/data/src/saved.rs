use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::DataError;

/// What the `datasets` library writes beside the files of a data set.
#[derive(Deserialize)]
struct State {
    #[serde(rename = "_data_files")]
    files: Vec<File>,
    /// Of its first versions: which rows of the files are meant.
    #[serde(default, rename = "_indices_data_files")]
    indices: Option<Vec<File>>,
}

#[derive(Deserialize)]
struct File {
    filename: PathBuf,
}

/// What it writes beside the folders of several splits.
#[derive(Deserialize)]
struct Splits {
    splits: Vec<String>,
}

/// The files of a folder that `save_to_disk` of the `datasets` library wrote, in their order; `None`
/// of other folders and of what is none.
///
/// # Errors
/// [`DataError::Path`] for a folder of several splits, of which one has to be named, and for what
/// describes a folder wrongly.
pub(super) fn saved_files(folder: &Path) -> Result<Option<Vec<PathBuf>>, DataError> {
    let wrong = |message: String| DataError::Path { path: folder.display().to_string(), message };
    let read = |name: &str| -> Result<Option<String>, DataError> {
        match folder.join(name) {
            path if path.is_file() => std::fs::read_to_string(path)
                .map(Some)
                .map_err(|error| wrong(format!("cannot read {name}: {error}"))),
            _ => Ok(None),
        }
    };
    let not_json = |name: &str, error: serde_json::Error| wrong(format!("{name}: {error}"));
    if let Some(text) = read("dataset_dict.json")? {
        let Splits { splits } =
            serde_json::from_str(&text).map_err(|error| not_json("dataset_dict.json", error))?;
        let splits: Vec<String> =
            splits.iter().map(|split| format!("`{}`", folder.join(split).display())).collect();
        let message = format!("holds several splits; name one of {}", splits.join(", "));
        return Err(wrong(message));
    }
    if !folder.join("dataset_info.json").is_file() {
        return Ok(None);
    }
    let Some(text) = read("state.json")? else { return Ok(None) };
    let State { files, indices } =
        serde_json::from_str(&text).map_err(|error| not_json("state.json", error))?;
    if indices.is_some_and(|indices| !indices.is_empty()) {
        let message = "holds a choice of rows beside them; save it again with a newer `datasets`";
        return Err(wrong(message.into()));
    }
    match files.is_empty() {
        true => Err(wrong("state.json names no file".into())),
        false => Ok(Some(files.into_iter().map(|file| folder.join(file.filename)).collect())),
    }
}
