use super::*;

/// The records of one JSON file with settings.
fn read_as(settings: &str, text: &str) -> Result<Vec<Record>, DataError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    std::fs::write(&path, text).unwrap();
    let mut file: DataFile = toml_like(settings);
    file.path = path;
    read_records(&[file])
}

/// Settings as JSON, with a path that is replaced.
fn toml_like(settings: &str) -> DataFile {
    let more = if settings.is_empty() { String::new() } else { format!(", {settings}") };
    serde_json::from_str(&format!(r#"{{"path": "x"{more}}}"#)).unwrap()
}

pub(super) fn read(text: &str) -> Result<Vec<Record>, DataError> {
    read_as("", text)
}

pub(super) fn refused(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

fn content(settings: &str, row: &str) -> RecordContent {
    read_as(settings, &row.replace('\n', " ")).unwrap()[0].content.clone()
}

/// Turns as `role: text`, unlearned ones of the assistant in parentheses.
fn turns(content: &RecordContent) -> Vec<String> {
    let RecordContent::Dialogue(dialogue) = content else { panic!("{content:?}") };
    let turn = |message: &Message| {
        let text = format!("{}: {}", message.role.as_str(), message.text());
        if message.train { text } else { format!("({text})") }
    };
    dialogue.messages.iter().map(turn).collect()
}

#[test]
fn sharegpt_is_read_with_its_calls_and_tools() {
    let row = r#"{"conversations": [
        {"from": "human", "value": "q"},
        {"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {\"z\": 1, \"a\": 2}}"},
        {"from": "observation", "value": "r"}, {"from": "gpt", "value": "a"}],
        "system": "s", "tools": "[{\"name\": \"f\", \"parameters\": {}}]"}"#;
    let content = content("", row);
    assert_eq!(turns(&content), ["system: s", "user: q", "assistant: ", "tool: r", "assistant: a"]);
    let RecordContent::Dialogue(dialogue) = &content else { panic!("shape") };
    let json = |value: &OrderedValue| serde_json::to_string(value).unwrap();
    assert_eq!(
        json(dialogue.messages[2].field("tool_calls").unwrap()),
        r#"[{"type":"function","function":{"name":"f","arguments":{"z":1,"a":2}}}]"#
    );
    assert_eq!(
        json(&dialogue.tools.as_ref().unwrap()[0]),
        r#"{"type":"function","function":{"name":"f","parameters":{}}}"#
    );
    for (turn, expected) in [
        (
            r#"{"from": "bot", "value": "a"}"#,
            "`conversations[0].from` is the string \"bot\"; allowed: \"system\", \"human\"",
        ),
        (
            r#"{"from": "function_call", "value": "f(1)"}"#,
            "`conversations[0].value` is the string \"f(1)\"; allowed: a call as JSON",
        ),
    ] {
        let error = refused(&format!(r#"{{"conversations": [{turn}]}}"#));
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn alpaca_has_system_and_history() {
    let row = r#"{"instruction": "i", "input": "x", "output": "o", "system": "s",
                  "history": [["a", "b"], ["c", "d"]], "text": "all of it"}"#;
    let RecordContent::Instruction(found) = content("", row) else { panic!("shape") };
    assert_eq!(found.system.as_deref(), Some("s"));
    assert_eq!(found.history, [("a".into(), "b".into()), ("c".into(), "d".into())]);
    let empty = r#"{"instruction": "i", "output": "o", "system": "", "history": []}"#;
    assert_eq!(content("", empty), instruction("i", "", "o").content);
    let error = refused(r#"{"instruction": "i", "output": "o", "history": [["a"]]}"#);
    assert!(error.contains("line 1: `history[0]` is a list of 1 values"), "{error}");
}

#[test]
fn a_prompt_of_messages_is_read_and_its_completion_learned() {
    let row = r#"{"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"}], "completion": [{"role": "assistant", "content": "d"}]}"#;
    let expected = ["(user: a)", "(assistant: b)", "(user: c)", "assistant: d"];
    assert_eq!(turns(&content("", row)), expected);
    let error = refused(r#"{"prompt": [{"role": "user", "content": "a"}], "completion": "d"}"#);
    assert!(error.contains("`completion` is the string \"d\"; allowed: a list of"), "{error}");
}

#[test]
fn of_preferences_the_chosen_answer_is_learned() {
    assert_eq!(
        content("", r#"{"prompt": "p", "chosen": "c", "rejected": "r"}"#),
        completion("p", "c").content
    );
    let talk = r#"[{"role": "user", "content": "p"}, {"role": "assistant", "content": "c"}]"#;
    let expected = ["user: p", "assistant: c"];
    for row in [
        format!(r#"{{"prompt": "p", "chosen": {talk}, "rejected": []}}"#),
        format!(r#"{{"chosen": {talk}}}"#),
        r#"{"prompt": "p", "chosen": [{"role": "assistant", "content": "c"}]}"#.to_owned(),
    ] {
        assert_eq!(turns(&content("", &row)), expected, "{row}");
    }
    let row = r#"{"prompt": [{"role": "user", "content": "p"}],
                  "chosen": [{"role": "assistant", "content": "c"}]}"#;
    assert_eq!(turns(&content("", row)), ["(user: p)", "assistant: c"]);
    assert!(refused(r#"{"chosen": "c"}"#).contains("line 1: `prompt` is absent"));
}

#[test]
fn a_text_is_a_shape_where_there_is_no_other() {
    assert_eq!(content("", r#"{"text": "t", "id": 1}"#), RecordContent::Text("t".into()));
    let row = r#"{"instruction": "i", "output": "o", "text": "t"}"#;
    assert_eq!(content("", row), instruction("i", "", "o").content);
    assert_eq!(content(r#""shape": "text""#, row), RecordContent::Text("t".into()));
}

#[test]
fn more_than_one_shape_has_to_be_decided() {
    let row =
        r#"{"prompt": "p", "chosen": "c", "messages": [{"role": "assistant", "content": "a"}]}"#;
    let error = refused(row);
    let expected = "line 1: more than one shape (\"messages\", \"preference\"); its columns are \
                    `prompt`, `chosen`, `messages`. Known shapes: \"instruction\": ";
    assert!(error.contains(expected), "{error}");
    assert_eq!(content(r#""shape": "preference""#, row), completion("p", "c").content);
    assert_eq!(turns(&content(r#""shape": "messages""#, row)), ["assistant: a"]);
}

#[test]
fn columns_and_tags_are_those_of_llama_factory() {
    let settings = r#""columns": {"prompt": "q", "query": "x", "response": "a", "history": "h"}"#;
    let row = r#"{"q": "i", "x": "y", "a": "o", "h": null, "messages": "no"}"#;
    assert_eq!(content(settings, row), instruction("i", "y", "o").content);
    let row_with_history = row.replace("null", r#"[["a", "b"]]"#);
    let RecordContent::Instruction(found) = content(settings, &row_with_history) else {
        panic!("shape")
    };
    assert_eq!(found.history, [("a".into(), "b".into())]);
    assert_eq!(
        content(r#""columns": {"prompt": "q", "completion": "a"}"#, row),
        completion("i", "o").content
    );
    let settings = r#""columns": {"messages": "talk", "system": "sys"}, "tags": {"role_tag": "who",
        "content_tag": "said", "user_tag": "Q", "assistant_tag": "A", "function_tag": "F"}"#;
    let settings = settings.replace('\n', "");
    let row = r#"{"talk": [{"who": "Q", "said": "q"}, {"who": "F", "said": "{\"name\": \"f\"}"},
                  {"who": "tool", "said": "r"}, {"who": "A", "said": "a"}], "sys": "s"}"#;
    let expected = ["system: s", "user: q", "assistant: ", "tool: r", "assistant: a"];
    assert_eq!(turns(&content(&settings, row)), expected);
    let error = read_as(&settings, r#"{"talk": [], "system": "s"}"#).unwrap_err().to_string();
    let expected = "line 1: `columns.system` is `sys`, which is not there; its columns are `talk`, \
                    `system`.";
    assert!(error.contains(expected), "{error}");
    let error = read_as(
        r#""columns": {"prompt": "q", "response": "a"}"#,
        "{\"q\":\"\",\"a\":\"b\"}\n{\"q\":\"\"}",
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("line 2: `a` is absent; allowed: a string"), "{error}");
}

#[test]
fn two_texts_of_the_system_are_refused() {
    let row = |system: &str| {
        format!(
            r#"{{"messages": [{{"role": "system", "content": "s"}},
                {{"role": "assistant", "content": "a"}}], "system": "{system}"}}"#
        )
        .replace('\n', "")
    };
    assert_eq!(turns(&content("", &row("s"))), ["system: s", "assistant: a"]);
    let error = refused(&row("t"));
    assert!(error.contains("`system` is another text than that of the first turn"), "{error}");
}
