//! `lora-moe train`, `eval` and `generate --adapter`, through the command.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod folders;
mod new_tokens;
mod resuming;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use serde_json::Value;
use support::{arg, fails, succeeds, tiny_model};

struct Run {
    folder: tempfile::TempDir,
    config: String,
    model: String,
    data: String,
}

impl Run {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (model, data) = tiny_model(folder.path());
        let config = folder.path().join("run.toml");
        let text = format!(
            "[model]\npath = {model:?}\n[adapter]\npreset = \"loramoe-paper\"\nr = 2\n\
             [data]\ntrain = [{{ path = {data:?} }}]\nvalidation_split = 20\n\
             template = \"plain\"\n[training]\noutput_dir = \"unset\"\n\
             learning_rate = 5e-3\nmax_steps = 12\nlogging_steps = 1\n\
             gradient_accumulation_steps = 2\nper_device_train_batch_size = 4\n"
        );
        std::fs::write(&config, text).unwrap();
        Self {
            config: arg(&config).into(),
            model: arg(&model).into(),
            data: arg(&data).into(),
            folder,
        }
    }

    fn output(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn train(&self, output: &Path, more: &[&str]) {
        let set = format!("training.output_dir={}", arg(output));
        let mut arguments = vec!["train", "--config", &self.config, "--set", &set];
        arguments.extend(more);
        succeeds(&arguments);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn losses(output: &Path) -> Vec<(u64, f64, f64)> {
    let text = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["loss"].is_number())
        .map(|line| {
            // A single adapter has no balance loss.
            let balance = line["balance_loss"].as_f64().unwrap_or_default();
            (line["step"].as_u64().unwrap(), line["loss"].as_f64().unwrap(), balance)
        })
        .collect()
}

#[test]
fn event_files_are_written_beside_the_metrics() {
    let run = Run::new();
    let output = run.output("events");
    run.train(&output, &["--set", "training.report_to=[\"tensorboard\"]"]);
    let events = std::fs::read_dir(output.join("runs")).unwrap().next().unwrap().unwrap();
    assert!(events.file_name().to_str().unwrap().starts_with("events.out.tfevents."));
    let bytes = std::fs::read(events.path()).unwrap();
    let counted = |tag: &[u8]| bytes.windows(tag.len()).filter(|window| *window == tag).count();
    assert_eq!((counted(b"train/loss"), counted(b"eval/loss")), (12, 1));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let run = Run::new();
    let adapter = |threads: &str| {
        let output = run.output(threads);
        let set = format!("training.output_dir={}", arg(&output));
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_lora-moe"))
            .args(["train", "--config", &run.config, "--set", &set])
            .args(["--set", "adapter.preset=goat-paper", "--set", "adapter.r=8"])
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
        std::fs::read(output.join("adapter_model.safetensors")).unwrap()
    };
    let one = adapter("1");
    assert!(adapter("2") == one && adapter("3") == one);
}

#[test]
fn sizes_that_no_adapter_has_are_refused_before_memory_is_taken() {
    let run = Run::new();
    let output = run.output("out");
    run.train(&output, &["--set", "training.max_steps=1"]);
    let path = output.join("adapter_config.json");
    let config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for (key, value, expected) in [
        ("r", 999_999_999_999_u64, "`r` is 999999999999"),
        ("num_experts", u64::MAX, "`num_experts` is 18446744073709551615"),
        ("shared_experts", u64::MAX, "`shared_experts` is"),
        ("r", 60_000, "of 6 experts of rank 60000"),
        ("num_experts", 4_000, "of 4000 experts of rank 2"),
    ] {
        let mut changed = config.clone();
        changed[key] = value.into();
        std::fs::write(&path, changed.to_string()).unwrap();
        let error =
            fails(&["generate", "--model", &run.model, "--adapter", arg(&output), "--prompt", "a"]);
        assert!(error.contains(expected), "{key} {value}: {error}");
    }
}

#[test]
fn a_trained_adapter_lowers_the_loss_and_generates() {
    let run = Run::new();
    let output = run.output("out");
    run.train(&output, &["--set", "training.max_steps=40", "--set", "training.eval_steps=20"]);
    let metrics = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.matches("eval_loss").count(), 2, "{metrics}");

    let eval = |adapter: &[&str]| -> f64 {
        let mut arguments =
            vec!["eval", "--model", &run.model, "--data", &run.data, "--template", "plain"];
        arguments.extend(adapter);
        let result: Value = serde_json::from_str(&succeeds(&arguments)).unwrap();
        result["loss"].as_f64().unwrap()
    };
    let (base, tuned) = (eval(&[]), eval(&["--adapter", arg(&output)]));
    assert!(tuned < 0.8 * base, "{base} -> {tuned}");

    let generate = || {
        succeeds(&[
            "generate",
            "--model",
            &run.model,
            "--adapter",
            arg(&output),
            "--prompt",
            "copy :",
            "--max-new-tokens",
            "4",
        ])
    };
    let text = generate();
    assert!(text.starts_with("copy :"), "{text}");
    assert_eq!(text, generate());
    // Among others, in a file without answers.
    let prompts = run.output("prompts.jsonl");
    let lines = ["the", "copy :", "copy : the"].map(|p| serde_json::json!({ "prompt": p }));
    std::fs::write(&prompts, lines.map(|line| line.to_string()).join("\n")).unwrap();
    let mut arguments = vec!["generate", "--model", &run.model, "--adapter", arg(&output)];
    arguments.extend(["--prompts", arg(&prompts), "--max-new-tokens", "4"]);
    let printed = succeeds(&arguments);
    let found: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found.len(), 3);
    let alone = text.trim_start_matches("copy :").trim();
    assert_eq!(found[1]["text"].as_str().unwrap().trim(), alone);
    assert!(found[1]["origin"].as_str().unwrap().contains("prompts.jsonl"), "{printed}");
    let file = run.output("answers.jsonl");
    arguments.extend(["--batch-size", "1", "--output", arg(&file)]);
    assert_eq!(succeeds(&arguments), "");
    assert_eq!(std::fs::read_to_string(file).unwrap(), printed);
    let described = succeeds(&["inspect", arg(&output)]);
    assert!(described.contains("mlp.gate_proj.router.weight"), "{described}");
}

