use std::io::{BufRead, Read};
use std::{path::Path, sync::Arc};

use serde_json::Value;

use crate::{FileForm, Origin, ReadOptions, RecordFileError, Row, RowValue};
use crate::{arrow_file, excerpt, json, packing, parquet_file, table, text};

/// A row and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct FileRow<V = Value> {
    /// The values.
    pub row: Row<V>,
    /// The file and the place in it.
    pub origin: Origin,
}

/// The rows of a file, one after another; the first error is the last item.
pub type Rows<V = Value> = Box<dyn Iterator<Item = Result<FileRow<V>, RecordFileError>>>;

/// Reads all rows of a file.
///
/// A byte order mark and, but in text, blank lines are skipped. An empty file has no rows.
///
/// # Errors
/// Names the file and the line or index of the first row that cannot be read.
pub fn read_rows(path: &Path, options: &ReadOptions) -> Result<Vec<FileRow>, RecordFileError> {
    read_rows_as(path, options)
}

/// As [`read_rows`], with values of another type.
///
/// # Errors
/// As [`read_rows`].
pub fn read_rows_as<V: RowValue>(
    path: &Path,
    options: &ReadOptions,
) -> Result<Vec<FileRow<V>>, RecordFileError> {
    open_rows(path, options)?.collect()
}

/// The rows of [`read_rows_as`], read as they are asked for.
///
/// Of JSON Lines and of tables whose values are all text ([`ReadOptions::untyped`]) one row at a time
/// is in memory, of Parquet a page of each column, of Arrow a record batch. JSON arrays and objects,
/// other tables, text, and Parquet or Arrow files that are packed are read as a whole.
///
/// # Errors
/// As [`read_rows`], of the beginning of the file; what is wrong later is an item.
pub fn open_rows<V: RowValue>(
    path: &Path,
    options: &ReadOptions,
) -> Result<Rows<V>, RecordFileError> {
    let file: Arc<Path> = Arc::from(path);
    let form = options.form.or_else(|| FileForm::of_extension(path));
    match form {
        Some(FileForm::Parquet) => return parquet_file::rows(&file, whole_if_packed(path)?),
        Some(FileForm::Arrow) => return arrow_file::rows(&file, whole_if_packed(path)?),
        _ => {}
    }
    let mut source = packing::open(path)?;
    match form {
        Some(FileForm::Table) if options.untyped => return table::rows(&file, source, options),
        Some(FileForm::Table) => {
            return all(table::read(&file, &rest(path, source, Vec::new())?, options)?);
        }
        Some(FileForm::Text) => {
            let text = rest(path, source, Vec::new())?;
            return all(text::read(&file, &text, options.sample_by));
        }
        _ => {}
    }
    // The first line with something on it tells.
    let mut head = Vec::new();
    while source.read_until(b'\n', &mut head).map_err(RecordFileError::io(path))? > 0 {
        if !without_mark(&head).trim_ascii().is_empty() {
            break;
        }
    }
    if form.is_none() && head.starts_with(b"PAR1") {
        return parquet_file::rows(&file, Some(bytes(path, source, head)?));
    }
    if form.is_none() && head.starts_with(b"ARROW1") {
        return arrow_file::rows(&file, Some(bytes(path, source, head)?));
    }
    match without_mark(&head).trim_ascii_start().first() {
        None => all(Vec::new()),
        Some(b'[') => all(json::array(&file, &rest(path, source, head)?)?),
        Some(b'{') => match &options.field {
            Some(field) => all(json::under(&file, &rest(path, source, head)?, field)?),
            None => Ok(json::lines(&file, head, source)),
        },
        Some(_) => {
            let mut found = utf8(path, head)?;
            // Some more for the message, whatever it is.
            let mut more = Vec::new();
            source.take(256).read_to_end(&mut more).map_err(RecordFileError::io(path))?;
            found += &String::from_utf8_lossy(&more);
            Err(RecordFileError::UnknownForm { file: path.to_owned(), found: excerpt(&found) })
        }
    }
}

fn all<V: RowValue>(rows: Vec<FileRow<V>>) -> Result<Rows<V>, RecordFileError> {
    Ok(Box::new(rows.into_iter().map(Ok)))
}

fn whole_if_packed(path: &Path) -> Result<Option<Vec<u8>>, RecordFileError> {
    match packing::is_packed(path) {
        true => bytes(path, packing::open(path)?, Vec::new()).map(Some),
        false => Ok(None),
    }
}

/// What was read of a file and what is left.
fn bytes(
    path: &Path,
    mut source: impl Read,
    mut head: Vec<u8>,
) -> Result<Vec<u8>, RecordFileError> {
    source.read_to_end(&mut head).map_err(RecordFileError::io(path))?;
    Ok(head)
}

/// As [`bytes`], as text without a byte order mark.
fn rest(path: &Path, source: impl Read, head: Vec<u8>) -> Result<String, RecordFileError> {
    utf8(path, bytes(path, source, head)?)
}

