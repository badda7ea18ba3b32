//! Packed files give the rows of what is packed.
#![cfg(all(feature = "gzip", feature = "parquet"))]
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::Path;

use flate2::{Compression, write::GzEncoder};
use record_files::{FileRow, OrderedValue, ReadOptions, read_rows_as};

fn rows(path: &Path) -> Vec<String> {
    let rows: Vec<FileRow<OrderedValue>> = read_rows_as(path, &ReadOptions::default()).unwrap();
    rows.iter().map(|row| serde_json::to_string(&row.row).unwrap()).collect()
}

#[test]
fn gzip_and_zstandard_hold_any_form() {
    let folder = tempfile::tempdir().unwrap();
    let parquet = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rows.zstd.parquet");
    let expected = rows(&parquet);
    let lines = expected.join("\n");
    for (name, bytes) in [
        ("a.jsonl", lines.clone().into_bytes()),
        ("b.json", format!("[{}]", lines.replace('\n', ",")).into_bytes()),
        ("c.parquet", std::fs::read(&parquet).unwrap()),
    ] {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&bytes).unwrap();
        let packed = [
            (format!("{name}.gz"), gzip.finish().unwrap()),
            (format!("{name}.zst"), zstd::encode_all(&bytes[..], 3).unwrap()),
            (name.to_owned(), bytes),
        ];
        for (name, bytes) in packed {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(rows(&path), expected, "{}", path.display());
        }
    }
    let table = folder.path().join("t.TSV.zst");
    std::fs::write(&table, zstd::encode_all(&b"a\tb\n007\tx,y\n"[..], 3).unwrap()).unwrap();
    assert_eq!(rows(&table), [r#"{"a":7,"b":"x,y"}"#]);
    let options = ReadOptions { untyped: true, ..ReadOptions::default() };
    let text: Vec<FileRow<OrderedValue>> = read_rows_as(&table, &options).unwrap();
    assert_eq!(text[0].row.get("a"), Some(&"007".into()));
}
