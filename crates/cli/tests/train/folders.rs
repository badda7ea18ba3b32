//! What becomes of a run's folder: locked, torn, full of checkpoints, written over.

use super::{Run, losses};
use crate::support::{arg, fails, lora_moe, succeeds};

#[test]
fn a_folder_in_use_is_left_alone_and_what_was_torn_is_removed() {
    let run = Run::new();
    let output = run.output("shared");
    let lock = lora_moe::moe_adapter::FolderLock::acquire(&output).unwrap();
    let set = format!("training.output_dir={}", arg(&output));
    let arguments = ["train", "--config", &run.config, "--set", &set];
    let error = fails(&arguments);
    let holder = format!("in use by process {}", std::process::id());
    assert!(error.contains("shared") && error.contains(&holder), "{error}");
    drop(lock);

    std::fs::create_dir(output.join(".checkpoint-6.tmp")).unwrap();
    std::fs::write(output.join(".writing-x.tmp"), "half").unwrap();
    succeeds(&arguments);
    assert!(!output.join(".checkpoint-6.tmp").exists());
    assert!(!output.join(".writing-x.tmp").exists());
}

#[test]
fn the_newest_checkpoints_are_kept() {
    let run = Run::new();
    let output = run.output("out");
    run.train(&output, &["--set", "training.save_steps=2", "--set", "training.save_total_limit=2"]);
    let mut steps: Vec<_> = std::fs::read_dir(&output)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|name| name.strip_prefix("checkpoint-")?.parse::<usize>().ok())
        .collect();
    steps.sort_unstable();
    // The validation at the end makes the last one the best as well.
    assert_eq!(steps, [10, 12]);
}

#[test]
fn runs_are_not_overwritten_and_errors_name_their_remedy() {
    let run = Run::new();
    let output = run.output("out");
    run.train(&output, &["--set", "training.max_steps=1"]);
    let set = format!("training.output_dir={}", arg(&output));
    let train = |more: &[&str]| {
        let mut arguments = vec!["train", "--config", &run.config, "--set", &set];
        arguments.extend(more);
        fails(&arguments)
    };
    assert!(train(&[]).contains("--resume"));
    let error = train(&["--resume"]);
    assert!(error.contains("training.max_steps"), "{error}");
    let error = train(&["--set", "adapter.rank=3"]);
    assert!(error.contains("rank") && error.contains("run.toml"), "{error}");
    let error = train(&["--set", "adapter.target_modules=[\"qproj\"]"]);
    assert!(error.contains("qproj") && error.contains("gate_proj"), "{error}");
    let error = train(&["--set", "model.path=nowhere"]);
    assert!(error.contains("nowhere"), "{error}");
    let error = fails(&["train", "--config", "absent.toml"]);
    assert!(error.contains("absent.toml"), "{error}");
    let error = train(&["--device", "cuda:0"]);
    assert!(error.contains("--features cuda"), "{error}");
}

#[test]
fn a_run_is_overwritten_where_that_is_asked_for_and_said() {
    let run = Run::new();
    let (output, other) = (run.output("out"), run.output("other"));
    run.train(&other, &["--set", "training.seed=2"]);
    run.train(&output, &["--set", "training.save_steps=2"]);
    std::fs::write(output.join("notes.txt"), "mine").unwrap();
    let set = format!("training.output_dir={}", arg(&output));
    let train = ["train", "--config", &run.config, "--set", &set, "--overwrite"];
    // What cannot be trained costs no run.
    let before = std::fs::read(output.join("adapter_model.safetensors")).unwrap();
    fails(&[&train[..], &["--set", "adapter.target_modules=[\"qproj\"]"]].concat());
    let kept = std::fs::read(output.join("adapter_model.safetensors")).unwrap();
    assert_eq!(kept, before);
    let result = lora_moe(&[&train[..], &["--set", "training.seed=2"]].concat());
    let said = String::from_utf8(result.stderr).unwrap();
    assert!(result.status.success(), "{said}");
    let line = said.lines().find(|line| line.contains("removing")).unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors", "checkpoint-", "metrics.jsonl"]
    {
        assert!(line.contains(name), "{name}: {line}");
    }
    assert_eq!(std::fs::read_to_string(output.join("notes.txt")).unwrap(), "mine");
    assert_eq!(losses(&output), losses(&other));
    // In a folder without a run there is nothing to remove.
    let fresh = format!("training.output_dir={}", arg(&run.output("fresh")));
    succeeds(&["train", "--config", &run.config, "--set", &fresh, "--overwrite"]);
    // Nor where a model is, too.
    std::fs::write(output.join("config.json"), "{}").unwrap();
    assert!(fails(&train).contains("holds a model"));
    std::fs::remove_file(output.join("config.json")).unwrap();
    let _lock = lora_moe::moe_adapter::FolderLock::acquire(&output).unwrap();
    assert!(fails(&train).contains("in use by process"));
}
