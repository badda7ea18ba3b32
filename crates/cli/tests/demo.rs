//! `lora-moe demo`, `config` and `bench`, in small.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use serde_json::Value;
use support::{arg, fails, succeeds};

#[test]
fn the_demo_writes_its_report_and_the_same_seed_gives_the_same_table() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("demo.json");
    std::fs::write(
        &config,
        r#"{"world": {"entities": 8}, "hidden_size": 32, "intermediate_size": 48,
            "num_hidden_layers": 1, "pretraining_steps": 6, "pretraining_batch_size": 8,
            "samples": [64, 96], "batch_size": 16, "inputs_per_task": 2}"#,
    )
    .unwrap();
    let rows = |name: &str| -> Vec<Value> {
        let output = folder.path().join(name);
        let table = succeeds(&[
            "demo",
            "--config",
            arg(&config),
            "--output",
            arg(&output),
            "--cache",
            arg(&folder.path().join("cache")),
        ]);
        assert!(table.contains("LoRAMoE"), "{table}");
        let html = std::fs::read_to_string(output.join("report.html")).unwrap();
        assert!(html.contains("<svg") && !html.contains("http-equiv"), "{html}");
        let text = std::fs::read_to_string(output.join("results.json")).unwrap();
        let mut rows: Vec<Value> = serde_json::from_str(&text).unwrap();
        for row in &mut rows {
            assert!(row["seconds"].take().is_number());
        }
        rows
    };
    // The first run pre-trains, the second reads the cache.
    let first = rows("first");
    assert_eq!(first, rows("second"));
    let methods: Vec<_> = first.iter().map(|row| row["method"].as_str().unwrap()).collect();
    assert_eq!(methods, ["base", "LoRA", "LoRAMoE", "LoRA", "LoRAMoE"]);
    let parameters = |at: usize| first[at]["trainable_parameters"].as_f64().unwrap();
    assert!((parameters(1) / parameters(2) - 1.0).abs() < 0.05);
}

#[test]
fn printed_configurations_name_their_preset() {
    let text = succeeds(&["config", "--preset", "loramoe-released"]);
    assert!(text.contains("preset = \"loramoe-released\"") && text.contains("blc_weight"));
    assert!(succeeds(&["config", "--list"]).contains("loramoe-paper"));
    assert!(fails(&["config", "--preset", "gpt"]).contains("loramoe-paper"));
}

#[test]
fn the_benchmark_reports_its_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let (model, _) = support::tiny_model(folder.path());
    let text = succeeds(&[
        "bench",
        "train",
        "--config",
        arg(&model.join("config.json")),
        "--random-init",
        "--preset",
        "loramoe-paper",
        "--set",
        "adapter.num_experts=8",
        "--steps",
        "1",
        "--warmup",
        "0",
        "--seq-len",
        "8",
        "--json",
    ]);
    let result: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(result["precision"], "f32", "{text}");
    for key in ["tokens_per_s", "step_s", "peak_rss_mb", "trainable"] {
        assert!(result[key].as_f64().unwrap() > 0.0, "{key}: {text}");
    }
    let error = fails(&[
        "bench",
        "train",
        "--config",
        arg(&model),
        "--random-init",
        "--set",
        "training.seed=1",
    ]);
    assert!(error.contains("training"), "{error}");
}

#[test]
fn both_benchmarks_say_how_they_multiplied() {
    let folder = tempfile::tempdir().unwrap();
    let (model, _) = support::tiny_model(folder.path());
    let sizes: [&[&str]; 2] = [&["train", "--seq-len", "8"], &["generate", "--prompt", "4"]];
    for arguments in sizes {
        let model = ["--config", arg(&model), "--dtype", "bfloat16", "--precision", "bf16"];
        let few = ["--steps", "1", "--warmup", "0", "--json"];
        let text = succeeds(&[&["bench"], arguments, &model[..], &few[..]].concat());
        let result: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(result["precision"], "bf16", "{text}");
    }
}