fn utf8(path: &Path, bytes: Vec<u8>) -> Result<String, RecordFileError> {
    let mut text = String::from_utf8(bytes).map_err(|error| RecordFileError::NotUtf8 {
        file: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

/// Without a byte order mark.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(name: &str, content: &[u8], options: &ReadOptions) -> Result<Vec<FileRow>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let root = format!("{}/", folder.path().display());
        read_rows(&path, options).map_err(|error| error.to_string().replace(&root, ""))
    }

    fn plain(name: &str, content: &str) -> Result<Vec<String>, String> {
        let rows = read(name, content.as_bytes(), &ReadOptions::default())?;
        Ok(rows.iter().map(|row| serde_json::to_string(&row.row).unwrap()).collect())
    }

    #[test]
    fn content_tells_json_from_json_lines() {
        assert_eq!(
            plain("a.json", "\u{feff}[{\"b\": 1, \"a\": 2}]").unwrap(),
            [r#"{"b":1,"a":2}"#]
        );
        let lines = "\n{\"a\": 1}\r\n\r\n  {\"a\": \"\\u00e9\"}\r\n";
        assert_eq!(plain("a.json", lines).unwrap(), [r#"{"a":1}"#, r#"{"a":"é"}"#]);
        assert_eq!(plain("a.unknown", "{\"a\": 1}").unwrap(), [r#"{"a":1}"#]);
        assert_eq!(plain("a.jsonl", " \n").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn rows_know_their_line() {
        let rows = read("a.jsonl", b"{}\n\n{\"a\":1}\n", &ReadOptions::default()).unwrap();
        assert_eq!(rows[1].origin.line, Some(3));
        assert_eq!(rows[1].origin.row, 1);
    }

    #[test]
    fn a_field_holds_the_rows() {
        let options = ReadOptions { field: Some("Data".into()), ..ReadOptions::default() };
        let text = b"{\"Version\": 1.0,\n \"Data\": [{\"a\": 1}, {\"a\": 2}]}";
        assert_eq!(read("t.json", text, &options).unwrap().len(), 2);
        assert_eq!(
            read("t.json", text, &ReadOptions { field: Some("data".into()), ..options })
                .unwrap_err(),
            "t.json: no list of rows under `data`; the keys are `Version`, `Data`"
        );
        assert_eq!(
            plain("t.json", "{\"Version\": 1.0,\n \"Data\": []}").unwrap_err(),
            "t.json: one JSON object over several lines, with the keys `Version`, `Data`, where a list \
             of rows or a row a line is read; a task names the key that holds its rows by `field`"
        );
    }

    #[test]
    fn errors_name_the_place_and_escape_what_they_quote() {
        let error = plain("a.jsonl", "{\"a\": 1}\n{\"a\": }\n").unwrap_err();
        assert!(error.starts_with("a.jsonl, line 2: expected value"), "{error}");
        assert_eq!(
            plain("a.jsonl", "{\"a\": 1}\n[1]\n").unwrap_err(),
            "a.jsonl, line 2: a row is an object of named values, not `[1]`"
        );
        assert_eq!(
            plain("a.json", "[{}, 3]").unwrap_err(),
            "a.json, index 1: a row is an object of named values, not `3`"
        );
        let error = plain("a.bin", "\u{1b}[2Jx").unwrap_err();
        assert!(error.contains("begins with `[` or `{`, but `\\u{1b}[2Jx`"), "{error}");
        assert_eq!(
            read("a.json", b"{\"a\": \"\xff\"}", &ReadOptions::default()).unwrap_err(),
            "a.json: not UTF-8 at byte 7"
        );
    }

    #[test]
    fn tables_have_typed_columns() {
        let text = "label,text,score\n1,\"a, \"\"b\"\"\",0.5\n,,2\n";
        assert_eq!(
            plain("a.csv", text).unwrap(),
            [
                r#"{"label":1,"text":"a, \"b\"","score":0.5}"#,
                r#"{"label":null,"text":"","score":2.0}"#
            ]
        );
        assert_eq!(plain("a.tsv", "a\tb\n007\tTrue\n").unwrap(), [r#"{"a":7,"b":true}"#]);
        assert_eq!(
            plain("a.csv", "a,b\n1,2\n3\n").unwrap_err(),
            "a.csv, line 3: 1 values where the first line has 2"
        );
        let error = plain("a.csv", "a,a\n1,2\n").unwrap_err();
        assert_eq!(error, "a.csv, line 1: two columns are named `a`");
        let options = ReadOptions {
            column_names: Some(vec!["code".into(), "label".into()]),
            no_quoting: true,
            ..ReadOptions::default()
        };
        let rows = read("a.tsv", b"\"x\t1\n", &options).unwrap();
        assert_eq!(rows[0].row.get("code"), Some(&"\"x".into()));
        let options = ReadOptions { headerless: true, ..ReadOptions::default() };
        let rows = read("a.csv", b"x,1\ny,2\n", &options).unwrap();
        assert_eq!(serde_json::to_string(&rows[0].row).unwrap(), r#"{"0":"x","1":1}"#);
        assert_eq!(rows.len(), 2);
    }

    #[test]
    fn text_is_lines_paragraphs_or_one_document() {
        let sampled = |sample_by| {
            let options = ReadOptions { sample_by, ..ReadOptions::default() };
            let rows = read("a.txt", b"one\r\ntwo\n\n\nthree\n", &options).unwrap();
            rows.iter().map(|row| row.row.get("text").unwrap().clone()).collect::<Vec<_>>()
        };
        use crate::SampleBy::*;
        assert_eq!(sampled(Line), ["one", "two", "", "", "three"]);
        assert_eq!(sampled(Paragraph), ["one\ntwo", "three"]);
        assert_eq!(sampled(Document), ["one\ntwo\n\n\nthree\n"]);
    }

    #[cfg(not(feature = "parquet"))]
    #[test]
    fn parquet_names_its_feature() {
        let error = plain("a.parquet", "PAR1").unwrap_err();
        assert!(error.contains("--features parquet"), "{error}");
    }
}
