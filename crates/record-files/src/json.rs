use std::io::{BufRead, Read};
use std::{path::Path, sync::Arc};

use indexmap::IndexMap;
use serde_json::Value;

use crate::read::without_mark;
use crate::{FileRow, OrderedValue, Origin, RecordFileError, Row, RowValue, Rows, excerpt};

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

/// The rows of JSON Lines: `head` is the first line with something on it and what is before, `source`
/// what follows.
pub(crate) fn lines<V: RowValue>(
    file: &Arc<Path>,
    head: Vec<u8>,
    source: Box<dyn BufRead>,
) -> Rows<V> {
    let mut lines = Lines { file: file.clone(), source, head, next: 0, line: 0, offset: 0 };
    let mut failed = false;
    Box::new(std::iter::from_fn(move || {
        let row = if failed { None } else { lines.row() };
        failed = matches!(row, Some(Err(_)));
        row
    }))
}

/// Where the reading of lines stands.
struct Lines {
    file: Arc<Path>,
    source: Box<dyn BufRead>,
    head: Vec<u8>,
    /// The index of the next row.
    next: usize,
    /// The lines read.
    line: usize,
    /// The bytes read.
    offset: usize,
}

impl Lines {
    fn row<V: RowValue>(&mut self) -> Option<Result<FileRow<V>, RecordFileError>> {
        loop {
            let mut bytes = std::mem::take(&mut self.head);
            if bytes.is_empty() {
                match self.source.read_until(b'\n', &mut bytes) {
                    Ok(0) => return None,
                    Ok(_) => {}
                    Err(error) => return Some(Err(RecordFileError::io(&self.file)(error))),
                }
            }
            let whole = without_mark(&bytes).trim_ascii_end();
            let line = whole.trim_ascii_start();
            // Blank lines before the first row come with it.
            let blank = whole.len() - line.len();
            let before = whole.iter().take(blank).filter(|byte| **byte == b'\n').count();
            let at = self.line + before;
            self.line += bytes.iter().filter(|byte| **byte == b'\n').count();
            let offset = self.offset;
            self.offset += bytes.len();
            if line.is_empty() {
                continue;
            }
            let row = self.parse(&bytes, line, at, offset);
            self.next += usize::from(row.is_ok());
            return Some(row);
        }
    }

    fn parse<V: RowValue>(
        &mut self,
        bytes: &[u8],
        line: &[u8],
        at: usize,
        offset: usize,
    ) -> Result<FileRow<V>, RecordFileError> {
        if let Err(error) = std::str::from_utf8(bytes) {
            let offset = offset + error.valid_up_to();
            return Err(RecordFileError::NotUtf8 { file: self.file.to_path_buf(), offset });
        }
        let text = std::str::from_utf8(line).unwrap_or_default();
        match serde_json::from_str::<Row<V>>(text) {
            Ok(row) => {
                let origin = Origin { file: self.file.clone(), row: self.next, line: Some(at + 1) };
                Ok(FileRow { row, origin })
            }
            Err(_) => Err(self.wrong_line(text, at)),
        }
    }

    fn wrong_line(&mut self, line: &str, at: usize) -> RecordFileError {
        let file = self.file.to_path_buf();
        let source = match serde_json::from_str::<Value>(line) {
            Ok(_) => {
                let place = format!("line {}", at + 1);
                return RecordFileError::NotARow { file, place, found: excerpt(line) };
            }
            Err(source) => source,
        };
        // What does not end in its first line may be one object.
        if self.next == 0 {
            let mut text = line.to_owned();
            let mut rest = String::new();
            let mut most = self.source.by_ref().take(LONGEST_OBJECT);
            if most.read_to_string(&mut rest).is_ok() {
                text += "\n";
                text += &rest;
                if let Ok(object) = parse_object(&self.file, &text) {
                    return RecordFileError::OneObject { file, keys: keys(&object) };
                }
            }
        }
        RecordFileError::Json { file, line: at + 1, source }
    }
}

/// Beyond so many bytes nobody looks whether a file is one object.
const LONGEST_OBJECT: u64 = 1 << 28;

/// The rows under a field of one object.
pub(crate) fn under<V: RowValue>(
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
