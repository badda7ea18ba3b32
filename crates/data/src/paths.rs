use std::path::{Path, PathBuf};

use record_files::FileForm;

use super::{DataError, hub::hub_files, saved::saved_files};

/// The files that a path of data stands for, in alphabetical order: the path itself, the data files
/// in a folder (not those in folders below, nor hidden ones), or what a pattern with `*`, `?`,
/// `[…]` or `**` matches. A folder that `save_to_disk` of the `datasets` library wrote stands for the
/// files that its `state.json` names, in that order. `hf://datasets/organisation/name`, with or without
/// `@revision` and a pattern behind it, stands for files of a data set on the hub, which are downloaded.
///
/// # Errors
/// [`DataError::Path`] for a pattern that is none, or where nothing is found. A path without a
/// pattern need not exist: reading it will say so.
pub fn paths(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let wrong = |message: String| DataError::Path { path: path.display().to_string(), message };
    if let Some(files) = hub_files(path)? {
        return Ok(files);
    }
    if let Some(saved) = saved_files(path)? {
        return Ok(saved);
    }
    let mut found = if path.is_dir() {
        let entries = path.read_dir().map_err(|error| wrong(error.to_string()))?;
        let entries: Result<Vec<_>, _> = entries.collect();
        let entries = entries.map_err(|error| wrong(error.to_string()))?;
        entries.into_iter().map(|entry| entry.path()).filter(|path| is_data(path)).collect()
    } else {
        match path.to_str().filter(|text| text.contains(['*', '?', '[']) && !path.exists()) {
            None => return Ok(vec![path.to_owned()]),
            Some(pattern) => {
                let paths = glob::glob(pattern).map_err(|error| wrong(error.to_string()))?;
                let paths: Result<Vec<PathBuf>, _> = paths.collect();
                let mut paths = paths.map_err(|error| wrong(error.to_string()))?;
                paths.retain(|path| path.is_file());
                paths
            }
        }
    };
    if found.is_empty() {
        let what = if path.is_dir() { "the folder holds no data file" } else { "no file matches" };
        let message =
            format!("{what} (.json, .jsonl, .csv, .tsv, .parquet, .arrow, and packed: .gz, .zst)");
        return Err(wrong(message));
    }
    found.sort();
    Ok(found)
}

/// Whether a path is a file of rows by its name, and is there.
pub(super) fn is_data(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    let form = FileForm::of_extension(path);
    !hidden && path.is_file() && !matches!(form, None | Some(FileForm::Text))
}
