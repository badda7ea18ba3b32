use std::{path::Path, sync::Arc};

use crate::{FileRow, RecordFileError};

#[cfg(not(feature = "parquet"))]
pub(crate) fn read(file: &Arc<Path>) -> Result<Vec<FileRow>, RecordFileError> {
    Err(RecordFileError::NeedsFeature { file: file.to_path_buf(), feature: "parquet" })
}

#[cfg(feature = "parquet")]
pub(crate) use with_parquet::read;

#[cfg(feature = "parquet")]
mod with_parquet {
    use std::fs::File;

    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;
    use serde_json::{Map, Number, Value};

    use super::*;
    use crate::{Origin, Row};

    pub(crate) fn read(file: &Arc<Path>) -> Result<Vec<FileRow>, RecordFileError> {
        let wrong =
            |message: String| RecordFileError::Parquet { file: file.to_path_buf(), message };
        let opened = File::open(file).map_err(RecordFileError::io(file))?;
        let reader = SerializedFileReader::new(opened).map_err(|error| wrong(error.to_string()))?;
        let rows = reader.get_row_iter(None).map_err(|error| wrong(error.to_string()))?;
        let mut read = Vec::new();
        for (index, row) in rows.enumerate() {
            let row = row.map_err(|error| wrong(error.to_string()))?;
            let mut values = Row::default();
            for (name, field) in row.get_column_iter() {
                let value = value(field).ok_or_else(|| {
                    wrong(format!("row {index}: a value of column `{name}` cannot be read"))
                })?;
                values.insert(name.clone(), value);
            }
            let origin = Origin { file: file.clone(), row: index, line: None };
            read.push(FileRow { row: values, origin });
        }
        Ok(read)
    }

    /// Bytes become a list of numbers; dates and times are left to nobody: tasks have none.
    fn value(field: &Field) -> Option<Value> {
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
            Field::Str(value) => value.as_str().into(),
            Field::Bytes(value) => value.data().to_vec().into(),
            Field::Group(row) => {
                let mut map = Map::new();
                for (name, field) in row.get_column_iter() {
                    map.insert(name.clone(), value(field)?);
                }
                Value::Object(map)
            }
            Field::ListInternal(list) => {
                list.elements().iter().map(value).collect::<Option<Vec<_>>>()?.into()
            }
            _ => return None,
        })
    }

    fn number(value: f64) -> Value {
        Number::from_f64(value).map_or(Value::Null, Value::Number)
    }
}
