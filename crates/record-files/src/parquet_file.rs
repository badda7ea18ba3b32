use std::{path::Path, sync::Arc};

use crate::{RecordFileError, RowValue, Rows};

#[cfg(not(feature = "parquet"))]
pub(crate) fn rows<V: RowValue>(
    file: &Arc<Path>,
    _: Option<Vec<u8>>,
) -> Result<Rows<V>, RecordFileError> {
    Err(RecordFileError::NeedsFeature { file: file.to_path_buf(), feature: "parquet" })
}

#[cfg(feature = "parquet")]
pub(crate) use with_parquet::rows;

#[cfg(feature = "parquet")]
mod with_parquet {
    use std::fs::File;

    use bytes::Bytes;
    use indexmap::IndexMap;
    use parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
    use parquet::record::{Field, Row as ParquetRow, reader::RowIter};
    use serde_json::{Number, Value};

    use super::*;
    use crate::foreign::caught;
    use crate::parquet_pages::Checked;
    use crate::parquet_source::Pages;
    use crate::{FileRow, OrderedValue, Origin, Row};

    /// The rows of a file, or of the bytes of one that was packed.
    pub(crate) fn rows<V: RowValue>(
        file: &Arc<Path>,
        bytes: Option<Vec<u8>>,
    ) -> Result<Rows<V>, RecordFileError> {
        let reader: Box<dyn FileReader> = match bytes {
            Some(bytes) => open(file, Bytes::from(bytes))?,
            None => open(file, File::open(file).map_err(RecordFileError::io(file))?)?,
        };
        let mut rows = RowIter::from_file_into(reader);
        let file = file.clone();
        let mut next = 0;
        let mut failed = false;
        Ok(Box::new(std::iter::from_fn(move || {
            if failed {
                return None;
            }
            let read = caught(
                |message| wrong(&file, message),
                || {
                    let row = rows.next().transpose().map_err(|error| wrong(&file, error))?;
                    row.map(|row| values(&file, next, &row)).transpose()
                },
            );
            let row = read.transpose()?;
            failed = row.is_err();
            let origin = Origin { file: file.clone(), row: next, line: None };
            next += 1;
            Some(row.map(|row| FileRow { row, origin }))
        })))
    }

    fn open<R: ChunkReader + 'static>(
        file: &Path,
        source: R,
    ) -> Result<Box<dyn FileReader>, RecordFileError> {
        caught(
            |message| wrong(file, message),
            || {
                let reader =
                    SerializedFileReader::new(Pages(source)).map_err(|error| wrong(file, error))?;
                Ok(Box::new(Checked(reader)) as Box<dyn FileReader>)
            },
        )
    }

    fn wrong(file: &Path, error: impl ToString) -> RecordFileError {
        let mut message = error.to_string();
        // What the crate says of a page packed by what it was built without.
        if let Some((_, packing)) = message.split_once("Disabled feature at compile time: ") {
            message = match packing {
                "flate2" => "packed by gzip: build with the feature `gzip`".into(),
                _ => format!("packed by {packing}; write it again with Snappy, Zstandard or gzip"),
            };
        }
        RecordFileError::Parquet { file: file.to_owned(), message }
    }

    fn values<V: RowValue>(
        file: &Path,
        index: usize,
        row: &ParquetRow,
    ) -> Result<Row<V>, RecordFileError> {
        let mut values = Row::default();
        for (name, field) in row.get_column_iter() {
            let value = value(field).ok_or_else(|| {
                wrong(file, format!("row {index}: a value of column `{name}` cannot be read"))
            })?;
            values.insert(name.clone(), V::from(value));
        }
        Ok(values)
    }

    /// Bytes become a list of numbers; dates and times are left to nobody: tasks have none.
    fn value(field: &Field) -> Option<OrderedValue> {
        Some(match field {
            Field::Str(value) => value.as_str().into(),
            Field::Group(row) => {
                let mut map = IndexMap::new();
                for (name, field) in row.get_column_iter() {
                    map.insert(name.clone(), value(field)?);
                }
                OrderedValue::Object(map)
            }
            Field::ListInternal(list) => {
                OrderedValue::Array(list.elements().iter().map(value).collect::<Option<Vec<_>>>()?)
            }
            other => scalar(other)?.into(),
        })
    }

    fn scalar(field: &Field) -> Option<Value> {
        Some(match field {
            Field::Null => Value::Null,
            Field::Bool(value) => (*value).into(),
            Field::Byte(value) => (*value).into(),
            Field::Short(value) => (*value).into(),
            Field::Int(value) => (*value).into(),
            Field::Long(value) => (*value).into(),
            Field::UByte(value) => (*value).into(),
            Field::UShort(value) => (*value).into(),
            Field::UInt(value) => (*value).into(),
            Field::ULong(value) => (*value).into(),
            Field::Float(value) => number(f64::from(*value)),
            Field::Double(value) => number(*value),
            Field::Bytes(value) => value.data().to_vec().into(),
            _ => return None,
        })
    }

    fn number(value: f64) -> Value {
        Number::from_f64(value).map_or(Value::Null, Value::Number)
    }
}
