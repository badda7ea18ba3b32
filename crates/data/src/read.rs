use record_files::{FileForm, ReadOptions, read_rows};

use super::{DataError, DataFile, Record};

/// Reads the records of several files, in the order given.
///
/// JSON arrays, JSON Lines, CSV, TSV and Parquet are read, as [`record_files`] does; a record is a
/// row. The shapes that a record can have are those of [`RecordContent`](super::RecordContent).
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
        // Text has no named values, so a file that calls itself text holds JSON.
        let form = FileForm::of_extension(&file.path).map(|form| match form {
            FileForm::Text => FileForm::Json,
            form => form,
        });
        let rows = read_rows(&file.path, &ReadOptions { form, ..ReadOptions::default() })?;
        if rows.is_empty() {
            return Err(DataError::NoRecords(format!("`{}`", file.path.display())));
        }
        for row in rows {
            records.push(Record::from_row(&row.row, file.task_type, row.origin)?);
        }
    }
    Ok(records)
}
