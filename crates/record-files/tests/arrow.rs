//! Arrow IPC: files, streams and Feather as pyarrow writes them. The files were written by
//! `docs/parity/record_files.py`.
#![cfg(feature = "arrow")]
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use record_files::{FileForm, FileRow, OrderedValue, ReadOptions, open_rows, read_rows_as};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn texts(path: &Path, options: &ReadOptions) -> Result<Vec<String>, String> {
    let rows: Result<Vec<FileRow<OrderedValue>>, _> = read_rows_as(path, options);
    let rows = rows.map_err(|error| error.to_string())?;
    Ok(rows.iter().map(|row| serde_json::to_string(&row.row).unwrap()).collect())
}

const ROWS: [&str; 2] = [
    r#"{"question":"why?","choices":{"label":["A","B"],"text":["a","b"]},"label":1,"score":0.5,"aliases":["x"],"image":{"bytes":[1,255],"path":null},"yes":true}"#,
    r#"{"question":null,"choices":{"label":["A"],"text":["c"]},"label":-1,"score":null,"aliases":[],"image":{"bytes":[],"path":"b.png"},"yes":false}"#,
];

#[test]
fn files_streams_and_feather_are_read_compressed_or_not() {
    for name in ["rows.arrow", "rows.zstd.arrow", "rows.lz4.feather", "rows.stream.arrow"] {
        assert_eq!(texts(&data(name), &ReadOptions::default()).unwrap(), ROWS, "{name}");
    }
    let rows = open_rows::<OrderedValue>(&data("rows.arrow"), &ReadOptions::default()).unwrap();
    let places: Vec<usize> = rows.map(|row| row.unwrap().origin.row).collect();
    assert_eq!(places, [0, 1], "rows are counted over batches");
}

#[test]
fn the_content_tells_a_file_without_extension() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    std::fs::copy(data("rows.arrow"), &path).unwrap();
    assert_eq!(texts(&path, &ReadOptions::default()).unwrap(), ROWS);
    std::fs::copy(data("rows.stream.arrow"), &path).unwrap();
    let options = ReadOptions { form: Some(FileForm::Arrow), ..ReadOptions::default() };
    assert_eq!(texts(&path, &options).unwrap(), ROWS);
}

#[test]
fn every_type_of_text_number_list_and_structure_is_read() {
    let rows = texts(&data("types.arrow"), &ReadOptions::default()).unwrap();
    assert_eq!(
        rows,
        [
            r#"{"large":"é","view":"é","dictionary":"é","empty_dictionary":null,"null":null,"large_list":[1,null],"fixed_list":[1,2],"structs":{"b":"x","a":null},"bool":true,"float16":0.5,"float32":0.10000000149011612,"binary":[0,255],"fixed_binary":[97,98],"int8":1,"int16":1,"int32":1,"int64":1,"uint8":1,"uint16":1,"uint32":1,"uint64":1}"#,
            r#"{"large":null,"view":null,"dictionary":null,"empty_dictionary":null,"null":null,"large_list":null,"fixed_list":null,"structs":null,"bool":null,"float16":null,"float32":null,"binary":null,"fixed_binary":null,"int8":null,"int16":null,"int32":null,"int64":null,"uint8":null,"uint16":null,"uint32":null,"uint64":null}"#,
            r#"{"large":"","view":"","dictionary":"","empty_dictionary":null,"null":null,"large_list":[],"fixed_list":[null,4],"structs":{"b":null,"a":[1.5]},"bool":false,"float16":null,"float32":null,"binary":[],"fixed_binary":[99,100],"int8":3,"int16":3,"int32":3,"int64":3,"uint8":3,"uint16":3,"uint32":3,"uint64":3}"#,
        ]
    );
}

#[test]
fn errors_name_the_file_and_the_column() {
    let error = texts(&data("times.arrow"), &ReadOptions::default()).unwrap_err();
    assert!(error.contains("times.arrow: Arrow: column `at` holds Timestamp(s)"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let error = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        texts(&path, &ReadOptions::default()).unwrap_err()
    };
    let old = error("a.feather", b"FEA1 and so on");
    assert!(old.contains("a.feather: Arrow: Feather's first version"), "{old}");
    let none = error("a.arrow", b"{\"a\": 1}");
    assert!(none.contains("neither a file, which begins with `ARROW1`"), "{none}");
    let whole = std::fs::read(data("rows.arrow")).unwrap();
    let cut = error("cut.arrow", &whole[..whole.len() / 2]);
    assert!(cut.contains("cut.arrow: Arrow: "), "{cut}");
}

#[test]
fn files_cut_anywhere_are_errors_or_fewer_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.arrow");
    for name in ["rows.arrow", "rows.stream.arrow", "rows.lz4.feather"] {
        let whole = std::fs::read(data(name)).unwrap();
        for end in (0..whole.len()).step_by(7) {
            std::fs::write(&path, &whole[..end]).unwrap();
            if let Ok(rows) = texts(&path, &ReadOptions::default()) {
                assert_eq!(rows, ROWS[..rows.len()], "{name}, {end} bytes");
            }
        }
    }
}

