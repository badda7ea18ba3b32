use std::{path::Path, sync::Arc};

use crate::{RecordFileError, RowValue, Rows};

#[cfg(not(feature = "arrow"))]
pub(crate) fn rows<V: RowValue>(
    file: &Arc<Path>,
    _: Option<Vec<u8>>,
) -> Result<Rows<V>, RecordFileError> {
    Err(RecordFileError::NeedsFeature { file: file.to_path_buf(), feature: "arrow" })
}

#[cfg(feature = "arrow")]
pub(crate) use with_arrow::rows;

#[cfg(feature = "arrow")]
mod with_arrow {
    use std::fs::File;
    use std::io::{BufReader, Cursor, Error, ErrorKind, Read, Seek, SeekFrom};

    use arrow_array::{Array, RecordBatch, RecordBatchReader};
    use arrow_ipc::reader::{FileReader, StreamReader};

    use super::*;
    use crate::foreign::caught;
    use crate::{FileRow, OrderedValue, Origin, Row, arrow_sizes, arrow_values::values};

    /// What an Arrow file begins with, a stream, and Feather's first version.
    const FILE: &[u8] = b"ARROW1";
    const STREAM: &[u8] = &[0xff; 4];
    const FEATHER_1: &[u8] = b"FEA1";

    /// The rows of a file, or of the bytes of one that was packed, one record batch at a time.
    pub(crate) fn rows<V: RowValue>(
        file: &Arc<Path>,
        bytes: Option<Vec<u8>>,
    ) -> Result<Rows<V>, RecordFileError> {
        let mut batches = match bytes {
            Some(bytes) => open(file, Cursor::new(bytes))?,
            None => {
                let opened = File::open(file).map_err(RecordFileError::io(file))?;
                open(file, BufReader::new(opened))?
            }
        };
        let file = file.clone();
        let mut next = 0;
        let mut of_batch = Vec::new().into_iter();
        let mut failed = false;
        Ok(Box::new(std::iter::from_fn(move || {
            loop {
                if failed {
                    return None;
                }
                if let Some(row) = of_batch.next() {
                    let origin = Origin { file: file.clone(), row: next, line: None };
                    next += 1;
                    return Some(Ok(FileRow { row, origin }));
                }
                let read = caught(
                    |message| wrong(&file, message),
                    || {
                        let batch =
                            batches.next().transpose().map_err(|error| wrong(&file, error))?;
                        batch.map(|batch| batch_rows(&file, &batch)).transpose()
                    },
                );
                match read.transpose()? {
                    Ok(rows) => of_batch = rows.into_iter(),
                    Err(error) => {
                        failed = true;
                        return Some(Err(error));
                    }
                }
            }
        })))
    }

    fn open<R: Read + Seek + 'static>(
        file: &Path,
        mut reader: R,
    ) -> Result<Box<dyn RecordBatchReader>, RecordFileError> {
        let mut start = Vec::new();
        reader
            .by_ref()
            .take(FILE.len() as u64)
            .read_to_end(&mut start)
            .and_then(|_| reader.seek(SeekFrom::Start(0)))
            .map_err(RecordFileError::io(file))?;
        if start == FILE {
            arrow_sizes::check_file(&mut reader).map_err(|error| unfit(file, error))?;
            let opened = caught(
                |message| wrong(file, message),
                || FileReader::try_new(reader, None).map_err(|error| wrong(file, error)),
            );
            return Ok(Box::new(opened?));
        }
        if start.starts_with(STREAM) {
            arrow_sizes::check_stream(&mut reader).map_err(|error| unfit(file, error))?;
            let opened = caught(
                |message| wrong(file, message),
                || StreamReader::try_new(reader, None).map_err(|error| wrong(file, error)),
            );
            return Ok(Box::new(opened?));
        }
        let message = match start.starts_with(FEATHER_1) {
            true => "Feather's first version; write it again with the second, which is Arrow IPC",
            false => {
                "neither a file, which begins with `ARROW1`, nor a stream of format 0.15 or later"
            }
        };
        Err(RecordFileError::Arrow { file: file.to_owned(), message: message.into() })
    }

    fn batch_rows<V: RowValue>(
        file: &Path,
        batch: &RecordBatch,
    ) -> Result<Vec<Row<V>>, RecordFileError> {
        let mut rows: Vec<Row<V>> = (0..batch.num_rows()).map(|_| Row::default()).collect();
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let column = values(column.as_ref() as &dyn Array).map_err(|unread| {
                let name = field.name();
                let message = format!(
                    "column `{name}` holds {unread}, which a row cannot; leave the column out, or \
                     write it as text or numbers"
                );
                RecordFileError::Arrow { file: file.to_owned(), message }
            })?;
            for (row, value) in rows.iter_mut().zip(column) {
                insert(row, field.name(), value);
            }
        }
        Ok(rows)
    }

    fn insert<V: RowValue>(row: &mut Row<V>, name: &str, value: OrderedValue) {
        row.insert(name, V::from(value));
    }

    /// What [`arrow_sizes`] found.
    fn unfit(file: &Path, error: Error) -> RecordFileError {
        match error.kind() {
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
                RecordFileError::Arrow { file: file.to_owned(), message: error.to_string() }
            }
            _ => RecordFileError::io(file)(error),
        }
    }

    fn wrong(file: &Path, error: impl ToString) -> RecordFileError {
        RecordFileError::Arrow { file: file.to_owned(), message: error.to_string() }
    }
}
