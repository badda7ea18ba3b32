//! What the LM evaluation harness makes of the same tasks with the same model:
//! `tests/golden/harness/README.md`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use eval_tasks::Limit;
use evaluation::results::{EvaluationResults, read_samples};
use evaluation::run::{LanguageModel, Output, RunOptions, TaskRun};
use evaluation::scoring::ScoringOptions;
use model_zoo::{Decoder, LoadOptions, TextTokenizer};
use serde_json::{Map, Value};

fn run_case(
    case: &Value,
    model: &Decoder,
    tokenizer: &TextTokenizer,
    folder: &Path,
) -> EvaluationResults {
    let tasks = case["tasks"].as_array().unwrap().iter();
    let chat = case["apply_chat_template"].as_bool().unwrap_or(false);
    let options = RunOptions {
        include_path: vec![PathBuf::from("tasks")],
        num_fewshot: case["num_fewshot"].as_u64().map(|count| count as usize),
        limit: case["limit"].as_f64().map_or(Limit::All, Limit::of_number),
        apply_chat_template: chat,
        system_instruction: case["system_instruction"].as_str().map(str::to_owned),
        fewshot_as_multiturn: case["fewshot_as_multiturn"].as_bool().unwrap_or(true),
        bootstrap_iters: case["bootstrap_iters"].as_u64().unwrap() as usize,
        ..RunOptions::new(tasks.map(|task| task.as_str().unwrap().to_owned()).collect())
    };
    let run = TaskRun::prepare(&options, Some(tokenizer)).unwrap();
    let options = ScoringOptions::default();
    let model = LanguageModel::new(model, tokenizer, options, None, 0).unwrap();
    let output = Output { folder, resume: false };
    run.evaluate(&model, Map::new(), Some(output), &mut |_| ControlFlow::Continue(())).unwrap()
}

/// Whether two answers or scores are the same but for rounding in f32.
fn alike(ours: &Value, theirs: &Value, tolerance: f64) -> bool {
    match (ours, theirs) {
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| alike(ours, theirs, tolerance))
        }
        // How numpy writes an array.
        (Value::Array(_), Value::String(text)) if text.starts_with('[') => {
            let numbers = text.trim_matches(['[', ']']).split_whitespace();
            let theirs: Option<Value> =
                numbers.map(|number| number.parse::<f64>().ok().map(Value::from)).collect();
            theirs.is_some_and(|theirs| alike(ours, &theirs, tolerance))
        }
        _ => match (number(ours), number(theirs)) {
            (Some(ours), Some(theirs)) => {
                (ours - theirs).abs() <= tolerance * theirs.abs().max(1.0)
            }
            _ => ours == theirs,
        },
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_bool().map(|right| f64::from(u8::from(right))))
}

#[test]
fn requests_answers_scores_and_aggregates_are_those_of_the_harness() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let material = root.join("../../../shared/material/stories260K");
    if !material.exists() {
        println!("skipped: {} is absent", material.display());
        return;
    }
    let golden = root.join("tests/golden/harness");
    let expected: Value =
        serde_json::from_str(&std::fs::read_to_string(golden.join("expected.json")).unwrap())
            .unwrap();
    // Data files are named relative to it.
    std::env::set_current_dir(&golden).unwrap();
    let model = Decoder::load(&material, &LoadOptions::default(), &Device::flex()).unwrap();
    let tokenizer = TextTokenizer::from_folder(&material)
        .unwrap()
        .with_chat_template(expected["chat_template"].as_str().unwrap())
        .unwrap();
    let mut wrong = Vec::new();
    let mut documents = 0;
    for case in expected["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let results = run_case(case, &model, &tokenizer, folder.path());
        for key in ["limit", "num_fewshot", "fewshot_seed", "bootstrap_iters", "data_sha256"] {
            assert!(results.config.get(key).is_some(), "{name}: {key}");
        }
        let mut differ = |what: String, ours: &Value, theirs: &Value| {
            wrong.push(format!("{name}, {what}: {ours} for {theirs}"));
        };
        for (task, samples) in case["samples"].as_object().unwrap() {
            let ours = read_samples(folder.path(), task).unwrap();
            let theirs = samples.as_array().unwrap();
            assert_eq!(ours.len(), theirs.len(), "{name} {task}");
            for theirs in theirs {
                documents += 1;
                let place = format!("{task} {} {}", theirs["doc_id"], theirs["filter"]);
                let same = ours.iter().find(|ours| {
                    ours.doc_id as u64 == theirs["doc_id"] && ours.filter == theirs["filter"]
                });
                let ours = same.unwrap_or_else(|| panic!("{name}: no {place}"));
                let contexts = |arguments: &Value| match arguments {
                    // The second of a generation are its arguments.
                    Value::Array(parts) if parts.iter().any(Value::is_object) => {
                        Value::from(parts[..1].to_vec())
                    }
                    other => other.clone(),
                };
                let asked: Value = ours.arguments.iter().map(contexts).collect();
                if asked != theirs["arguments"] {
                    differ(format!("{place}, arguments"), &asked, &theirs["arguments"]);
                }
                let first: Value = ours.resps.iter().map(|repeats| repeats[0].clone()).collect();
                if !alike(&first, &theirs["resps"], 1e-4) {
                    differ(format!("{place}, resps"), &first, &theirs["resps"]);
                }
                for (metric, value) in theirs["metrics"].as_object().unwrap() {
                    let ours = ours.scores.get(metric).unwrap_or(&Value::Null);
                    if !alike(ours, value, 1e-4) {
                        differ(format!("{place}, {metric}"), ours, value);
                    }
                }
            }
        }
        for (task, row) in case["results"].as_object().unwrap() {
            for (key, value) in row.as_object().unwrap() {
                if !key.contains(',') {
                    continue;
                }
                let ours = results.results[task].get(key).unwrap_or(&Value::Null);
                if !alike(ours, value, 1e-4) {
                    differ(format!("{task}, {key}"), ours, value);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    println!("{documents} documents are as in the harness");
    assert!(documents > 200, "{documents}");
}
