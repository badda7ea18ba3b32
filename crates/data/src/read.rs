use std::{fs, path::Path, sync::Arc};

use serde_json::Value;

use super::{DataError, DataFile, Origin, Record};

/// Reads the records of several files, in the order given.
///
/// A file that starts with `[` is a JSON array of objects, one that starts with `{` is JSON Lines;
/// the extension is not looked at. A byte order mark and blank lines are skipped. The shapes a
/// record can have are those of [`RecordContent`](super::RecordContent).
///
/// # Errors
/// Names the file and the line or index of the first record that cannot be read; a file without
/// records is an error too.
pub fn read_records(files: &[DataFile]) -> Result<Vec<Record>, DataError> {
    if files.is_empty() {
        return Err(DataError::NoRecords("an empty list of files".into()));
    }
    let mut records = Vec::new();
    for file in files {
        let before = records.len();
        read_file(file, &mut records)?;
        if records.len() == before {
            return Err(DataError::NoRecords(format!("`{}`", file.path.display())));
        }
    }
    Ok(records)
}

fn read_file(file: &DataFile, records: &mut Vec<Record>) -> Result<(), DataError> {
    let path = &file.path;
    let bytes = fs::read(path).map_err(|source| DataError::Io { file: path.clone(), source })?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| DataError::NotUtf8 { file: path.clone(), offset: error.valid_up_to() })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let shared: Arc<Path> = Arc::from(path.as_path());
    match text.trim_start().chars().next() {
        None => Ok(()),
        Some('[') => {
            let values: Vec<Value> = parse(text, path, 0)?;
            for (record, value) in values.iter().enumerate() {
                let origin = Origin { file: shared.clone(), record, line: None };
                records.push(Record::from_json(value, file.task_type, origin)?);
            }
            Ok(())
        }
        Some('{') => {
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            for (record, (index, line)) in lines.enumerate() {
                let value: Value = parse(line, path, index)?;
                let origin = Origin { file: shared.clone(), record, line: Some(index + 1) };
                records.push(Record::from_json(&value, file.task_type, origin)?);
            }
            Ok(())
        }
        Some(_) => Err(DataError::NotJson {
            file: path.clone(),
            found: text.trim_start().chars().take(20).collect(),
        }),
    }
}

/// Parses `text`, which begins `lines_before` lines into the file.
fn parse<T: serde::de::DeserializeOwned>(
    text: &str,
    path: &Path,
    lines_before: usize,
) -> Result<T, DataError> {
    serde_json::from_str(text).map_err(|source| DataError::Json {
        file: path.to_path_buf(),
        line: lines_before + source.line().max(1),
        source,
    })
}