#[test]
fn a_run_says_how_it_multiplied_wherever_it_says_anything() {
    let run = Run::new();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    for (name, more) in
        [("f32", &[][..]), ("bf16", &["--precision", "bf16", "--set", "model.dtype=bfloat16"])]
    {
        let output = run.output(name);
        let save = [&["--set", "training.save_steps=5"], more].concat();
        run.train(&output, &save);
        for folder in [output.clone(), output.join("checkpoint-10")] {
            let text = read(&folder.join("adapter_config.json"));
            let keys: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(keys["precision"], name, "{text}");
            let text = succeeds(&["inspect", arg(&folder)]);
            assert!(text.contains(&format!("\nprecision             {name}\n")), "{text}");
        }
        // Once, though the run was resumed.
        run.train(&output, &[&save[..], &["--resume", "checkpoint-10"]].concat());
        let text = read(&output.join("metrics.jsonl"));
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first, serde_json::json!({ "step": 0, "precision": name }));
        assert_eq!(text.matches("precision").count(), 1, "{text}");
    }
    // A folder that does not say is none the worse.
    let config = run.output("f32").join("adapter_config.json");
    let mut keys: Value = serde_json::from_str(&read(&config)).unwrap();
    keys.as_object_mut().unwrap().remove("precision").unwrap();
    std::fs::write(&config, keys.to_string()).unwrap();
    let text = succeeds(&["inspect", arg(&run.output("f32"))]);
    assert!(text.contains("base model") && !text.contains("precision"), "{text}");
}

#[test]
fn a_dry_run_says_what_a_run_would_be_and_begins_nothing() {
    let run = Run::new();
    let output = run.output("dry");
    let set = format!("training.output_dir={}", arg(&output));
    let dry = |more: &[&str]| {
        let mut arguments = vec!["train", "--config", &run.config, "--set", &set, "--dry-run"];
        arguments.extend(more);
        succeeds(&arguments)
    };
    let text = dry(&[]);
    for part in ["trainable parameters", "experts", "routers", "samples", "steps     12"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Which configuration it is needs saying where there are several.
    assert!(!text.contains(&run.config), "{text}");
    // Of the model only the configuration is needed.
    let shapes = run.output("shapes");
    std::fs::create_dir(&shapes).unwrap();
    std::fs::copy(Path::new(&run.model).join("config.json"), shapes.join("config.json")).unwrap();
    let path = format!("model.path={}", arg(&shapes));
    let text = dry(&["--without-data", "--measure", "--set", &path]);
    for part in ["measured", "gradients", "optimiser", "most beside them", "freed", "checkpoint"] {
        assert!(text.contains(part) && !text.contains("samples"), "{part}: {text}");
    }
    assert!(!output.exists());
}
