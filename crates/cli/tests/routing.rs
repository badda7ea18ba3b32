//! `lora-moe inspect --routing`, and the warning of `lora-moe train` when routing collapses.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{arg, fails, lora_moe, succeeds, tiny_model};

struct Run {
    folder: tempfile::TempDir,
    model: String,
    data: String,
}

impl Run {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (model, data) = tiny_model(folder.path());
        Self { model: arg(&model).into(), data: arg(&data).into(), folder }
    }

    /// Trains for five steps; the folder of the adapter, and what was said.
    fn train(&self, name: &str, set: &[&str]) -> (PathBuf, String) {
        let output = self.folder.path().join(name);
        let config = self.folder.path().join("run.toml");
        let text = format!(
            "[model]\npath = {:?}\n[adapter]\nr = 2\nlora_alpha = 4\nnum_experts = 3\n\
             target_modules = [\"up_proj\", \"q_proj\"]\n[data]\ntrain = [{{ path = {:?} }}]\n\
             template = \"plain\"\n[training]\noutput_dir = {:?}\nlearning_rate = 5e-3\n\
             max_steps = 5\nlogging_steps = 2\ngradient_accumulation_steps = 2\n\
             per_device_train_batch_size = 4\n",
            self.model,
            self.data,
            arg(&output)
        );
        std::fs::write(&config, text).unwrap();
        let mut arguments = vec!["train", "--config", arg(&config)];
        set.iter().for_each(|set| arguments.extend(["--set", set]));
        let said = lora_moe(&arguments);
        let error = String::from_utf8(said.stderr).unwrap();
        assert!(said.status.success(), "{error}");
        (output, error)
    }

    fn inspect<'a>(&'a self, adapter: &'a Path, output: &'a Path) -> Vec<&'a str> {
        vec![
            "inspect",
            "--routing",
            "--model",
            &self.model,
            "--adapter",
            arg(adapter),
            "--data",
            &self.data,
            "--template",
            "plain",
            "--output",
            arg(output),
        ]
    }
}

/// The lines of metrics, without the one that a run begins with.
fn metrics(output: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap();
    text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn inspecting_the_routing_writes_a_table_a_page_and_json() {
    let run = Run::new();
    let (adapter, _) = run.train("adapter", &[]);
    let output = run.folder.path().join("new/routing");
    let summary = succeeds(&run.inspect(&adapter, &output));
    assert!(summary.contains("layers.1.mlp.up_proj"), "{summary}");

    let read = |name: &str| std::fs::read_to_string(output.join(name)).unwrap();
    let report: Value = serde_json::from_str(&read("routing.json")).unwrap();
    let sites = report["sites"].as_array().unwrap();
    // Two layers, two projections.
    assert_eq!(sites.len(), 4);
    for site in sites {
        let share: f64 =
            site["all"]["share"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).sum();
        assert!((share - 1.0).abs() < 1e-9, "{site}");
        let types = site["task_types"].as_array().unwrap();
        let tokens: u64 = types.iter().map(|group| group["tokens"].as_u64().unwrap()).sum();
        assert_eq!((types.len(), Some(tokens)), (2, site["all"]["tokens"].as_u64()));
        assert!(site["specialisation"].as_f64().unwrap() >= 0.0);
    }
    // A line for each projection, all and each of two task types, and expert.
    assert_eq!(read("routing.csv").lines().count(), 1 + 4 * 3 * 3);
    let page = read("routing.html");
    assert!(page.contains("self_attn.q_proj") && page.contains("task type 1"), "{page}");

    let error = fails(&[&run.inspect(&adapter, &output)[..], &["--batch-size", "0"]].concat());
    assert!(error.contains("batch_size"), "{error}");
}

#[test]
fn an_adapter_without_a_router_has_no_routing() {
    let run = Run::new();
    let (adapter, _) = run.train("adapter", &["adapter.num_experts=1"]);
    let output = run.folder.path().join("routing");
    let error = fails(&run.inspect(&adapter, &output));
    assert!(error.contains("no router"), "{error}");
    assert!(!output.exists());
    // It is not looked for in training either.
    assert!(metrics(&adapter).iter().all(|line| line.get("largest_routing_share").is_none()));
}

#[test]
fn arguments_of_one_kind_of_inspection_do_not_go_with_the_other() {
    for arguments in [
        &["inspect"][..],
        &["inspect", "--routing", "--model", "m"],
        &["inspect", "folder", "--batch-size", "2"],
        &["inspect", "folder", "--routing", "--model", "m", "--adapter", "a", "--data", "d"],
    ] {
        assert_eq!(lora_moe(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn training_warns_of_collapse_and_looking_changes_no_number() {
    let run = Run::new();
    let (silent, said) = run.train("silent", &["training.routing_collapse_threshold=0"]);
    assert!(!said.contains("warning"), "{said}");
    assert!(metrics(&silent).iter().all(|line| line.get("largest_routing_share").is_none()));

    // Any share is above this, so every projection counts as collapsed at once.
    let set = ["training.routing_collapse_threshold=0.1", "training.routing_collapse_steps=1"];
    let (watched, said) = run.train("watched", &set);
    assert!(said.contains("warning: step 2: routing has collapsed"), "{said}");
    assert!(said.contains("3 more projections"), "{said}");
    let lines = metrics(&watched);
    let steps: Vec<_> = lines.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [2, 4, 5]);
    assert_eq!(lines[0]["routing_collapse"].as_array().unwrap().len(), 4);
    let share = |line: &Value| line["largest_routing_share"].as_f64().unwrap();
    assert!(lines.iter().all(|line| (1.0 / 3.0..=1.0).contains(&share(line))));

    let losses = |lines: Vec<Value>| -> Vec<f64> {
        lines.iter().map(|line| line["loss"].as_f64().unwrap()).collect()
    };
    assert_eq!(losses(metrics(&silent)), losses(lines));
    // By default it is on, and this run is too short for a warning.
    let (default, said) = run.train("default", &[]);
    assert!(!said.contains("warning"), "{said}");
    assert!(metrics(&default).iter().all(|line| share(line) > 0.0));
}
