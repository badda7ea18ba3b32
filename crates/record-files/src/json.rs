use std::{path::Path, sync::Arc};

use indexmap::IndexMap;
use serde_json::Value;

use crate::{FileRow, OrderedValue, Origin, RecordFileError, Row, RowValue, excerpt};

/// The rows of a JSON array.
pub(crate) fn array<V: RowValue>(
    file: &Arc<Path>,
    text: &str,
) -> Result<Vec<FileRow<V>>, RecordFileError> {
    match serde_json::from_str::<Vec<Row<V>>>(text) {
        Ok(rows) => Ok(with_origins(file, rows)),
        // An error of types would quote what it found, of any length.
        Err(_) => Err(match serde_json::from_str::<Vec<Value>>(text) {
            Ok(values) => not_a_row(file, values.iter().map(Value::is_object), |at| {
                values.get(at).map(Value::to_string)
            }),
            Err(source) => {
                RecordFileError::Json { file: file.to_path_buf(), line: source.line(), source }
            }
        }),
    }
}

/// The rows of JSON Lines, or those under a field of one object.
pub(crate) fn objects<V: RowValue>(
    file: &Arc<Path>,
    text: &str,
    field: Option<&str>,
) -> Result<Vec<FileRow<V>>, RecordFileError> {
    if let Some(field) = field {
        return under(file, text, field);
    }
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let row = match serde_json::from_str::<Row<V>>(line) {
            Ok(row) => row,
            Err(_) => return Err(wrong_line(file, text, index, line)),
        };
        let origin = Origin { file: file.clone(), row: rows.len(), line: Some(index + 1) };
        rows.push(FileRow { row, origin });
    }
    Ok(rows)
}

fn under<V: RowValue>(
    file: &Arc<Path>,
    text: &str,
    field: &str,
) -> Result<Vec<FileRow<V>>, RecordFileError> {
    let mut object = parse_object(file, text)?;
    let Some(OrderedValue::Array(values)) = object.get_mut(field).map(std::mem::take) else {
        let (file, field) = (file.to_path_buf(), field.to_owned());
        return Err(RecordFileError::NoField { file, field, keys: keys(&object) });
    };
    if values.iter().any(|value| value.as_object().is_none()) {
        let are_rows = values.iter().map(|value| value.as_object().is_some());
        let found = |at: usize| serde_json::to_string(values.get(at)?).ok();
        return Err(not_a_row(file, are_rows, found));
    }
    let rows = values.into_iter().filter_map(|value| match value {
        OrderedValue::Object(fields) => {
            Some(fields.into_iter().map(|(key, value)| (key, V::from(value))).collect())
        }
        _ => None,
    });
    Ok(with_origins(file, rows.collect()))
}

fn parse_object(
    file: &Arc<Path>,
    text: &str,
) -> Result<IndexMap<String, OrderedValue>, RecordFileError> {
    let row: Row<OrderedValue> = serde_json::from_str(text).map_err(|source| {
        RecordFileError::Json { file: file.to_path_buf(), line: source.line(), source }
    })?;
    Ok(row.into_values())
}

fn wrong_line(file: &Arc<Path>, text: &str, index: usize, line: &str) -> RecordFileError {
    let source = match serde_json::from_str::<Value>(line) {
        Ok(_) => {
            let (file, place) = (file.to_path_buf(), format!("line {}", index + 1));
            return RecordFileError::NotARow { file, place, found: excerpt(line) };
        }
        Err(source) => source,
    };
    if let Ok(object) = parse_object(file, text) {
        return RecordFileError::OneObject { file: file.to_path_buf(), keys: keys(&object) };
    }
    RecordFileError::Json { file: file.to_path_buf(), line: index + 1, source }
}

/// The first that is no row, with what stands there.
fn not_a_row(
    file: &Arc<Path>,
    mut are_rows: impl Iterator<Item = bool>,
    found: impl Fn(usize) -> Option<String>,
) -> RecordFileError {
    let index = are_rows.position(|is_row| !is_row).unwrap_or(0);
    RecordFileError::NotARow {
        file: file.to_path_buf(),
        place: format!("index {index}"),
        found: excerpt(&found(index).unwrap_or_default()),
    }
}

fn with_origins<V>(file: &Arc<Path>, rows: Vec<Row<V>>) -> Vec<FileRow<V>> {
    let number = |(index, row)| FileRow {
        row,
        origin: Origin { file: file.clone(), row: index, line: None },
    };
    rows.into_iter().enumerate().map(number).collect()
}

fn keys(object: &IndexMap<String, OrderedValue>) -> String {
    let keys: Vec<String> =
        object.keys().take(8).map(|key| format!("`{}`", excerpt(key))).collect();
    keys.join(", ")
}