#[test]
fn a_footer_that_is_longer_than_its_file_is_refused_before_memory_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.arrow");
    // The length before the last `ARROW1` is that of its own letters: 800 million.
    for bytes in [&b"ARROW1ARROW1"[..], b"ARROW1\0\0\xff\xff\xff\xffARROW1"] {
        std::fs::write(&path, bytes).unwrap();
        let error = texts(&path, &ReadOptions::default()).unwrap_err();
        assert!(error.contains("damaged: its footer has"), "{error}");
    }
    for bytes in [&b"ARROW1"[..], b"ARROW1\0\0", b"ARROW1\0\0\0\0\0\0ARROW1"] {
        std::fs::write(&path, bytes).unwrap();
        assert!(texts(&path, &ReadOptions::default()).is_err(), "{bytes:?}");
    }
}

#[test]
fn what_a_buffer_says_that_it_holds_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.arrow");
    for name in ["rows.zstd.arrow", "rows.lz4.feather"] {
        let mut bytes = std::fs::read(data(name)).unwrap();
        // A frame of Zstandard or LZ4 follows the length of what it holds, in bytes.
        let frames: [&[u8]; 2] = [&[0x28, 0xb5, 0x2f, 0xfd], &[0x04, 0x22, 0x4d, 0x18]];
        let frame = (8..bytes.len()).find(|at| frames.iter().any(|f| bytes[*at..].starts_with(f)));
        let length = frame.unwrap() - 8;
        bytes[length..length + 8].copy_from_slice(&(1u64 << 60).to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        let error = texts(&path, &ReadOptions::default()).unwrap_err();
        assert!(error.contains("bytes say that they hold 1152921504606846976"), "{error}");
    }
}

#[test]
fn content_that_is_longer_than_its_file_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.arrow");
    let whole = std::fs::read(data("rows.stream.arrow")).unwrap();
    let mut found = 0;
    for at in (0..whole.len() - 8).step_by(8) {
        let mut bytes = whole.clone();
        bytes[at..at + 8].copy_from_slice(&(1u64 << 60).to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        if let Err(error) = texts(&path, &ReadOptions::default()) {
            found += usize::from(error.contains("bytes of content begin at"));
        }
    }
    assert!(found > 0);
}

#[test]
fn content_is_looked_at_where_the_footer_says_that_it_is() {
    // Its footer says that a message is shorter than the message says itself: a buffer would hold 60 GB.
    let error = texts(&data("elsewhere.lz4.feather"), &ReadOptions::default()).unwrap_err();
    assert!(error.contains("Arrow: damaged: "), "{error}");
}

#[test]
fn values_without_content_take_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.arrow");
    let mut bytes = std::fs::read(data("rows.arrow")).unwrap();
    let block = batches(&bytes)[0];
    let start = block.offset() as usize + 8;
    let message = arrow_ipc::root_as_message(&bytes[start..]).unwrap();
    let nodes = message.header_as_record_batch().unwrap().nodes().unwrap();
    let at = nodes.bytes().as_ptr() as usize - bytes.as_ptr() as usize;
    bytes[at..at + 8].copy_from_slice(&(1i64 << 40).to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let error = texts(&path, &ReadOptions::default()).unwrap_err();
    assert!(error.contains("says that it has 10995116"), "{error}");
}

#[test]
fn a_message_that_a_footer_lists_again_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.arrow");
    let mut bytes = std::fs::read(data("rows.arrow")).unwrap();
    let [first, second] = [0, 1].map(|batch| batches(&bytes)[batch].0);
    let at = (0..bytes.len() - 24).rfind(|at| bytes[*at..].starts_with(&second)).unwrap();
    bytes[at..at + 24].copy_from_slice(&first);
    std::fs::write(&path, bytes).unwrap();
    let error = texts(&path, &ReadOptions::default()).unwrap_err();
    assert!(error.contains("messages overlap"), "{error}");
}

/// Where the footer of a file says that its batches are.
fn batches(file: &[u8]) -> Vec<arrow_ipc::Block> {
    let end = file.len() - 10;
    let length = u32::from_le_bytes(file[end..end + 4].try_into().unwrap()) as usize;
    let footer = arrow_ipc::root_as_footer(&file[end - length..end]).unwrap();
    footer.recordBatches().unwrap().iter().copied().collect()
}
