//! Tokenizers in folders.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::material;
use model_zoo::{ChatMessage, TextTokenizer, TokenizerError};
use serde_json::json;

fn tokenizer_json() -> String {
    json!({
        "version": "1.0",
        "added_tokens": [
            {"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
             "normalized": false, "special": true},
            {"id": 1, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false,
             "normalized": false, "special": true},
        ],
        "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
        },
        "decoder": null,
        "padding": {"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": null,
                    "pad_id": 1, "pad_type_id": 0, "pad_token": "</s>"},
        "model": {"type": "WordLevel", "unk_token": "?",
                  "vocab": {"<s>": 0, "</s>": 1, "?": 2, "one": 3, "two": 4, "größer": 5}},
    })
    .to_string()
}

fn folder(files: &[(&str, String)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokenizer.json"), tokenizer_json()).unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn config(value: serde_json::Value) -> (&'static str, String) {
    ("tokenizer_config.json", value.to_string())
}

#[test]
fn text_becomes_tokens_and_back() {
    let folder = folder(&[config(json!({"bos_token": "<s>", "eos_token": {"content": "</s>"}}))]);
    let tokenizer = TextTokenizer::from_folder(folder.path()).unwrap();
    // Not padded to 16, as the file asks.
    assert_eq!(tokenizer.encode("two one", true).unwrap(), [0, 4, 3]);
    assert_eq!(tokenizer.encode("two one", false).unwrap(), [4, 3]);
    let text = "größer one";
    let offsets = tokenizer.encode_with_offsets(text, true).unwrap();
    let parts: Vec<_> = offsets.iter().map(|(id, range)| (*id, &text[range.clone()])).collect();
    assert_eq!(parts, [(0, ""), (5, "größer"), (3, "one")]);
    assert_eq!(tokenizer.decode(&[0, 4, 3, 1], true).unwrap(), "two one");
    assert_eq!(tokenizer.decode(&[0, 4], false).unwrap(), "<s> two");
    assert_eq!((tokenizer.bos_token_id(), tokenizer.eos_token_id()), (Some(0), Some(1)));
    assert_eq!((tokenizer.pad_token_id(), tokenizer.vocab_size()), (None, 6));
}

#[test]
fn tokens_are_added_once_and_are_one_wherever_they_stand() {
    let folder = folder(&[]);
    let mut tokenizer = TextTokenizer::from_folder(folder.path()).unwrap();
    let tokens = ["<a>", "<b>", "</s>"].map(String::from);
    assert_eq!(tokenizer.add_special_tokens(&tokens).unwrap(), 2);
    assert_eq!(tokenizer.add_special_tokens(&tokens).unwrap(), 0);
    assert_eq!(tokenizer.encode("one<b>two<a>", false).unwrap(), [3, 7, 4, 6]);
    let error = tokenizer.add_special_tokens(&[" ".into()]);
    assert!(matches!(error, Err(TokenizerError::EmptyToken)));
}

#[test]
fn special_tokens_may_be_given_by_id() {
    let files = [
        ("config.json", json!({"bos_token_id": 0, "eos_token_id": 3}).to_string()),
        ("generation_config.json", json!({"eos_token_id": [1, 3]}).to_string()),
    ];
    let tokenizer = TextTokenizer::from_folder(folder(&files).path()).unwrap();
    assert_eq!((tokenizer.bos_token_id(), tokenizer.eos_token_id()), (Some(0), Some(1)));
}

#[test]
fn chat_templates_are_found_in_every_form() {
    let template = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}";
    let named =
        json!([{"name": "tool_use", "template": "no"}, {"name": "default", "template": template}]);
    let with = |value| vec![config(json!({"bos_token": "<s>", "chat_template": value}))];
    let mut file = with(json!("not this one"));
    file.push(("chat_template.jinja", template.to_owned()));
    for files in [with(json!(template)), with(named), file] {
        let tokenizer = TextTokenizer::from_folder(folder(&files).path()).unwrap();
        let messages = [ChatMessage::new("user", "one")];
        assert_eq!(tokenizer.apply_chat_template(&messages, true).unwrap(), "<s>one");
    }
}

