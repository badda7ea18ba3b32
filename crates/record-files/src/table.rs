use std::io::{BufRead, Read};
use std::{path::Path, sync::Arc};

use csv::{Reader, ReaderBuilder, StringRecord};
use serde_json::Value;

use crate::{FileRow, Origin, ReadOptions, RecordFileError, RowValue, Rows, excerpt, packing};

/// The rows of a table.
///
/// A column whose values are all integers, numbers or `true`/`false` has that type, with null for
/// empty values; any other is text, where empty stays empty.
pub(crate) fn read<V: RowValue>(
    file: &Arc<Path>,
    text: &str,
    options: &ReadOptions,
) -> Result<Vec<FileRow<V>>, RecordFileError> {
    let mut table = Table::open(file, text.as_bytes(), options)?;
    let mut records = Vec::new();
    while let Some(record) = table.next()? {
        records.push(record);
    }
    let types: Vec<ColumnType> = (0..table.names.len())
        .map(|column| ColumnType::of(records.iter().filter_map(|(_, record)| record.get(column))))
        .collect();
    let rows = records.iter().enumerate();
    Ok(rows.map(|(row, (line, record))| table.row(row, *line, record, &types)).collect())
}

/// The rows of a table whose values are all text, one at a time.
pub(crate) fn rows<V: RowValue>(
    file: &Arc<Path>,
    source: Box<dyn BufRead>,
    options: &ReadOptions,
) -> Result<Rows<V>, RecordFileError> {
    let mut table = Table::open(file, source, options)?;
    let types = vec![ColumnType::Text; table.names.len()];
    let mut next = 0;
    let mut failed = false;
    Ok(Box::new(std::iter::from_fn(move || {
        let read = if failed { None } else { table.next().transpose() }?;
        failed = read.is_err();
        let row = read.map(|(line, record)| table.row(next, line, &record, &types));
        next += 1;
        Some(row)
    })))
}

/// A table with its names read.
struct Table<R> {
    file: Arc<Path>,
    reader: Reader<R>,
    names: Vec<String>,
    /// Whether the names are not those of the first line.
    named: bool,
}

impl<R: Read> Table<R> {
    fn open(file: &Arc<Path>, source: R, options: &ReadOptions) -> Result<Self, RecordFileError> {
        let mut reader = ReaderBuilder::new()
            .delimiter(options.delimiter.unwrap_or_else(|| usual_delimiter(file)))
            .quoting(!options.no_quoting)
            .has_headers(options.column_names.is_none() && !options.headerless)
            .flexible(true)
            .from_reader(source);
        let names: Vec<String> = match &options.column_names {
            Some(names) => names.clone(),
            None => {
                let first = reader.headers().map_err(|error| wrong(file, Some(1), error))?;
                match options.headerless {
                    // Only how long the first line is is asked: it is read again as a row.
                    true => (0..first.len()).map(|column| column.to_string()).collect(),
                    false => first.iter().map(str::to_owned).collect(),
                }
            }
        };
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                let message = format!("two columns are named `{}`", excerpt(name));
                let (file, line) = (file.to_path_buf(), Some(1));
                return Err(RecordFileError::Table { file, line, message });
            }
        }
        let named = options.column_names.is_some();
        Ok(Self { file: file.clone(), reader, names, named })
    }

    /// The next record and its line.
    fn next(&mut self) -> Result<Option<(Option<u64>, StringRecord)>, RecordFileError> {
        let mut record = StringRecord::new();
        let there = self.reader.read_record(&mut record);
        if !there.map_err(|error| wrong(&self.file, None, error))? {
            return Ok(None);
        }
        let line = record.position().map(csv::Position::line);
        if record.len() != self.names.len() {
            let given = if self.named { "there are names for" } else { "the first line has" };
            let message = format!("{} values where {given} {}", record.len(), self.names.len());
            return Err(RecordFileError::Table { file: self.file.to_path_buf(), line, message });
        }
        Ok(Some((line, record)))
    }

    fn row<V: RowValue>(
        &self,
        row: usize,
        line: Option<u64>,
        record: &StringRecord,
        types: &[ColumnType],
    ) -> FileRow<V> {
        let values = self.names.iter().zip(record).zip(types);
        FileRow {
            row: values
                .map(|((name, value), kind)| (name.clone(), V::from(kind.value(value))))
                .collect(),
            origin: Origin {
                file: self.file.clone(),
                row,
                line: line.and_then(|line| usize::try_from(line).ok()),
            },
        }
    }
}

fn wrong(file: &Path, line: Option<u64>, error: csv::Error) -> RecordFileError {
    let file = file.to_owned();
    match error.kind() {
        csv::ErrorKind::Utf8 { pos, err } => {
            let before = pos.as_ref().map_or(0, csv::Position::byte);
            let offset = usize::try_from(before).unwrap_or(0) + err.valid_up_to();
            RecordFileError::NotUtf8 { file, offset }
        }
        _ => RecordFileError::Table { file, line, message: error.to_string() },
    }
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
