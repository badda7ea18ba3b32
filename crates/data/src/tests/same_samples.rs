//! The same rows in every form of file give the same samples, bit by bit.

use std::path::Path;

use super::{templates::bytes_tokenizer, *};

const INSTRUCTIONS: &str = r#"{"instruction": "Grüße, \"zwei\"\tZeilen\nund 北京", "input": "", "output": "007", "task_type": 0}
{"instruction": "1", "input": "true", "output": "1.50", "task_type": 1}
{"instruction": "a,b;c", "input": "  x ", "output": "null\n", "task_type": 0}
"#;

const CONVERSATIONS: &str = r#"{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "é", "weight": 0}, {"role": "user", "content": "r"}, {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{\"z\": 1, \"a\": null}"}}]}], "tools": [{"type": "function", "function": {"name": "f", "description": "d"}}]}
{"messages": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}], "tools": null}
"#;

/// Prints all that a template gets, in the order in which it gets it.
const TEMPLATE: &str = "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}\
                        <{{ m.role }}>{{ m.content }}{% if m.tool_calls %}{{ m.tool_calls | tojson }}\
                        {% endif %}|{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

fn samples(path: &Path) -> Vec<Sample> {
    let tokenizer = bytes_tokenizer().with_chat_template(TEMPLATE).unwrap();
    let records = read_records(&[path.into()]).unwrap_or_else(|error| panic!("{error}"));
    encode_records(&records, &tokenizer, &EncodeConfig::default()).unwrap().0
}

/// A table of JSON Lines; a cell that is no text holds JSON.
fn table(lines: &str, delimiter: &str) -> String {
    let rows: Vec<serde_json::Map<String, serde_json::Value>> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ordered: Vec<OrderedValue> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let names: Vec<&str> = rows[0].keys().map(String::as_str).collect();
    let mut text = names.join(delimiter) + "\r\n";
    for row in ordered {
        let cells = names.iter().map(|name| match row.get(name) {
            None | Some(OrderedValue::Null) => String::new(),
            Some(OrderedValue::String(cell)) => quoted(cell),
            Some(other) => quoted(&serde_json::to_string(other).unwrap()),
        });
        text += &(cells.collect::<Vec<_>>().join(delimiter) + "\r\n");
    }
    text
}

fn array(lines: &str) -> String {
    format!("\u{feff}[\n{}]", lines.trim_end().replace('\n', ",\n"))
}

/// A file of gzip with a block that is only stored.
#[cfg(feature = "gzip")]
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
        }
    }
    let length = u16::try_from(bytes.len()).unwrap();
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    file.extend(length.to_le_bytes());
    file.extend((!length).to_le_bytes());
    file.extend(bytes);
    file.extend((!crc).to_le_bytes());
    file.extend(u32::from(length).to_le_bytes());
    file
}

/// A frame of Zstandard with a block that is only stored.
#[cfg(feature = "parquet")]
fn zstandard(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    let mut file = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    file.extend(length.to_le_bytes());
    file.extend(&(length << 3 | 1).to_le_bytes()[..3]);
    file.extend(bytes);
    file
}

#[cfg_attr(not(feature = "parquet"), allow(unused_variables))]
fn check(name: &str, lines: &str) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let expected = samples(&write("a.jsonl", lines.as_bytes()));
    assert_eq!(expected.len(), lines.lines().count());
    let forms = [
        ("b.json", array(lines)),
        ("c.csv", table(lines, ",")),
        ("d.tsv", table(lines, "\t")),
        ("e.ndjson", lines.replace('\n', "\r\n")),
    ];
    #[cfg_attr(not(any(feature = "gzip", feature = "parquet")), allow(unused_mut))]
    let mut files: Vec<(String, Vec<u8>)> =
        forms.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
    #[cfg(feature = "parquet")]
    {
        // Written by pyarrow 26 from these lines.
        let path = format!("src/tests/data/{name}.parquet");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        files.push(("f.parquet".to_owned(), std::fs::read(path).unwrap()));
        #[cfg(feature = "arrow")]
        {
            let path = format!("src/tests/data/{name}.arrow");
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            files.push(("g.arrow".to_owned(), std::fs::read(path).unwrap()));
        }
        let packed: Vec<_> =
            files.iter().map(|(name, bytes)| (format!("{name}.zst"), zstandard(bytes))).collect();
        files.extend(packed);
    }
    #[cfg(feature = "gzip")]
    {
        let plain = files.iter().filter(|(name, _)| !name.ends_with(".zst"));
        let packed: Vec<_> =
            plain.map(|(name, bytes)| (format!("{name}.GZ"), gzip(bytes))).collect();
        files.extend(packed);
    }
    for (file, bytes) in files {
        assert_eq!(samples(&write(&file, &bytes)), expected, "{file}");
    }
}

#[test]
fn instructions_are_the_same_in_every_form() {
    check("instructions", INSTRUCTIONS);
}

#[test]
fn conversations_are_the_same_in_every_form() {
    check("conversations", CONVERSATIONS);
}

/// The rows of `docs/parity/record_files.py`, as JSON Lines.
#[cfg(all(feature = "arrow", feature = "parquet"))]
#[test]
fn ten_thousand_rows_are_the_same_in_every_form() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/data");
    let options = record_files::ReadOptions::default();
    let rows: Vec<record_files::FileRow<OrderedValue>> =
        record_files::read_rows_as(&data.join("many.parquet"), &options).unwrap();
    assert_eq!(rows.len(), 10_000);
    let lines: Vec<String> =
        rows.iter().map(|row| serde_json::to_string(&row.row).unwrap() + "\n").collect();
    let lines = lines.concat();
    let folder = tempfile::tempdir().unwrap();
    let expected = samples(&data.join("many.parquet"));
    assert_eq!(expected.len(), 10_000);
    assert_eq!(samples(&data.join("many.arrow")), expected, "Arrow");
    for (name, text) in [("a.jsonl", lines.clone()), ("a.csv", table(&lines, ","))] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        assert_eq!(samples(&path), expected, "{name}");
    }
}

#[cfg(not(feature = "gzip"))]
#[test]
fn a_packed_file_names_the_feature_that_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    for (name, feature) in [("a.jsonl.gz", "gzip"), ("a.csv.zst", "parquet")] {
        let path = folder.path().join(name);
        std::fs::write(&path, "x").unwrap();
        let error = read_records(&[path.into()]).unwrap_err().to_string();
        if cfg!(feature = "parquet") && feature == "parquet" {
            continue;
        }
        assert!(error.contains(&format!("--features {feature}")), "{error}");
    }
}
