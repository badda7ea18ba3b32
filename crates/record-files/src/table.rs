use std::{path::Path, sync::Arc};

use csv::{ReaderBuilder, StringRecord};
use serde_json::Value;

use crate::{FileRow, Origin, ReadOptions, RecordFileError, RowValue, excerpt, packing};

/// The rows of a table.
///
/// A column whose values are all integers, numbers or `true`/`false` has that type, with null for
/// empty values; any other is text, where empty stays empty. With `untyped` all are text.
pub(crate) fn read<V: RowValue>(
    file: &Arc<Path>,
    text: &str,
    options: &ReadOptions,
) -> Result<Vec<FileRow<V>>, RecordFileError> {
    let wrong = |line, message| RecordFileError::Table { file: file.to_path_buf(), line, message };
    let mut reader = ReaderBuilder::new()
        .delimiter(options.delimiter.unwrap_or_else(|| usual_delimiter(file)))
        .quoting(!options.no_quoting)
        .has_headers(options.column_names.is_none() && !options.headerless)
        .flexible(true)
        .from_reader(text.as_bytes());
    let names: Vec<String> = match &options.column_names {
        Some(names) => names.clone(),
        None if options.headerless => {
            // Only what the first line looks like is asked: it is read again as a row.
            let first = reader.headers().map_err(|error| wrong(Some(1), error.to_string()))?;
            (0..first.len()).map(|column| column.to_string()).collect()
        }
        None => {
            let header = reader.headers().map_err(|error| wrong(Some(1), error.to_string()))?;
            header.iter().map(str::to_owned).collect()
        }
    };
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            return Err(wrong(Some(1), format!("two columns are named `{}`", excerpt(name))));
        }
    }
    let mut records: Vec<(Option<u64>, StringRecord)> = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| wrong(None, error.to_string()))?;
        let line = record.position().map(csv::Position::line);
        if record.len() != names.len() {
            let given = if options.column_names.is_some() {
                "there are names for"
            } else {
                "the first line has"
            };
            let message = format!("{} values where {given} {}", record.len(), names.len());
            return Err(wrong(line, message));
        }
        records.push((line, record));
    }
    let types: Vec<ColumnType> = (0..names.len())
        .map(|column| match options.untyped {
            true => ColumnType::Text,
            false => ColumnType::of(records.iter().filter_map(|(_, record)| record.get(column))),
        })
        .collect();
    let rows = records.iter().enumerate().map(|(row, (line, record))| FileRow {
        row: names
            .iter()
            .zip(record.iter())
            .zip(&types)
            .map(|((name, value), kind)| (name.clone(), V::from(kind.value(value))))
            .collect(),
        origin: Origin {
            file: file.clone(),
            row,
            line: line.and_then(|line| usize::try_from(line).ok()),
        },
    });
    Ok(rows.collect())
}

fn usual_delimiter(path: &Path) -> u8 {
    let name = path.to_string_lossy().to_ascii_lowercase();
    if packing::unpacked(&name).ends_with(".tsv") { b'\t' } else { b',' }
}

/// The type that all values of a column have.
#[derive(Clone, Copy, PartialEq)]
enum ColumnType {
    Integer,
    Number,
    Boolean,
    Text,
}

impl ColumnType {
    fn of<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let values: Vec<&str> = values.filter(|value| !value.is_empty()).collect();
        let all = |is: fn(&str) -> bool| !values.is_empty() && values.iter().all(|value| is(value));
        if all(|value| value.parse::<i64>().is_ok()) {
            Self::Integer
        } else if all(|value| value.parse::<f64>().is_ok_and(f64::is_finite)) {
            Self::Number
        } else if all(|value| boolean(value).is_some()) {
            Self::Boolean
        } else {
            Self::Text
        }
    }

    fn value(self, text: &str) -> Value {
        match self {
            Self::Text => text.into(),
            Self::Integer => text.parse::<i64>().map_or(Value::Null, Value::from),
            Self::Number => text.parse::<f64>().map_or(Value::Null, Value::from),
            Self::Boolean => boolean(text).map_or(Value::Null, Value::from),
        }
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}
