use std::io::Write;

use super::*;

fn read(bytes: &[u8]) -> Result<Vec<Record>, DataError> {
    read_typed(bytes, None)
}

fn read_typed(bytes: &[u8], task_type: Option<u32>) -> Result<Vec<Record>, DataError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    read_records(&[DataFile { path: file.path().into(), task_type, ..DataFile::default() }])
}

fn message(bytes: &str) -> String {
    read(bytes.as_bytes()).unwrap_err().to_string()
}

#[test]
fn reads_an_array_of_instructions() {
    let text = r#"[{"instruction": "a", "input": "b", "output": "c", "answer": 8.0, "id": [1]},
                   {"instruction": "a", "input": null, "output": "c", "task_type": 1}]"#;
    let records = read(text.as_bytes()).unwrap();
    assert_eq!(records[0].content, instruction("a", "b", "c").content);
    assert_eq!(records[1].content, instruction("a", "", "c").content);
    assert_eq!((records[0].task_type, records[1].task_type), (None, Some(1)));
    assert_eq!((records[1].origin.row, records[1].origin.line), (1, None));
}

#[test]
fn reads_json_lines_with_byte_order_mark_and_blank_lines() {
    let text = "\u{feff}\n{\"prompt\": \"a\", \"completion\": \"b\"}\r\n\r\n  \n\
                {\"prompt\": \"a\", \"completion\": \"c\", \"more\": 1}\n";
    let records = read(text.as_bytes()).unwrap();
    assert_eq!(records[0].content, completion("a", "b").content);
    assert_eq!(records[1].content, completion("a", "c").content);
    assert_eq!((records[1].origin.row, records[1].origin.line), (1, Some(5)));
}

#[test]
fn reads_messages() {
    let text = r#"{"messages": [{"role": "system", "content": ""}, {"role": "user", "content": "a"},
                   {"role": "assistant", "content": "b"}, {"role": "tool", "content": "c"}]}"#;
    let records = read(text.replace('\n', " ").as_bytes()).unwrap();
    let RecordContent::Dialogue(dialogue) = &records[0].content else { panic!("shape") };
    assert_eq!(dialogue.messages[3], Message::new(Role::Tool, "c"));
    assert_eq!(records[0].answer(), "b");
}

#[test]
fn reads_tables() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::write(&path, "instruction,output,id\nsay hello,hello,3\n").unwrap();
    let records = read_records(&[path.into()]).unwrap();
    assert_eq!(records[0].content, instruction("say hello", "", "hello").content);
}

#[test]
fn a_file_gives_its_task_type_to_records_without_one() {
    let text = b"{\"prompt\": \"a\", \"completion\": \"b\"}\n\
                 {\"prompt\": \"a\", \"completion\": \"b\", \"task_type\": 7}";
    let types: Vec<_> =
        read_typed(text, Some(0)).unwrap().iter().map(|record| record.task_type).collect();
    assert_eq!(types, [Some(0), Some(7)]);
}

