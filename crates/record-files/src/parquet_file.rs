use std::{path::Path, sync::Arc};

use crate::{FileRow, RecordFileError, RowValue};

#[cfg(not(feature = "parquet"))]
pub(crate) fn read<V: RowValue>(
    file: &Arc<Path>,
    _: Option<Vec<u8>>,
) -> Result<Vec<FileRow<V>>, RecordFileError> {
    Err(RecordFileError::NeedsFeature { file: file.to_path_buf(), feature: "parquet" })
}

#[cfg(feature = "parquet")]
pub(crate) use with_parquet::read;

#[cfg(feature = "parquet")]
mod with_parquet {
    use std::fs::File;

    use bytes::Bytes;
    use indexmap::IndexMap;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;
    use serde_json::{Number, Value};

    use super::*;
    use crate::{OrderedValue, Origin, Row};

    /// Reads a file, or the bytes of one that was packed.
    pub(crate) fn read<V: RowValue>(
        file: &Arc<Path>,
        bytes: Option<Vec<u8>>,
    ) -> Result<Vec<FileRow<V>>, RecordFileError> {
        let wrong =
            |message: String| RecordFileError::Parquet { file: file.to_path_buf(), message };
        let reader: Box<dyn FileReader> = match bytes {
            Some(bytes) => Box::new(
                SerializedFileReader::new(Bytes::from(bytes))
                    .map_err(|error| wrong(error.to_string()))?,
            ),
            None => {
                let opened = File::open(file).map_err(RecordFileError::io(file))?;
                let reader = SerializedFileReader::new(opened);
                Box::new(reader.map_err(|error| wrong(error.to_string()))?)
            }
        };
        let rows = reader.get_row_iter(None).map_err(|error| wrong(error.to_string()))?;
        let mut read = Vec::new();
        for (index, row) in rows.enumerate() {
            let row = row.map_err(|error| wrong(error.to_string()))?;
            let mut values = Row::default();
            for (name, field) in row.get_column_iter() {
                let value = value(field).ok_or_else(|| {
                    wrong(format!("row {index}: a value of column `{name}` cannot be read"))
                })?;
                values.insert(name.clone(), V::from(value));
            }
            let origin = Origin { file: file.clone(), row: index, line: None };
            read.push(FileRow { row: values, origin });
        }
        Ok(read)
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
