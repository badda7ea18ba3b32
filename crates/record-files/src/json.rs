use std::{path::Path, sync::Arc};

use indexmap::IndexMap;
use serde_json::Value;

use crate::{FileRow, Origin, RecordFileError, Row, excerpt};

/// The rows of a JSON array.
pub(crate) fn array(file: &Arc<Path>, text: &str) -> Result<Vec<FileRow>, RecordFileError> {
    match serde_json::from_str::<Vec<Row>>(text) {
        Ok(rows) => Ok(with_origins(file, rows)),
        Err(source) => Err(match serde_json::from_str::<Vec<Value>>(text) {
            Ok(values) => not_a_row(file, &values),
            Err(_) => {
                RecordFileError::Json { file: file.to_path_buf(), line: source.line(), source }
            }
        }),
    }
}

/// The rows of JSON Lines, or those under a field of one object.
pub(crate) fn objects(
    file: &Arc<Path>,
    text: &str,
    field: Option<&str>,
) -> Result<Vec<FileRow>, RecordFileError> {
    if let Some(field) = field {
        return under(file, text, field);
    }
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let row = match serde_json::from_str::<Row>(line) {
            Ok(row) => row,
            Err(source) => return Err(wrong_line(file, text, index, line, source)),
        };
        let origin = Origin { file: file.clone(), row: rows.len(), line: Some(index + 1) };
        rows.push(FileRow { row, origin });
    }
    Ok(rows)
}

fn under(file: &Arc<Path>, text: &str, field: &str) -> Result<Vec<FileRow>, RecordFileError> {
    let object: IndexMap<String, Value> = parse_object(file, text)?;
    let Some(Value::Array(values)) = object.get(field) else {
        let (file, field) = (file.to_path_buf(), field.to_owned());
        return Err(RecordFileError::NoField { file, field, keys: keys(&object) });
    };
    let rows = values.iter().map(|value| serde_json::from_value::<Row>(value.clone()));
    match rows.collect() {
        Ok(rows) => Ok(with_origins(file, rows)),
        Err(_) => Err(not_a_row(file, values)),
    }
}

fn parse_object(file: &Arc<Path>, text: &str) -> Result<IndexMap<String, Value>, RecordFileError> {
    // `Row` reads an object in order; what its values are does not matter to it.
    let row: Row = serde_json::from_str(text).map_err(|source| RecordFileError::Json {
        file: file.to_path_buf(),
        line: source.line(),
        source,
    })?;
    Ok(row.iter().map(|(key, value)| (key.to_owned(), value.clone())).collect())
}

fn wrong_line(
    file: &Arc<Path>,
    text: &str,
    index: usize,
    line: &str,
    source: serde_json::Error,
) -> RecordFileError {
    if serde_json::from_str::<Value>(line).is_ok() {
        let place = format!("line {}", index + 1);
        return RecordFileError::NotARow { file: file.to_path_buf(), place, found: excerpt(line) };
    }
    if let Ok(object) = parse_object(file, text) {
        return RecordFileError::OneObject { file: file.to_path_buf(), keys: keys(&object) };
    }
    RecordFileError::Json { file: file.to_path_buf(), line: index + 1, source }
}

fn not_a_row(file: &Arc<Path>, values: &[Value]) -> RecordFileError {
    let index = values.iter().position(|value| !value.is_object()).unwrap_or(0);
    RecordFileError::NotARow {
        file: file.to_path_buf(),
        place: format!("index {index}"),
        found: excerpt(&values.get(index).map(Value::to_string).unwrap_or_default()),
    }
}

fn with_origins(file: &Arc<Path>, rows: Vec<Row>) -> Vec<FileRow> {
    let number = |(index, row)| FileRow {
        row,
        origin: Origin { file: file.clone(), row: index, line: None },
    };
    rows.into_iter().enumerate().map(number).collect()
}

fn keys(object: &IndexMap<String, Value>) -> String {
    let keys: Vec<String> =
        object.keys().take(8).map(|key| format!("`{}`", excerpt(key))).collect();
    keys.join(", ")
}
