use std::path::PathBuf;

use super::*;

#[test]
fn folders_and_patterns_are_their_files_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("below")).unwrap();
    for name in ["b.jsonl", "a.json", "c.txt", ".d.json", "below/e.json", "f.csv.gz", "g[1].json"] {
        std::fs::write(at(name), "").unwrap();
    }
    let names = |path: PathBuf| -> Vec<String> {
        let relative =
            |path: PathBuf| path.strip_prefix(folder.path()).unwrap().display().to_string();
        crate::paths(&path).unwrap().into_iter().map(relative).collect()
    };
    assert_eq!(names(at("")), ["a.json", "b.jsonl", "f.csv.gz", "g[1].json"]);
    assert_eq!(names(at("*.json*")), [".d.json", "a.json", "b.jsonl", "g[1].json"]);
    assert_eq!(names(at("**/e.json")), ["below/e.json"]);
    assert_eq!(names(at("g[1].json")), ["g[1].json"], "a file that is there is no pattern");
    assert_eq!(names(at("absent.json")), ["absent.json"], "reading says that it is not there");
    let error = crate::paths(&at("*.parquet")).unwrap_err().to_string();
    assert!(error.contains("*.parquet`: no file matches (.json"), "{error}");
    std::fs::create_dir(at("empty")).unwrap();
    let error = crate::paths(&at("empty")).unwrap_err().to_string();
    assert!(error.contains("empty`: the folder holds no data file"), "{error}");
}

#[test]
fn a_saved_data_set_is_the_files_that_it_names() {
    let saved = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/data/saved");
    let files = crate::paths(&saved.join("train")).unwrap();
    let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap()).collect();
    assert_eq!(names, ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]);
    let error = crate::paths(&saved.join("splits")).unwrap_err().to_string();
    assert!(error.contains("several splits; name one of `"), "{error}");
    assert!(error.contains("splits/train`, `"), "{error}");
    #[cfg(feature = "arrow")]
    {
        let records = read_records(&[saved.join("train").into()]).unwrap();
        let answers: Vec<&str> = records.iter().map(Record::answer).collect();
        assert_eq!(answers, ["0", "1", "2", "3", "4"]);
    }
    #[cfg(not(feature = "arrow"))]
    {
        let error = read_records(&[saved.join("train").into()]).unwrap_err().to_string();
        assert!(
            error.contains("00000-of-00002.arrow: reading it needs the feature `arrow`"),
            "{error}"
        );
    }
}

#[test]
fn records_of_a_folder_follow_one_another_with_their_own_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("b.csv", "question,answer\na,1\n");
    write("a.json", r#"[{"prompt": "a", "completion": "b"}]"#);
    let records = read_records(&[folder.path().into()]).unwrap();
    assert_eq!(records[0].content, completion("a", "b").content);
    assert_eq!(records[1].content, instruction("a", "", "1").content);
}
