//! Ctrl-C, and what a cluster sends before it ends a job.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{arg, killed_after, succeeds, tiny_model};

/// Starts the command, sends a signal once `begun` says so, and returns the exit status and the
/// standard error.
fn interrupted(arguments: &[&str], signal: &str, begun: impl Fn() -> bool) -> (i32, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lora-moe"))
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !begun() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

#[test]
fn a_run_that_is_asked_to_end_saves_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = tiny_model(folder.path());
    let config = folder.path().join("run.toml");
    let text = format!(
        "[model]\npath = {model:?}\n[adapter]\npreset = \"lora\"\nr = 2\n\
         [data]\ntrain = [{{ path = {data:?} }}]\nvalidation_split = 20\ntemplate = \"plain\"\n\
         [training]\noutput_dir = \"unset\"\nmax_steps = 150\nlogging_steps = 1\n\
         per_device_train_batch_size = 4\n"
    );
    std::fs::write(&config, text).unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
    let [to_whole, to_parts] =
        [&whole, &parts].map(|path| format!("training.output_dir={}", arg(path)));
    succeeds(&["train", "--config", arg(&config), "--set", &to_whole]);

    let mut arguments = vec!["train", "--config", arg(&config), "--set", &to_parts];
    let begun = || lines(&parts.join("metrics.jsonl")) > 3;
    let (status, error) = interrupted(&arguments, "-TERM", begun);
    assert_eq!(status, 143, "{error}");
    assert!(error.contains("interrupted at step") && error.contains("--resume"), "{error}");
    assert!(!parts.join("adapter_config.json").exists());
    arguments.push("--resume");
    succeeds(&arguments);
    let read = |folder: &Path| std::fs::read(folder.join("adapter_model.safetensors")).unwrap();
    assert_eq!(read(&whole), read(&parts));
}

#[test]
fn an_evaluation_that_is_asked_to_end_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (model, _) = tiny_model(folder.path());
    let lines_of_data = "{\"q\": \"copy :\", \"c\": [\"a\", \"b\"], \"a\": 0}\n".repeat(8000);
    let data = folder.path().join("test.jsonl");
    std::fs::write(&data, lines_of_data).unwrap();
    let task = folder.path().join("many.yaml");
    let text = format!(
        "task: many\ndataset_path: json\ndataset_kwargs:\n  data_files: {{test: {}}}\n\
         test_split: test\noutput_type: multiple_choice\ndoc_to_text: q\ndoc_to_choice: c\n\
         doc_to_target: a\nmetric_list: [{{metric: acc}}]\n",
        arg(&data)
    );
    std::fs::write(&task, text).unwrap();
    let output = folder.path().join("scores");
    let mut arguments = vec!["eval", "--model", arg(&model), "--tasks", arg(&task)];
    arguments.extend(["--output", arg(&output)]);
    let begun = || lines(&output.join("responses.jsonl")) > 3;
    let (status, error) = interrupted(&arguments, "-INT", begun);
    assert_eq!(status, 130, "{error}");
    assert!(error.contains("--resume"), "{error}");
    arguments.push("--resume");
    assert!(succeeds(&arguments).contains("many"));
}

#[test]
fn a_run_that_is_killed_at_any_moment_ends_with_the_same_adapter() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = tiny_model(folder.path());
    let config = folder.path().join("run.toml");
    let text = format!(
        "[model]\npath = {model:?}\n[adapter]\npreset = \"goat-paper\"\nr = 8\n\
         [data]\ntrain = [{{ path = {data:?} }}]\nvalidation_split = 20\ntemplate = \"plain\"\n\
         [training]\noutput_dir = \"unset\"\nmax_steps = 40\nlogging_steps = 1\nsave_steps = 2\n\
         per_device_train_batch_size = 4\n"
    );
    std::fs::write(&config, text).unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
    let [to_whole, to_parts] =
        [&whole, &parts].map(|path| format!("training.output_dir={}", arg(path)));
    let started = std::time::Instant::now();
    succeeds(&["train", "--config", arg(&config), "--set", &to_whole]);
    let seconds = started.elapsed().as_secs_f64();

    let arguments = || {
        let mut arguments = vec!["train", "--config", arg(&config), "--set", &to_parts];
        // Before anything is written there is nothing to resume.
        arguments.extend(parts.join("metrics.jsonl").exists().then_some("--resume"));
        arguments
    };
    let mut kills = 0;
    for attempt in 0..8 {
        let share = f64::from(attempt * 7 % 8) / 16.0 + 0.1;
        if !killed_after(&arguments(), seconds * share) {
            break;
        }
        kills += 1;
    }
    println!("killed {kills} times");
    // On a busy machine the first run, by which the moments are chosen, may have been a slow one.
    assert!(kills > 0, "{kills}");
    if !parts.join("adapter_config.json").exists() {
        succeeds(&arguments());
    }
    for file in ["adapter_model.safetensors", "adapter_config.json"] {
        let read = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
        assert_eq!(read(&whole), read(&parts), "{file}");
    }
    assert_eq!(lines(&whole.join("metrics.jsonl")), lines(&parts.join("metrics.jsonl")));
}

#[test]
fn other_commands_that_are_asked_to_end_say_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (model, _) = tiny_model(folder.path());
    // A file that nobody writes to: whoever reads it waits.
    let adapter = folder.path().join("adapter");
    std::fs::create_dir(&adapter).unwrap();
    let pipe = adapter.join("adapter_config.json");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let output = folder.path().join("output");
    let (adapter, output) = (arg(&adapter), arg(&output));
    let waits = || {
        std::thread::sleep(Duration::from_secs(2));
        true
    };
    let convert = ["convert", "--adapter", adapter, "--to", "peft", "--output", output];
    let merge = ["merge", "--model", arg(&model), "--adapter", adapter, "--output", output];
    for (command, signal, status) in [(&convert[..], "-INT", 130), (&merge[..], "-TERM", 143)] {
        let (code, said) = interrupted(command, signal, waits);
        assert_eq!(code, status, "{}: {said}", command[0]);
        assert!(said.contains("interrupted") && said.contains("again"), "{said}");
        assert!(!Path::new(output).exists());
    }

    let config = folder.path().join("study.toml");
    std::fs::write(&config, succeeds(&["study", "--print-config"])).unwrap();
    let study = ["study", "--config", arg(&config), "--output", output];
    let begun = || Path::new(output).exists();
    let (code, said) = interrupted(&study, "-TERM", begun);
    assert_eq!(code, 143, "{said}");
    assert!(said.contains("run the same command again"), "{said}");
}
