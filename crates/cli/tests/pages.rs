//! The commands of documentation pages run as they stand, on a small model and its data.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::path::Path;
use std::process::Command;

use support::{arg, tiny_model};

/// The fenced blocks of a page: what follows the fence, and the text.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let mut rest = page;
    let mut found = Vec::new();
    while let Some((_, after)) = rest.split_once("\n```") {
        let (language, after) = after.split_once('\n').unwrap();
        let (text, after) = after.split_once("\n```").unwrap();
        found.push((language, text));
        rest = after;
    }
    found
}

/// The words of a line, quoted ones without their quotes; what follows `#` is a comment.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for (at, c) in line.char_indices() {
        match (c, quote) {
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            ('#', None) if line[..at].ends_with(' ') => break,
            (' ', None) => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Runs what a page shows: a block of TOML that begins with `# FILE` is written to that file (what
/// follows a semicolon is a remark), and each `lora-moe` of the shell blocks must succeed, but for
/// `logits`, which needs tensors. Returns how many did.
fn run_page(name: &str, replaced: &[(&str, &str)], folder: &Path) -> usize {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src").join(name);
    let page = std::fs::read_to_string(path).unwrap();
    let mut count = 0;
    for (language, text) in blocks(&page) {
        let mut text = text.to_owned();
        for (from, to) in replaced {
            text = text.replace(from, to);
        }
        let first = text.lines().next().and_then(|line| line.strip_prefix("# "));
        let file = first.map(|line| line.split(';').next().unwrap_or(line));
        match (language, file) {
            ("toml", Some(file)) if file.ends_with(".toml") => {
                std::fs::write(folder.join(file), &text).unwrap();
            }
            ("sh", _) => {
                for line in text.replace("\\\n", " ").lines() {
                    let words = words(line);
                    if words.first().is_none_or(|word| word != "lora-moe") || words[1] == "logits" {
                        continue;
                    }
                    let output = Command::new(env!("CARGO_BIN_EXE_lora-moe"))
                        .args(&words[1..])
                        .current_dir(folder)
                        .env_remove("LORA_MOE_DEVICE")
                        .output()
                        .unwrap();
                    let error = String::from_utf8_lossy(&output.stderr);
                    assert!(output.status.success(), "{name}: {line}: {error}");
                    count += 1;
                }
            }
            _ => {}
        }
    }
    count
}

#[test]
fn the_page_on_training() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = tiny_model(folder.path());
    let replaced = [("path/to/llama", arg(&model)), ("train.json", arg(&data))];
    // The page says that it is alike.
    let slim = format!(
        "[model]\npath = {model:?}\n[adapter]\npreset = \"slim\"\nr = 8\n[data]\n\
         train = [{{ path = {data:?} }}]\n[training]\noutput_dir = \"runs/slim\"\nmax_steps = 8\n"
    );
    std::fs::write(folder.path().join("slim.toml"), slim).unwrap();
    assert_eq!(run_page("training.md", &replaced, folder.path()), 9);
}

#[test]
fn the_page_on_data() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = tiny_model(folder.path());
    let replaced = [("path/to/llama", arg(&model)), ("train.json", arg(&data))];
    assert_eq!(run_page("data.md", &replaced, folder.path()), 3);
    assert!(folder.path().join("cache").is_dir());
}

/// As GLUE has CoLA: a table without names, on a RoBERTa of a few words.
#[test]
fn the_page_on_encoders() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("roberta");
    std::fs::create_dir_all(folder.path().join("cola")).unwrap();
    std::fs::create_dir_all(&model).unwrap();
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for part in ["evaluation/tests/golden/classification", "model-zoo/tests/golden"] {
        for entry in std::fs::read_dir(crates.join(part).join("roberta_cls")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), model.join(entry.file_name())).unwrap();
        }
    }
    let rows = |count: usize| {
        let rows = (0..count).map(|at| match at % 2 {
            0 => "gj04\t1\t\tba ki\n",
            _ => "gj04\t0\t*\tki\n",
        });
        rows.collect::<String>()
    };
    std::fs::write(folder.path().join("cola/train.tsv"), rows(64)).unwrap();
    std::fs::write(folder.path().join("cola/dev.tsv"), rows(8)).unwrap();
    std::fs::write(folder.path().join("test.tsv"), rows(2)).unwrap();
    let replaced = [("path/to/roberta-base", arg(&model)), ("_steps = 100", "_steps = 4")];
    assert_eq!(run_page("encoders.md", &replaced, folder.path()), 7);
    for predictions in ["predictions.jsonl", "predictions.csv"] {
        let text = std::fs::read_to_string(folder.path().join(predictions)).unwrap();
        assert!(text.contains("acceptable"), "{text}");
    }
}

#[test]
fn words_are_those_of_a_shell() {
    let line = "lora-moe train --set 'a=[{ b = \"c\" }]'  x#y # and so on";
    assert_eq!(words(line), ["lora-moe", "train", "--set", "a=[{ b = \"c\" }]", "x#y"]);
}
