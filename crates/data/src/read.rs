use std::path::Path;

use record_files::{FileForm, FileRow, OrderedValue, ReadOptions, open_rows};

use super::{DataError, DataFile, Origin, Record, layout::DataRow, layout::Layout, paths::paths};

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
        each_record(file, &mut |record| {
            records.push(record);
            Ok(())
        })?;
    }
    Ok(records)
}

/// Reads what is to be answered: as [`read_records`], but answers may be absent or empty, a
/// conversation may end with a question, and a `text` is a prompt.
///
/// # Errors
/// As [`read_records`].
pub fn read_prompts(file: &DataFile) -> Result<Vec<Record>, DataError> {
    let mut records = Vec::new();
    for path in paths(&file.path)? {
        read_file(file, &path, Layout::of_prompts, &mut |record| {
            records.push(record);
            Ok(())
        })?;
    }
    Ok(records)
}

/// Takes the next record.
type Take<'t> = &'t mut dyn FnMut(Record) -> Result<(), DataError>;

/// Gives the records of an entry away one after another, in the memory of a row where the form of its
/// files allows it ([`record_files::open_rows`]).
///
/// # Errors
/// As [`read_records`], and those of whoever takes them.
pub(super) fn each_record(file: &DataFile, take: Take<'_>) -> Result<(), DataError> {
    for path in paths(&file.path)? {
        read_file(file, &path, Layout::of, take)?;
    }
    Ok(())
}

/// How the columns of a file are found, from its first row.
type Find<'a> = fn(&'a DataFile, bool, &DataRow, &Origin) -> Result<Layout<'a>, DataError>;

fn read_file<'a>(
    file: &'a DataFile,
    path: &Path,
    find: Find<'a>,
    take: Take<'_>,
) -> Result<(), DataError> {
    // Text has no named values, so a file that calls itself text holds JSON.
    let form = FileForm::of_extension(path).map(|form| match form {
        FileForm::Text => FileForm::Json,
        form => form,
    });
    // What looks like a number in a table is a text to learn as it stands.
    let options = ReadOptions { form, untyped: true, ..ReadOptions::default() };
    let mut layout = None;
    for row in open_rows::<OrderedValue>(path, &options)? {
        let FileRow { row, origin } = row?;
        if layout.is_none() {
            layout = Some(find(file, form == Some(FileForm::Table), &row, &origin)?);
        }
        if let Some(layout) = &layout {
            take(layout.record(&row, origin)?)?;
        }
    }
    match layout {
        Some(_) => Ok(()),
        None => Err(DataError::NoRecords(format!("`{}`", path.display()))),
    }
}
