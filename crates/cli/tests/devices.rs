//! `lora-moe train --devices`: ranks that are threads of one process.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::{arg, fails, succeeds, tiny_model};

/// A run with all that ranks share: passes, a start that decomposes weights, tasks to evaluate.
fn written(folder: &Path, preset: &str, init: &str, more: &str) -> PathBuf {
    let (model, data) = tiny_model(folder);
    // As many as take several batches, which ranks share.
    let lines: String = (0..700)
        .map(|at| {
            let words = ["cat", "dog", "home", "the", "and", "go", "copy"];
            let word = |place: u32| words[at / 7_usize.pow(place) % 7];
            let (a, b, c, d) = (word(0), word(1), word(2), word(3));
            let choices = format!("[\"{a} {d}\", \"{b} {a}\"]");
            format!("{{\"q\": \"{d} {c} {b} {a} :\", \"c\": {choices}, \"a\": {}}}\n", at % 2)
        })
        .collect();
    let rows = folder.join("test.jsonl");
    std::fs::write(&rows, lines).unwrap();
    let task = folder.join("words.yaml");
    let text = format!(
        "task: words\ndataset_path: json\ndataset_kwargs:\n  data_files: {{test: {}}}\n\
         test_split: test\noutput_type: multiple_choice\ndoc_to_text: q\ndoc_to_choice: c\n\
         doc_to_target: a\nmetric_list: [{{metric: acc}}]\n",
        arg(&rows)
    );
    std::fs::write(&task, text).unwrap();
    let config = folder.join("run.toml");
    let init = if init.is_empty() { String::new() } else { format!("init = {init}") };
    let text = format!(
        "[model]\npath = {model:?}\n[adapter]\npreset = {preset:?}\nr = 8\nlora_dropout = 0.1\n{init}\n\
         [data]\ntrain = [{{ path = {data:?} }}]\nvalidation_split = 20\ntemplate = \"plain\"\n\
         [training]\noutput_dir = \"unset\"\nmax_steps = 8\nlogging_steps = 1\neval_steps = 4\n\
         per_device_train_batch_size = 2\ngradient_accumulation_steps = 4\n\
         calibration_samples = 9\n{more}\n\
         [[evaluation]]\ntasks = [{task:?}]\neval_steps = 4\n"
    );
    std::fs::write(&config, text).unwrap();
    config
}

fn arguments<'a>(config: &'a Path, to: &'a str, devices: &'a str) -> Vec<&'a str> {
    vec!["train", "--config", arg(config), "--set", to, "--devices", devices]
}

/// The lines of metrics without what depends on the clock.
fn lines(output: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        for key in ["tokens_per_s", "resident_bytes"] {
            line.as_object_mut().unwrap().remove(key);
        }
        line
    };
    text.lines().map(line).collect()
}

/// Trains on so many devices, each time into another folder, and compares all that is written.
fn same_on(devices: &[&str], preset: &str, init: &str) {
    let folder = tempfile::tempdir().unwrap();
    let config = written(folder.path(), preset, init, "");
    let mut expected = None;
    for names in devices {
        let output = folder.path().join(names.replace(',', "-"));
        let to = format!("training.output_dir={}", arg(&output));
        succeeds(&arguments(&config, &to, names));
        let read = |file: &str| std::fs::read_to_string(output.join(file)).unwrap();
        let samples = read("evaluations/step-8/samples_words.jsonl");
        let weights = std::fs::read(output.join("adapter_model.safetensors")).unwrap();
        let found = (lines(&output), samples, weights);
        assert!(found.0.iter().any(|line| line.get("words/acc").is_some()), "{:?}", found.0);
        assert!(!output.join("evaluations/step-8/responses.jsonl").exists());
        let expected = expected.get_or_insert_with(|| found.clone());
        assert_eq!(expected.0, found.0, "{preset} on {names}");
        assert_eq!(expected.1, found.1, "{preset} on {names}: other answers");
        assert!(expected.2 == found.2, "{preset} on {names}: another adapter");
    }
}

#[test]
fn goat_on_several_devices_learns_and_answers_what_it_does_on_one() {
    same_on(&["flex", "flex,flex", "flex,flex,flex,flex"], "goat-paper", "");
}

#[test]
fn starts_are_the_same_on_several_devices() {
    // From weights, gradients, covariances, and both.
    for name in ["olora", "lora_ga", "eva", "corda"] {
        let init = &format!("{{ type = {name:?} }}");
        same_on(&["flex", "flex,flex", "flex,flex,flex,flex"], "lora", init);
    }
}

#[test]
fn an_evaluation_that_was_made_before_is_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = written(folder.path(), "lora", "", "save_steps = 4");
    let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
    let [to_whole, to_parts] =
        [&whole, &parts].map(|path| format!("training.output_dir={}", arg(path)));
    succeeds(&arguments(&config, &to_whole, "flex,flex"));
    succeeds(&arguments(&config, &to_parts, "flex"));
    // As a run that was killed between an evaluation and the checkpoint of its step.
    std::fs::remove_file(parts.join("adapter_config.json")).unwrap();
    std::fs::remove_dir_all(parts.join("checkpoint-8")).unwrap();
    let mut resumed = arguments(&config, &to_parts, "flex,flex");
    resumed.push("--resume");
    succeeds(&resumed);
    assert_eq!(lines(&parts), lines(&whole));
}

#[test]
fn what_devices_cannot_be_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let config = written(folder.path(), "lora", "", "");
    let output = folder.path().join("out");
    let to = format!("training.output_dir={}", arg(&output));
    let error = fails(&arguments(&config, &to, "flex,nothing"));
    assert!(error.contains("nothing"), "{error}");
    let error = fails(&arguments(&config, &to, "flex,flex,flex,flex,flex"));
    assert!(error.contains("gradient_accumulation_steps` is 4"), "{error}");
    assert!(!error.contains("on flex"), "all ranks say so: {error}");
    let mut twice = arguments(&config, &to, "flex,flex");
    twice.push("--overwrite");
    assert!(fails(&twice).contains("--overwrite"));
    assert!(!output.join("metrics.jsonl").exists());
}

#[test]
fn all_ranks_of_a_process_end_with_a_checkpoint_when_it_is_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let config = written(folder.path(), "lora", "", "");
    let output = folder.path().join("out");
    let to = format!("training.output_dir={}", arg(&output));
    let mut arguments = arguments(&config, &to, "flex,flex");
    arguments.extend(["--set", "training.max_steps=100000"]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_lora-moe"))
        .args(&arguments)
        .env_remove("LORA_MOE_DEVICE")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun =
        || std::fs::read_to_string(output.join("metrics.jsonl")).is_ok_and(|of| of.len() > 400);
    while !begun() {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(143), "{said}");
    assert!(said.contains("error: interrupted at step") && !said.contains("on flex"), "{said}");
}