#[test]
fn errors_name_place_key_and_what_is_allowed() {
    let cases = [
        (
            r#"{"instruction": "a"}"#,
            "line 1: no known shape; its columns are `instruction`. Known shapes: \"instruction\": `inst",
        ),
        (r#"{"instruction": "a", "output": null}"#, "`output` (null)"),
        ("{}", "no known shape; its columns are none. Known shapes: "),
        (r#"{"instruction": "a", "output": 5}"#, "`output` is the number 5; allowed: a string"),
        (r#"{"instruction": "a", "input": [1], "output": "b"}"#, "`input` is a list of 1 values"),
        (
            r#"{"prompt": "a", "completion": " \n"}"#,
            "`completion` is empty; allowed: a string with",
        ),
        (r#"{"question": "a", "answer": ["b"]}"#, "`answer` is a list of 1 values"),
        (r#"{"messages": "a"}"#, "`messages` is the string \"a\"; allowed: a list of"),
        (
            "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"question\": \"a\", \"answer\": \"b\"}",
            "line 2: `prompt` is absent; allowed: a string",
        ),
        (r#"{"messages": []}"#, "`messages` is without an assistant turn"),
        (
            r#"{"messages": ["a"]}"#,
            "`messages[0]` is the string \"a\"; allowed: {role, content} or",
        ),
        (
            r#"{"messages": [{"role": "gpt", "content": "a"}]}"#,
            "`messages[0].role` is the string \"gpt\"",
        ),
        (r#"{"messages": [{"content": "a"}]}"#, "`messages[0].role` is absent"),
        (
            r#"{"messages": [{"role": "user", "content": {}}]}"#,
            "`messages[0].content` is an object",
        ),
        (
            r#"{"messages": [{"role": "assistant", "content": ""}]}"#,
            "`messages[0].content` is empty",
        ),
        (r#"{"prompt": "a", "completion": "b", "task_type": -1}"#, "`task_type` is the number -1"),
        (
            r#"{"prompt": "a", "completion": "b", "task_type": 0.5}"#,
            "`task_type` is the number 0.5",
        ),
        (
            r#"{"prompt": "a", "completion": "b", "task_type": "1"}"#,
            "`task_type` is the string \"1\"",
        ),
        (
            r#"[{"prompt": "a", "completion": "b"}, 3]"#,
            "index 1: a row is an object of named values, not `3`",
        ),
        ("{\"prompt\": \"a\", \"completion\": \"b\"}\n\n{\"prompt\": }", "line 3: expected value"),
        ("[\n{},\n{\"a\" 1}]", "line 3: expected `:`"),
        (
            "a,b\n1,2",
            "not JSON, which begins with `[` or `{`, but `a,b\\n1,2`; a table's name ends in",
        ),
        ("", "no records in"),
        ("[]", "no records in"),
    ];
    for (text, expected) in cases {
        let found = message(text);
        assert!(found.contains(expected), "{text}\n  gave: {found}\n  expected: {expected}");
    }
}

#[test]
fn unreadable_files_are_named() {
    let missing = read_records(&["/nowhere/x.json".into()]).unwrap_err();
    assert!(missing.to_string().starts_with("cannot read /nowhere/x.json: "));
    let broken = read(b"{\"a\": \"\xff\"}").unwrap_err().to_string();
    assert!(broken.contains("not UTF-8 at byte 7"), "{broken}");
    assert!(matches!(read_records(&[]), Err(DataError::NoRecords(_))));
}

#[test]
fn file_settings_reject_unknown_keys() {
    let file: DataFile = serde_json::from_str(r#"{"path": "a.json", "task_type": 1}"#).unwrap();
    assert_eq!(file, DataFile::new("a.json").with_task_type(1));
    assert!(serde_json::from_str::<DataFile>(r#"{"path": "a.json", "tasktype": 1}"#).is_err());
}

#[test]
fn prompts_are_read_without_their_answers() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read_prompts(&DataFile::new(path))
    };
    let first = |name: &str, text: &str| read(name, text).unwrap().remove(0).content;
    let completion = |prompt: &str, answer: &str| RecordContent::Completion {
        prompt: prompt.into(),
        completion: answer.into(),
    };
    assert_eq!(first("p.jsonl", r#"{"prompt": "a"}"#), completion("a", ""));
    assert_eq!(first("t.csv", "text,other\na,1\n"), completion("a", ""));
    let both = r#"{"prompt": "a", "completion": "b"}"#;
    assert_eq!(first("c.jsonl", both), completion("a", "b"));
    let RecordContent::Instruction(asked) = first("q.jsonl", r#"{"question": "a"}"#) else {
        panic!("no instruction");
    };
    assert_eq!((&asked.instruction[..], &asked.output[..]), ("a", ""));
    let chat = r#"{"messages": [{"role": "user", "content": "a"}]}"#;
    let RecordContent::Dialogue(dialogue) = first("m.jsonl", chat) else { panic!("no dialogue") };
    assert_eq!(dialogue.messages.len(), 1);
    assert!(read("x.jsonl", r#"{"other": "a"}"#).unwrap_err().to_string().contains("`other`"));
}
