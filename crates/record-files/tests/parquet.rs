//! Parquet as the hub keeps it: lists, structures and missing values. The files were written by
//! pyarrow 26, with Snappy, Zstandard and gzip.
#![cfg(feature = "parquet")]
#![allow(clippy::unwrap_used)]

use std::path::Path;

use record_files::{ReadOptions, read_rows};

#[test]
fn rows_of_pyarrow_are_read() {
    let gzip = cfg!(feature = "gzip").then_some("gzip");
    for compression in ["snappy", "zstd"].into_iter().chain(gzip) {
        let file = format!("tests/data/rows.{compression}.parquet");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let rows = read_rows(&path, &ReadOptions::default()).unwrap();
        let texts: Vec<String> =
            rows.iter().map(|row| serde_json::to_string(&row.row).unwrap()).collect();
        assert_eq!(
            texts,
            [
                r#"{"question":"why?","choices":{"label":["A","B"],"text":["a","b"]},"label":1,"score":0.5,"aliases":["x"],"image":{"bytes":[1,255],"path":null},"yes":true}"#,
                r#"{"question":null,"choices":{"label":["A"],"text":["c"]},"label":-1,"score":null,"aliases":[],"image":{"bytes":[],"path":"b.png"},"yes":false}"#,
            ]
        );
        assert_eq!(rows[1].origin.row, 1);
    }
}

#[cfg(not(feature = "gzip"))]
#[test]
fn what_reads_pages_of_gzip_is_named() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rows.gzip.parquet");
    let error = read_rows(&path, &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("build with the feature `gzip`"), "{error}");
}

#[test]
fn a_cut_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.parquet");
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rows.snappy.parquet");
    let bytes = std::fs::read(whole).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = read_rows(&path, &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("cut.parquet: Parquet: "), "{error}");
}

#[test]
fn a_damaged_file_is_read_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.parquet");
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rows.snappy.parquet");
    let bytes = std::fs::read(whole).unwrap();
    let mut named = 0;
    for at in 0..bytes.len() {
        for bit in [0, 2, 4] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            std::fs::write(&path, damaged).unwrap();
            if let Err(error) = read_rows(&path, &ReadOptions::default()) {
                let error = error.to_string();
                assert!(error.contains("damaged.parquet: Parquet: "), "{error}");
                named += 1;
            }
        }
    }
    assert!(named > 500, "{named}");
}

#[test]
fn what_is_beyond_the_end_is_not_skipped_for_minutes() {
    // A list of some 2^31 numbers in the header of a page, which are not in the file.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/endless.parquet");
    let started = std::time::Instant::now();
    let error = read_rows(&path, &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("endless.parquet: Parquet: "), "{error}");
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}
