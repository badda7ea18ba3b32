use super::*;
use crate::message::TemplateMessage;
use crate::tests::shapes::{read, refused};

fn dialogue(row: &str) -> Dialogue {
    let records = read(row).unwrap();
    let RecordContent::Dialogue(dialogue) = &records[0].content else { panic!("shape") };
    dialogue.clone()
}

/// Messages with a turn of the user before and the assistant's turn `turn`.
fn assistant(turn: &str) -> String {
    format!(r#"{{"messages": [{{"role": "user", "content": "u"}}, {turn}]}}"#)
}

/// What a template sees of a message.
fn seen(message: &Message) -> String {
    serde_json::to_string(&TemplateMessage { message, parse_arguments: true }).unwrap()
}

#[test]
fn content_may_be_parts_of_text() {
    let parts = r#"{"role": "assistant", "content": [{"type": "text", "text": "a "},
                   {"type": "text", "text": "b"}]}"#;
    assert_eq!(dialogue(&assistant(&parts.replace('\n', ""))).messages[1].text(), "a b");
    let image = r#"{"role": "assistant", "content": [{"type": "text", "text": "a"},
                   {"type": "image_url", "image_url": {"url": "x"}}]}"#;
    let error = refused(&assistant(&image.replace('\n', "")));
    let expected =
        "line 1: `messages[1].content[1].type` is the string \"image_url\"; allowed: \"text\"";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn tool_calls_need_no_content_and_reach_the_template_as_objects_in_their_order() {
    let call = r#"{"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function",
        "function": {"name": "f", "arguments": "{\"z\":1,\"a\":[2]}"}}]}"#;
    let dialogue = dialogue(&assistant(&call.replace('\n', "")));
    let expected = r#"{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":{"z":1,"a":[2]}}}]}"#;
    assert_eq!(seen(&dialogue.messages[1]), expected);
    for (turn, key) in [
        (r#"{"role": "assistant", "content": null}"#, "messages[1].content` is null"),
        (r#"{"role": "assistant", "tool_calls": []}"#, "messages[1].content` is absent"),
        (r#"{"role": "user", "content": null}"#, "messages[1].content` is null"),
        (
            r#"{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}"#,
            "messages[1].tool_calls[0].function.arguments` is the string \"{\"; allowed: an object",
        ),
        (
            r#"{"role": "assistant", "tool_calls": [{"function": {"arguments": {}}}]}"#,
            "messages[1].tool_calls[0].function.name` is absent",
        ),
        (
            r#"{"role": "user", "content": "a", "tool_calls": [{"name": "f"}]}"#,
            "messages[1].tool_calls` is in a turn of the user",
        ),
        (r#"{"role": "tool", "content": "a", "tool_call_id": 1}"#, "tool_call_id` is the number 1"),
    ] {
        let error = refused(&assistant(turn));
        assert!(error.contains(key), "{turn}: {error}");
    }
}

#[test]
fn fields_reach_the_template_as_from_transformers() {
    let turn = r#"{"role": "assistant", "content": "a", "name": "n", "tool_calls": null,
                  "reasoning_content": "r", "own": {"z": 1, "a": 2}}"#;
    let dialogue = dialogue(&assistant(&turn.replace('\n', "")));
    let expected = r#"{"thinking":"r","role":"assistant","content":"a","name":"n","reasoning_content":"r","own":{"z":1,"a":2}}"#;
    assert_eq!(seen(&dialogue.messages[1]), expected);
    assert_eq!(dialogue.messages[1].reasoning(), "r");
    let result = r#"{"messages": [{"role": "developer", "content": "d"},
        {"role": "assistant", "content": "", "thinking": "t"},
        {"role": "tool", "content": "r", "tool_call_id": "1", "name": "f"}]}"#;
    let messages = super::messages::dialogue(&result.replace('\n', "")).messages;
    assert_eq!(messages[0].role, Role::Developer);
    assert_eq!(
        seen(&messages[1]),
        r#"{"thinking":"t","role":"assistant","content":"","reasoning_content":"t"}"#
    );
    assert_eq!(
        seen(&messages[2]),
        r#"{"role":"tool","content":"r","tool_call_id":"1","name":"f"}"#
    );
}

