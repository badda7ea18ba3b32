//! The shipped tasks: each is read, and those whose data is at hand make their requests.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::PathBuf;

use eval_tasks::{DataSources, Limit, PromptOptions, Request, Task, TaskIndex};

#[test]
fn every_shipped_task_is_read_and_says_where_its_data_is_from() {
    let index = TaskIndex::shipped().unwrap();
    let listing = index.list();
    for entry in listing.iter().filter(|entry| entry.kind == "task") {
        assert!(entry.source.is_some() && entry.licence.is_some(), "{}", entry.name);
    }
    let names: Vec<&str> = listing.iter().map(|entry| entry.name.as_str()).collect();
    let selection = index.select(&names).unwrap();
    let tasks = listing.iter().filter(|entry| entry.kind == "task").count();
    assert_eq!(selection.tasks.len(), tasks);
    let mmlu = &selection.groups["mmlu"];
    assert_eq!((mmlu.tasks.len(), mmlu.children.len()), (57, 4));
    assert_eq!(selection.groups["llm_adapters_commonsense"].tasks.len(), 8);
    assert_eq!(selection.groups["llm_adapters_arithmetic"].tasks.len(), 7);
    assert_eq!(index.select(&["glue_encoders"]).unwrap().tasks.len(), 9);
    assert_eq!(index.select(&["mmlu_high_school_*"]).unwrap().tasks.len(), 14);
}

#[test]
fn a_missing_data_set_is_one_line_that_says_how_to_get_it() {
    let config =
        TaskIndex::shipped().unwrap().select(&["arc_easy"]).unwrap().tasks.swap_remove("arc_easy");
    let folder = tempfile::tempdir().unwrap();
    let sources = DataSources { roots: vec![folder.path().to_owned()], hub: None };
    let error = Task::load(config.unwrap(), &sources, None).err().unwrap().to_string();
    assert!(!error.contains('\n'), "{error}");
    for part in [
        "task `arc_easy`",
        "split `test`",
        "allenai/ai2_arc",
        "--data-dir",
        &folder.path().display().to_string(),
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

/// Data sets of the hub, where a folder of them is named by `LORA_MOE_DATASETS`.
fn roots() -> Option<Vec<PathBuf>> {
    let Some(folder) = std::env::var_os("LORA_MOE_DATASETS").map(PathBuf::from) else {
        println!("skipped: LORA_MOE_DATASETS names no folder of data sets");
        return None;
    };
    Some(vec![folder.clone(), folder.join("hub_layout")])
}

#[test]
fn tasks_with_data_make_their_requests() {
    let Some(roots) = roots() else { return };
    let sources = DataSources { roots, hub: None };
    let index = TaskIndex::shipped().unwrap();
    let mut loaded = Vec::new();
    for (name, config) in index.select(&["*"]).unwrap().tasks {
        match Task::load(config, &sources, None) {
            Ok(task) => {
                let options = PromptOptions::default();
                let instances = task.instances(&options, Limit::Count(3)).unwrap();
                let text = match &instances[0].request {
                    Request::LogLikelihood { context, continuation } => {
                        format!("{context}|{continuation}")
                    }
                    other => format!("{other:?}"),
                };
                let text: String = text.chars().take(150).collect();
                println!("{name}: {} documents, {text:?}", task.documents().len());
                loaded.push(name);
            }
            Err(error) => println!("{name}: {error}"),
        }
    }
    for name in [
        "arc_easy",
        "arc_challenge",
        "openbookqa",
        "piqa",
        "social_iqa",
        "winogrande",
        "gsm8k",
        "nq_open",
        "mmlu_anatomy",
        "llm_adapters_boolq",
        "llm_adapters_svamp",
    ] {
        assert!(loaded.iter().any(|known| known == name), "{name}");
    }
}
