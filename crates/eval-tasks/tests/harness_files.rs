//! The harness's own task files, unmodified. They are read where `LM_EVAL_TASKS` names the folder
//! `lm_eval/tasks` of an installation.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use eval_tasks::{TaskError, TaskIndex};

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("LM_EVAL_TASKS").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: LM_EVAL_TASKS names no folder of the harness's tasks");
    }
    folder
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
}

#[test]
fn well_known_tasks_load_unmodified() {
    let Some(folder) = folder() else { return };
    let index = TaskIndex::shipped().unwrap();
    for file in [
        "arc/arc_easy.yaml",
        "arc/arc_challenge.yaml",
        "arc/arc_challenge_chat.yaml",
        "super_glue/boolq/default.yaml",
        "openbookqa/openbookqa.yaml",
        "piqa/piqa.yaml",
        "siqa/siqa.yaml",
        "winogrande/default.yaml",
        "hellaswag/hellaswag.yaml",
        "mmlu/default/mmlu_anatomy.yaml",
        "gsm8k/gsm8k.yaml",
        "gsm8k/gsm8k-cot.yaml",
        "gsm8k/gsm8k-cot-self-consistency.yaml",
        "triviaqa/default.yaml",
        "nq_open/nq_open.yaml",
        "wikitext/wikitext.yaml",
        "glue/mnli/default.yaml",
        "glue/cola/default.yaml",
        "glue/mrpc/default.yaml",
        "sciq/sciq.yaml",
        "lambada/lambada_openai.yaml",
    ] {
        let path = folder.join(file);
        let selected = index.select(&[path.to_str().unwrap()]);
        assert!(selected.is_ok_and(|selection| selection.tasks.len() == 1), "{file}");
    }
}

/// A file either loads, or the error names its place; what they are is printed.
#[test]
fn files_load_or_say_why_not() {
    let Some(folder) = folder() else { return };
    let index = TaskIndex::shipped().unwrap();
    let mut paths = Vec::new();
    files(&folder, &mut paths);
    let mut loaded = 0;
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for path in &paths {
        let reason = match index.select(&[path.to_str().unwrap()]) {
            Ok(_) => {
                loaded += 1;
                continue;
            }
            Err(error) => {
                let place = error.to_string();
                let names_it = place.contains(", line ") || place.contains("defined twice");
                let group = matches!(error, TaskError::UnknownTask { .. });
                assert!(names_it || group || place.contains("is missing"), "{place}");
                match &error {
                    TaskError::Function { .. } => ("function", String::new()),
                    TaskError::UnknownTask { .. } => ("member of a group", String::new()),
                    TaskError::WrongValue { key, .. } => ("value", format!("{key}: {error}")),
                    _ => ("other", error.to_string()),
                }
            }
        };
        reasons.entry(reason.0).or_default().push(reason.1);
    }
    println!("{loaded} of {} files load", paths.len());
    for (reason, messages) in &reasons {
        println!("{reason}: {}", messages.len());
        for message in messages.iter().filter(|message| !message.is_empty()) {
            println!("  {message}");
        }
    }
}