#[test]
fn tools_are_a_list_or_json_in_a_text() {
    let row = |tools: &str| {
        format!(r#"{{"messages": [{{"role": "assistant", "content": "a"}}], "tools": {tools}}}"#)
    };
    let tool = r#"{"type":"function","function":{"name":"f","description":"d"}}"#;
    let as_text = serde_json::to_string(&format!("[{tool}]")).unwrap();
    for tools in [format!("[{tool}]"), as_text] {
        let found = dialogue(&row(&tools)).tools.unwrap();
        assert_eq!(serde_json::to_string(&found[0]).unwrap(), tool);
    }
    assert_eq!(dialogue(&row("null")).tools, None);
    assert_eq!(dialogue(&row("\"\"")).tools, None);
    assert_eq!(dialogue(&row("[]")).tools, Some(Vec::new()));
    for (tools, expected) in [
        ("\"f\"", "line 1: `tools` is the string \"f\"; allowed: a list"),
        ("[1]", "line 1: `tools[0]` is the number 1"),
    ] {
        let error = refused(&row(tools));
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn train_and_weight_say_what_is_learned_and_do_not_reach_the_template() {
    for (keys, train) in [
        (r#""train": false"#, false),
        (r#""weight": 0"#, false),
        (r#""weight": 1.0"#, true),
        (r#""train": true, "weight": 1"#, true),
        (r#""train": null"#, true),
    ] {
        let turn = format!(r#"{{"role": "assistant", "content": "a", {keys}}}"#);
        let message = &dialogue(&assistant(&turn)).messages[1];
        assert_eq!(message.train, train, "{keys}");
        assert_eq!(seen(message), r#"{"role":"assistant","content":"a"}"#);
    }
    for (turn, expected) in [
        (
            r#"{"role": "assistant", "content": "a", "weight": 0.5}"#,
            "messages[1].weight` is the number 0.5; allowed: 0 or 1",
        ),
        (
            r#"{"role": "assistant", "content": "a", "train": true, "weight": 0}"#,
            "messages[1].train` is true beside a `weight` that says false",
        ),
        (
            r#"{"role": "user", "content": "a", "train": true}"#,
            "messages[1].train` is given to a turn of the user",
        ),
    ] {
        let error = refused(&assistant(turn));
        assert!(error.contains(expected), "{turn}: {error}");
    }
    let silent = r#"{"role": "assistant", "content": "", "train": false}"#;
    assert_eq!(dialogue(&assistant(silent)).messages[1].text(), "");
}

#[test]
fn a_template_that_wants_arguments_as_text_gets_them_as_they_stand() {
    let tokenizer = model_zoo::TextTokenizer::from_tokenizer(
        tokenizers::Tokenizer::new(tokenizers::models::wordlevel::WordLevel::default()),
        None,
        None,
        None,
    )
    .unwrap();
    let text = "{% for m in messages %}{% for c in m.tool_calls %}{{ 'call ' + \
                c.function.arguments }}{% endfor %}{% endfor %}";
    let tokenizer = tokenizer.with_chat_template(text).unwrap();
    let rendered = |arguments: &str| {
        let call = format!(r#"{{"function": {{"name": "f", "arguments": {arguments}}}}}"#);
        let turn = format!(r#"{{"role": "assistant", "tool_calls": [{call}]}}"#);
        TextEncoder::render_chat(&tokenizer, dialogue(&assistant(&turn)).view(), false)
    };
    assert_eq!(rendered(r#""{\"a\":1}""#).unwrap(), r#"call {"a":1}"#);
    assert!(rendered(r#"{"a": 1}"#).is_err(), "transformers refuses it, too");
}
