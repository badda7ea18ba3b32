use std::{path::Path, sync::Arc};

use serde_json::Value;

use crate::{FileForm, Origin, ReadOptions, RecordFileError, Row, RowValue};
use crate::{excerpt, json, packing, parquet_file, table, text};

/// A row and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct FileRow<V = Value> {
    /// The values.
    pub row: Row<V>,
    /// The file and the place in it.
    pub origin: Origin,
}

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
    let file: Arc<Path> = Arc::from(path);
    let form = options.form.or_else(|| FileForm::of_extension(path));
    if form == Some(FileForm::Parquet) && !packing::is_packed(path) {
        return parquet_file::read(&file, None);
    }
    let bytes = packing::read_bytes(path)?;
    if form == Some(FileForm::Parquet) || form.is_none() && bytes.starts_with(b"PAR1") {
        return parquet_file::read(&file, Some(bytes));
    }
    let text = std::str::from_utf8(&bytes).map_err(|error| RecordFileError::NotUtf8 {
        file: path.to_owned(),
        offset: error.valid_up_to(),
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match form {
        Some(FileForm::Table) => table::read(&file, text, options),
        Some(FileForm::Text) => Ok(text::read(&file, text, options.sample_by)),
        Some(FileForm::Json) | None => match text.trim_start().chars().next() {
            None => Ok(Vec::new()),
            Some('[') => json::array(&file, text),
            Some('{') => json::objects(&file, text, options.field.as_deref()),
            Some(_) => {
                Err(RecordFileError::UnknownForm { file: path.to_owned(), found: excerpt(text) })
            }
        },
        Some(FileForm::Parquet) => unreachable!("read above"),
    }
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
            "t.json: one JSON object over several lines; name the key that holds its rows by \
             `field` (its keys are `Version`, `Data`)"
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
