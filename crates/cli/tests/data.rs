//! `lora-moe data`: what training would see.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use lora_moe::data::Sample;
use lora_moe::finetune::run::{RunConfig, load_samples};
use lora_moe::model_zoo::TextTokenizer;
use serde_json::Value;
use support::{arg, lora_moe, succeeds, tiny_model};

const TEMPLATE: &str = "{% for m in messages %}{{ m.role }} : {{ m.content }} </s>{% endfor %}\
                        {% if add_generation_prompt %}assistant :{% endif %}";

/// A run on the demo's words: the folder, its configuration and its model.
struct Run {
    _folder: tempfile::TempDir,
    config: String,
    model: String,
    data: std::path::PathBuf,
}

impl Run {
    fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (model, data) = tiny_model(folder.path());
        std::fs::write(model.join("chat_template.jinja"), TEMPLATE).unwrap();
        // No weights are needed to look at data.
        std::fs::remove_file(model.join("model.safetensors")).unwrap();
        let config = folder.path().join("run.toml");
        let text = format!(
            "[model]\npath = {model:?}\n[adapter]\npreset = \"lora\"\n[data]\n\
             train = [{{ path = {data:?} }}]\n{more}\n[training]\noutput_dir = \"unset\"\n"
        );
        std::fs::write(&config, text).unwrap();
        Self { config: arg(&config).into(), model: arg(&model).into(), data, _folder: folder }
    }

    fn samples(&self, overrides: &[String]) -> Vec<Sample> {
        let run = RunConfig::from_file(Path::new(&self.config), overrides).unwrap();
        let tokenizer = TextTokenizer::from_folder(&self.model).unwrap();
        load_samples(&run.data.train, &run.data, run.data.longest(64), &tokenizer).unwrap().0
    }

    fn shown(&self, more: &[&str]) -> String {
        let mut arguments = vec!["data", "--config", &self.config];
        arguments.extend(more);
        succeeds(&arguments)
    }
}

#[test]
fn labels_are_the_masks_that_training_learns() {
    let run = Run::new("template = \"plain\"\nmax_length = 1000");
    let lines = run.shown(&["--json"]);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let samples = run.samples(&[]);
    assert_eq!(lines.len(), samples.len());
    for (line, sample) in lines.iter().zip(&samples) {
        let ids: Vec<u32> = serde_json::from_value(line["input_ids"].clone()).unwrap();
        let labels: Vec<i64> = serde_json::from_value(line["labels"].clone()).unwrap();
        assert_eq!(ids, sample.input_ids);
        let mask: Vec<bool> = labels.iter().map(|label| *label != -100).collect();
        assert_eq!(mask, sample.target_mask);
        let known = |(label, id): (&i64, &u32)| *label == -100 || *label == i64::from(*id);
        assert!(labels.iter().zip(&ids).all(known));
        assert_eq!(line["task_type"], sample.task_type.unwrap());
    }
    assert!(lines[0]["text"].as_str().unwrap().starts_with("<s>"), "{}", lines[0]);
    assert!(lines[1]["origin"].as_str().unwrap().ends_with("data.json, row 1"), "{}", lines[1]);
    assert_eq!(run.shown(&["--json", "--show", "3"]).lines().count(), 3);
}

#[test]
fn what_is_learned_stands_in_brackets_and_rows_are_counted() {
    let run = Run::new("template = \"chat\"\nmax_length = 1000");
    let shown = run.shown(&["--show", "1"]);
    let (first, counts) = shown.split_once("\n\n").unwrap();
    let (head, text) = first.split_once('\n').unwrap();
    assert!(head.starts_with("── ") && head.contains("data.json, row 0 · "), "{head}");
    // The words of the demo have none for roles.
    assert!(text.starts_with("<unk> : question : ") && text.contains("</s>"), "{text}");
    let learned = text.split_once("⟦").unwrap().1;
    assert!(learned.ends_with("</s>⟧") && !learned.contains("question"), "{text}");
    assert!(counts.starts_with("train\nrows            120 (120 samples)\n"), "{counts}");
    let short = run.shown(&["--show", "2", "--set", "data.max_length=4"]);
    assert!(short.contains("left out: nothing learned within 4 tokens"), "{short}");
    assert!(short.contains("cut rows        120\ndropped rows    120\n"), "{short}");
}

#[test]
fn a_table_that_calls_itself_json_is_quoted_briefly() {
    let run = Run::new("");
    let table = format!("instruction,output\u{1b}[31m\n{}\n", "x,y\n".repeat(1000));
    std::fs::write(&run.data, table).unwrap();
    let output = lora_moe(&["data", "--config", &run.config]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("`instruction,output\\u{1b}[31m\\nx,y"), "{error}");
    assert!(error.len() < 400 && !error.contains('\u{1b}'), "{error}");
}

/// As `lora-moe data | head` has it.
#[test]
fn a_reader_that_has_enough_ends_it_without_an_error() {
    let run = Run::new("template = \"plain\"");
    let mut child = Command::new(env!("CARGO_BIN_EXE_lora-moe"))
        .args(["data", "--config", &run.config])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !error.contains("error"), "{error}");
}
