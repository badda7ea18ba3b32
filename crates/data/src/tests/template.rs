use super::*;

fn render(template: &PromptTemplate, input: &str) -> Result<String, DataError> {
    template.render("do", input, &instruction("", "", "").origin)
}

#[test]
fn published_templates() {
    let alpaca = render(&PromptTemplate::Alpaca, "").unwrap();
    assert!(
        alpaca.starts_with("Below is an instruction that describes a task. Write a response that")
    );
    assert!(alpaca.ends_with("completes the request.\n\n### Instruction:\ndo\n\n### Response:"));
    let alpaca = render(&PromptTemplate::Alpaca, "it").unwrap();
    assert!(alpaca.contains("a task, paired with an input that provides further context. Write a"));
    assert!(alpaca.ends_with("### Instruction:\ndo\n\n### Input:\nit\n\n### Response:"));
    assert_eq!(render(&PromptTemplate::Plain, "").unwrap(), "do");
    assert_eq!(render(&PromptTemplate::Plain, "it").unwrap(), "do\nit");
    assert_eq!(render(&PromptTemplate::Chat, "it").unwrap(), "do\n\nit");
}

#[test]
fn own_template_fills_placeholders_once() {
    let template = PromptTemplate::Custom("{{Q}} {instruction} <{input}>:".into());
    template.check().unwrap();
    assert_eq!(render(&template, "{instruction}").unwrap(), "{Q} do <{instruction}>:");
    assert_eq!(render(&template, "").unwrap(), "{Q} do <>:");
}

#[test]
fn own_template_is_checked() {
    for (text, expected) in [
        ("Q: {question}", "unknown placeholder {question}"),
        ("Q: {instruction", "an unpaired `{` at byte 3"),
        ("Q} {instruction}", "an unpaired `}` at byte 1"),
        ("Q: {input}", "no {instruction} in it"),
    ] {
        let found = PromptTemplate::Custom(text.into()).check().unwrap_err().to_string();
        assert!(found.contains(expected), "{text}: {found}");
    }
    let template = PromptTemplate::Custom("{instruction}".into());
    assert_eq!(render(&template, " ").unwrap(), "do");
    let error = render(&template, "it").unwrap_err().to_string();
    assert!(error.starts_with("test.jsonl, line 1: has `input`"), "{error}");
    assert!(error.contains("add {input} to the template"), "{error}");
}

#[test]
fn configuration_values() {
    let config: EncodeConfig =
        serde_json::from_str(r#"{"template": {"custom": "{instruction}"}, "max_length": 8}"#)
            .unwrap();
    assert_eq!(config.template, PromptTemplate::Custom("{instruction}".into()));
    assert_eq!(EncodeConfig::default().max_length, 1024);
    assert_eq!(serde_json::to_string(&PromptTemplate::default()).unwrap(), "\"alpaca\"");
    assert!(serde_json::from_str::<EncodeConfig>(r#"{"maxlength": 8}"#).is_err());
    assert!(serde_json::from_str::<PromptTemplate>("\"vicuna\"").is_err());
    let short = EncodeConfig { max_length: 1, ..EncodeConfig::default() };
    assert!(
        short
            .check()
            .unwrap_err()
            .to_string()
            .starts_with("`max_length` is 1; allowed: at least 2")
    );
}
