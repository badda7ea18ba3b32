//! The commonest mistakes of a user: each is told in one line that says what is wrong, where, and
//! what to do.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod place;
#[path = "../support/mod.rs"]
mod support;
mod table;

use std::path::Path;

use place::Place;
use support::lora_moe;
use table::mistakes;

/// Whether a text has the parts of a pattern, which `…` separates, in their order.
fn says(text: &str, pattern: &str) -> bool {
    let mut rest = text;
    pattern.split('…').all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

/// The error of a command: the line that begins with `error: `.
fn error_of(place: &Place, command: &str) -> (Option<i32>, String) {
    let arguments: Vec<String> = command.split_whitespace().map(|word| place.fill(word)).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = lora_moe(&arguments);
    let error = String::from_utf8_lossy(&output.stderr).replace(place.root(), "DIR");
    (output.status.code(), error)
}

#[test]
fn every_mistake_is_told_with_what_and_where_and_what_to_do() {
    let place = Place::new();
    let mut wrong = Vec::new();
    for (mistake, command, pattern) in mistakes() {
        let (status, error) = error_of(&place, command);
        let lines: Vec<_> = error.lines().filter(|line| line.starts_with("error: ")).collect();
        // 2 is the parser's, which adds how the command is used.
        let status = status == Some(1) || status == Some(2);
        let panicked = error.contains("internal error") || error.contains("panicked");
        let line = lines.first().copied().unwrap_or_default();
        if !status || panicked || lines.len() != 1 || !says(line, pattern) {
            wrong.push(format!("{mistake}: {command}\n  says {error}  instead of {pattern}\n"));
        }
        if std::env::var_os("LORA_MOE_SHOW_MISTAKES").is_some() {
            println!("# {mistake}\n{error}");
        }
    }
    let count = mistakes().count();
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 60, "{count}");
}

/// The message that a heading of the page is made of, as code of one or two backticks.
fn message(line: &str) -> Option<&str> {
    let code = line.strip_prefix("### ")?;
    let two = || code.strip_prefix("`` ")?.strip_suffix(" ``");
    two().or_else(|| code.strip_prefix('`')?.strip_suffix('`'))
}

#[test]
fn the_page_on_trouble_has_the_messages_that_the_command_prints() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/troubleshooting.md");
    let page = std::fs::read_to_string(page).unwrap();
    let place = Place::new();
    let errors: Vec<String> =
        mistakes().map(|(_, command, _)| error_of(&place, command).1).collect();
    let messages: Vec<&str> = page.lines().filter_map(message).collect();
    assert!(messages.len() >= 20, "{}", messages.len());
    let unknown: Vec<_> = messages
        .into_iter()
        .filter(|message| !errors.iter().any(|error| says(error, message)))
        .collect();
    assert!(unknown.is_empty(), "no mistake of the table gives {unknown:#?}");
}

#[test]
fn a_pattern_is_found_in_its_order() {
    assert!(says("a b c", "a…c") && says("abc", "b") && !says("c a", "a…c"));
}
