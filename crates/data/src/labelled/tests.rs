use std::fs;
use std::path::Path;

use super::*;

fn read(name: &str, text: &str, file: &LabelledFile, kind: InputKind) -> Vec<LabelledRow> {
    tried(name, text, file, kind).unwrap()
}

fn tried(
    name: &str,
    text: &str,
    file: &LabelledFile,
    kind: InputKind,
) -> Result<Vec<LabelledRow>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    let root = format!("{}/", folder.path().display());
    read_labelled(&[LabelledFile { path, ..file.clone() }], kind)
        .map_err(|error| error.to_string().replace(&root, ""))
}

fn texts(rows: &[LabelledRow]) -> Vec<(&str, Option<&str>)> {
    rows.iter()
        .map(|row| match &row.input {
            RowInput::Text { text, text_pair } => (text.as_str(), text_pair.as_deref()),
            RowInput::Image(_) => ("an image", None),
        })
        .collect()
}

#[test]
fn columns_of_glue_are_known() {
    let usual = LabelledFile::new("");
    for (text, expected) in [
        ("sentence\tlabel\nhi\t1\n", ("hi", None)),
        ("idx\tsentence1\tsentence2\tlabel\n0\ta\tb\t1\n", ("a", Some("b"))),
        ("premise\thypothesis\tlabel\na\tb\t1\n", ("a", Some("b"))),
        ("question1\tquestion2\tlabel\na\tb\t1\n", ("a", Some("b"))),
        ("question\tsentence\tlabel\na\tb\t1\n", ("a", Some("b"))),
        ("text\tlabel\na\t1\n", ("a", None)),
    ] {
        let rows = read("a.tsv", text, &usual, InputKind::Text);
        assert_eq!(texts(&rows), [expected]);
        assert_eq!(rows[0].label.as_ref().and_then(|label| label.as_str()), Some("1"));
    }
    let rows = read("a.jsonl", "{\"text\": \"a\"}", &usual, InputKind::Text);
    assert_eq!(rows[0].label, None);
}

#[test]
fn files_without_names_of_columns_are_read_as_glue_writes_them() {
    let mut file = LabelledFile::new("");
    file.column_names = Some(["source", "label", "mark", "sentence"].map(String::from).into());
    file.quoting = false;
    let rows = read("a.tsv", "gj04\t0\t*\t\"Who\ngj04\t1\t\tI am.\n", &file, InputKind::Text);
    assert_eq!(texts(&rows), [("\"Who", None), ("I am.", None)]);
}

#[test]
fn a_column_that_is_missing_is_named_with_those_that_there_are() {
    let usual = LabelledFile::new("");
    let error = tried("a.csv", "body,label\nx,1\n", &usual, InputKind::Text).unwrap_err();
    assert!(error.starts_with("a.csv, line 2: there is no column of texts"), "{error}");
    assert!(error.ends_with("the columns are `body`, `label`"), "{error}");
    let columns = LabelledColumns { text: Some("bdy".into()), ..LabelledColumns::default() };
    let file = LabelledFile { columns, ..usual.clone() };
    let error = tried("a.csv", "body,label\nx,1\n", &file, InputKind::Text).unwrap_err();
    assert!(error.contains("no column `bdy`, which `columns` names"), "{error}");
    let error = tried("a.csv", "body,label\nx,1\n", &usual, InputKind::Image).unwrap_err();
    assert!(error.contains("no column of images"), "{error}");
    let error = tried("a.jsonl", "{\"text\": 3}\n", &usual, InputKind::Text).unwrap_err();
    assert!(error.contains("`text` is the number 3; allowed: a text"), "{error}");
}

fn pixels(row: &LabelledRow) -> ([usize; 3], Vec<u8>) {
    match &row.input {
        RowInput::Image(ImageData::Pixels(image)) => (image.shape(), image.data().to_vec()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn pixels_are_columns_or_lists() {
    let columns = LabelledColumns {
        pixels: Some("Block *".into()),
        label: Some("Class".into()),
        ..LabelledColumns::default()
    };
    let file = LabelledFile { columns, format: Some(FileFormat::Csv), ..LabelledFile::new("") };
    let text = "Block 1,Block 2,Block 3,Block 4,Class\n0,1,16,255,7\n";
    let rows = read("a.tra", text, &file, InputKind::Image);
    assert_eq!(pixels(&rows[0]), ([2, 2, 1], vec![0, 1, 16, 255]));
    let shaped = |shape: &[usize]| LabelledFile { image_shape: Some(shape.into()), ..file.clone() };
    let rows = read("a.tra", text, &shaped(&[1, 4]), InputKind::Image);
    assert_eq!(pixels(&rows[0]).0, [1, 4, 1]);
    let error = tried("a.tra", text, &shaped(&[3, 1]), InputKind::Image).unwrap_err();
    assert!(error.contains("`image_shape` is") && error.contains("4 values"), "{error}");
    let error = tried("a.tra", &text.replace("255", "256"), &file, InputKind::Image).unwrap_err();
    assert!(error.contains("`Block 4` is the string \"256\""), "{error}");

    let colours = "Block 1,Block 2,Block 3,Block 4,Block 5,Block 6,Class\n1,2,3,4,5,6,0\n";
    let rows = read("a.tra", colours, &shaped(&[3, 1, 2]), InputKind::Image);
    assert_eq!(pixels(&rows[0]), ([1, 2, 3], vec![1, 3, 5, 2, 4, 6]));

    let list = "{\"image\": [[0, 1], [2, 3]], \"label\": \"a\"}\n";
    let rows = read("a.jsonl", list, &LabelledFile::new(""), InputKind::Image);
    assert_eq!(pixels(&rows[0]), ([2, 2, 1], vec![0, 1, 2, 3]));
    let bytes = "{\"image\": {\"bytes\": [137, 80], \"path\": null}, \"label\": 1}\n";
    let rows = read("a.jsonl", bytes, &LabelledFile::new(""), InputKind::Image);
    assert_eq!(rows[0].input, RowInput::Image(ImageData::Encoded([137, 80].into())));
    let table = "image,label\n\"[[0, 1], [2, 3]]\",a\n";
    let rows = read("a.csv", table, &LabelledFile::new(""), InputKind::Image);
    assert_eq!(pixels(&rows[0]).1, [0, 1, 2, 3]);
}

#[test]
fn images_are_files_beside_the_rows_or_in_folders_by_label() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["cat/b.png", "cat/a.JPG", "dog/c.jpeg", "dog/notes.txt", ".hidden/d.png"] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let rows = read_labelled(&[LabelledFile::new(folder.path())], InputKind::Image).unwrap();
    let found: Vec<_> = rows
        .iter()
        .map(|row| match (&row.input, &row.label) {
            (RowInput::Image(ImageData::File(path)), Some(label)) => {
                let path = path.strip_prefix(folder.path()).unwrap();
                (path.display().to_string(), label.as_str().unwrap().to_owned())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [("cat/a.JPG", "cat"), ("cat/b.png", "cat"), ("dog/c.jpeg", "dog")];
    assert_eq!(found, expected.map(|(path, label)| (path.to_owned(), label.to_owned())));

    let path = folder.path().join("rows.csv");
    fs::write(&path, "file_name,label\ncat/b.png,1\n").unwrap();
    let rows = read_labelled(&[LabelledFile::new(&path)], InputKind::Image).unwrap();
    let RowInput::Image(ImageData::File(image)) = &rows[0].input else { panic!("no file") };
    assert_eq!(image, &folder.path().join(Path::new("cat/b.png")));
}