#[test]
fn saved_tokenizers_are_read_back() {
    let config = config(json!({"bos_token": "<s>", "pad_token": "</s>", "chat_template": "x"}));
    let tokenizer = TextTokenizer::from_folder(folder(&[config]).path()).unwrap();
    let copy = tempfile::tempdir().unwrap();
    tokenizer.save(copy.path()).unwrap();
    let again = TextTokenizer::from_folder(copy.path()).unwrap();
    assert_eq!(again.encode("one two", true).unwrap(), [0, 3, 4]);
    assert_eq!(
        (again.bos_token_id(), again.eos_token_id(), again.pad_token_id()),
        (Some(0), None, Some(1))
    );
    assert_eq!(again.apply_chat_template(&[], false).unwrap(), "x");
    let error = tokenizer.save(copy.path().join("tokenizer.json")).unwrap_err();
    assert!(matches!(error, TokenizerError::Io { .. }), "{error}");
}

#[test]
fn folders_that_make_no_sense_are_refused() {
    let empty = tempfile::tempdir().unwrap();
    let read = |folder: &tempfile::TempDir| TextTokenizer::from_folder(folder.path());
    assert!(matches!(read(&empty), Err(TokenizerError::File { .. })));
    let broken = folder(&[("tokenizer.json", "{}".to_owned())]);
    assert!(matches!(read(&broken), Err(TokenizerError::File { .. })));
    let broken = folder(&[("tokenizer_config.json", "[1]".to_owned())]);
    assert!(matches!(read(&broken), Err(TokenizerError::File { .. })));
    let unknown = folder(&[config(json!({"eos_token": "<end>"}))]);
    assert!(matches!(read(&unknown), Err(TokenizerError::UnknownToken { role: "eos_token", .. })));
    let template = folder(&[config(json!({"chat_template": 3}))]);
    assert!(matches!(read(&template), Err(TokenizerError::File { .. })));
    let template = folder(&[config(json!({"chat_template": "{% if %}"}))]);
    assert!(matches!(read(&template), Err(TokenizerError::ChatTemplate { .. })));
    let none = read(&folder(&[])).unwrap();
    assert!(!none.has_chat_template());
    assert!(matches!(none.apply_chat_template(&[], true), Err(TokenizerError::NoChatTemplate)));
}

#[test]
fn remembered_words_change_nothing() {
    let folder = folder(&[]);
    let model = json!({
        "type": "BPE",
        "vocab": {"a": 0, "b": 1, "ab": 2, "abab": 3},
        "merges": [["a", "b"], ["ab", "ab"]],
    });
    let mut whole: serde_json::Value = serde_json::from_str(&tokenizer_json()).unwrap();
    whole["model"] = model;
    whole["added_tokens"] = json!([]);
    whole["post_processor"] = json!(null);
    fs::write(folder.path().join("tokenizer.json"), whole.to_string()).unwrap();
    let tokenizer = TextTokenizer::from_folder(folder.path()).unwrap();
    for words in [0, 1, 1000] {
        let limited = tokenizer.clone().with_cached_words(words);
        for text in ["abab aab", "abab aab", "b ab abab"] {
            let expected = tokenizer.encode(text, false).unwrap();
            assert_eq!(limited.encode(text, false).unwrap(), expected, "{words} words");
        }
    }
    assert_eq!(tokenizer.encode("abab aab", false).unwrap(), [3, 0, 2]);
}

#[test]
fn a_sentencepiece_tokenizer_keeps_its_spaces() {
    let Some(folder) = material("stories260K") else { return };
    let tokenizer = TextTokenizer::from_folder(folder).unwrap();
    let text = "Once upon a time, there was a cat";
    let ids = tokenizer.encode(text, true).unwrap();
    assert_eq!(ids[0], tokenizer.bos_token_id().unwrap());
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), text);
}

#[test]
fn a_tokenizer_that_panics_is_an_error() {
    // Stripped of both ends at once, a token of one character has nothing between them.
    let strip = r#"{"type":"Strip","content":"?","start":1,"stop":1}"#;
    let text = tokenizer_json().replace(r#""decoder":null"#, &format!(r#""decoder":{strip}"#));
    let folder = folder(&[("tokenizer.json", text)]);
    let tokenizer = TextTokenizer::from_folder(folder.path()).unwrap();
    let error = tokenizer.decode(&[2], false).unwrap_err();
    assert!(matches!(error, TokenizerError::Text { .. }), "{error}");
}
