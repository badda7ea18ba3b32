use std::path::Path;

use record_files::{FileForm, FileRow, OrderedValue, ReadOptions, read_rows_as};

use super::{DataError, DataFile, Record, layout::Layout, paths::paths};

/// Reads the records of several files, in the order given.
///
/// JSON arrays, JSON Lines, CSV, TSV, Parquet and Arrow are read, as [`record_files`] does; a record is a
/// row. The shapes that a record can have are those of [`Shape`](super::Shape), one for each file.
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
        for path in paths(&file.path)? {
            read_file(file, &path, &mut records)?;
        }
    }
    Ok(records)
}

fn read_file(file: &DataFile, path: &Path, records: &mut Vec<Record>) -> Result<(), DataError> {
    // Text has no named values, so a file that calls itself text holds JSON.
    let form = FileForm::of_extension(path).map(|form| match form {
        FileForm::Text => FileForm::Json,
        form => form,
    });
    // What looks like a number in a table is a text to learn as it stands.
    let options = ReadOptions { form, untyped: true, ..ReadOptions::default() };
    let rows: Vec<FileRow<OrderedValue>> = read_rows_as(path, &options)?;
    let Some(first) = rows.first() else {
        return Err(DataError::NoRecords(format!("`{}`", path.display())));
    };
    let layout = Layout::of(file, form == Some(FileForm::Table), &first.row, &first.origin)?;
    records.reserve(rows.len());
    for FileRow { row, origin } in rows {
        records.push(layout.record(&row, origin)?);
    }
    Ok(())
}
