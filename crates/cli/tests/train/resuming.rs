//! Runs that go on from a checkpoint.

use std::path::Path;

use super::{Run, copy, losses};
use crate::support::arg;

/// Trains once in one go, and once resumed from the checkpoint of step 10 of 12, with the same result.
fn resumes(set: &[&str]) -> Vec<(u64, f64, f64)> {
    let run = Run::new();
    let (whole, parts) = (run.output("whole"), run.output("parts"));
    let mut arguments = vec!["--set", "training.save_steps=5"];
    set.iter().for_each(|assignment| arguments.extend(["--set", assignment]));
    run.train(&whole, &arguments);
    // Interrupted after step 10: what came after its checkpoint is gone.
    std::fs::create_dir(&parts).unwrap();
    copy(&whole.join("checkpoint-10"), &parts.join("checkpoint-10"));
    std::fs::copy(whole.join("metrics.jsonl"), parts.join("metrics.jsonl")).unwrap();
    arguments.push("--resume");
    run.train(&parts, &arguments);

    let losses = losses(&whole);
    assert_eq!(losses.len(), 12);
    assert_eq!(losses, self::losses(&parts));
    for file in ["adapter_model.safetensors", "adapter_config.json"] {
        let read = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
        assert_eq!(read(&whole), read(&parts), "{file}");
    }
    losses
}

#[test]
fn a_resumed_run_repeats_the_numbers_of_an_uninterrupted_one() {
    resumes(&[]);
}

/// Matrices that are trained as a whole lie in memory as they do after a step, also where they were
/// loaded.
#[test]
fn so_does_one_that_trains_whole_modules() {
    let whole = "adapter.modules_to_save=[\"lm_head\", \"embed_tokens\", \"input_layernorm\"]";
    resumes(&[whole]);
    resumes(&[whole, "adapter.preset=lora", "adapter.lora_alpha=4", "adapter.bias=all"]);
}

#[test]
fn so_does_one_with_packing_an_average_and_groups_of_parameters() {
    let groups = "training.param_groups=[{params='router',learning_rate=1e-3,weight_decay=0.1}]";
    let losses = resumes(&[
        "training.packing=true",
        "training.per_device_train_batch_size=1",
        "training.ema_decay=0.9",
        "training.optim=lion",
        "training.learning_rate=1e-3",
        groups,
        "training.lr_scheduler_type=warmup_stable_decay",
        "training.lr_scheduler_kwargs={num_decay_steps=4}",
    ]);
    assert!(losses[11].1 < losses[0].1, "{losses:?}");
    for optim in ["adafactor", "adamw_8bit", "muon", "sgd"] {
        let optim = format!("training.optim={optim}");
        resumes(&[&optim, "training.max_tokens_per_batch=256"]);
    }
}

#[test]
fn so_does_one_with_a_router_of_the_whole_model() {
    let classifier = "adapter.router={type='x_lora',xlora_depth=2,xlora_size=8}";
    resumes(&["adapter.preset=x-lora", classifier, "adapter.num_experts=3"]);
}

#[test]
fn so_does_one_whose_rate_goes_by_the_validation_loss() {
    resumes(&[
        "training.lr_scheduler_type=reduce_lr_on_plateau",
        "training.lr_scheduler_kwargs={patience=0,factor=0.5,threshold=0.5}",
        "training.eval_steps=2",
    ]);
}

#[test]
fn so_does_one_whose_samples_are_kept_on_disk() {
    let cache = tempfile::tempdir().unwrap();
    let key = format!("data.cache_dir={}", arg(cache.path()));
    let kept = resumes(&[&key]);
    assert!(std::fs::read_dir(cache.path()).unwrap().count() > 0);
    assert_eq!(kept, resumes(&[]));
}

#[test]
fn resuming_does_not_ask_for_the_default_device_and_keeps_the_moments_of_whole_modules() {
    let run = Run::new();
    let set = ["--set", "training.save_steps=5", "--set", "adapter.modules_to_save=[\"norm\"]"];
    let (whole, parts) = (run.output("whole"), run.output("parts"));
    run.train(&whole, &set);
    std::fs::create_dir(&parts).unwrap();
    copy(&whole.join("checkpoint-10"), &parts.join("checkpoint-10"));
    let output_dir = format!("training.output_dir={}", arg(&parts));
    // Burn takes no such device, so whatever asks it for its default one fails.
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_lora-moe"))
        .args(["train", "--config", &run.config, "--set", &output_dir, "--resume"])
        .args(set)
        .env("BURN_DEVICE", "none")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |folder: &Path| std::fs::read(folder.join("adapter_model.safetensors")).unwrap();
    assert!(read(&whole) == read(&parts));
}

#[test]
fn a_run_that_ended_before_it_saved_anything_starts_again() {
    let run = Run::new();
    let whole = run.output("whole");
    run.train(&whole, &["--set", "training.eval_on_start=true"]);
    for (name, more) in [("again", None), ("resumed", Some("--resume"))] {
        let output = run.output(name);
        std::fs::create_dir(&output).unwrap();
        std::fs::copy(whole.join("metrics.jsonl"), output.join("metrics.jsonl")).unwrap();
        let mut arguments = vec!["--set", "training.eval_on_start=true"];
        arguments.extend(more);
        run.train(&output, &arguments);
        assert_eq!(losses(&output), losses(&whole));
        let lines = |folder: &Path| {
            std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap().lines().count()
        };
        assert_eq!(lines(&output), lines(&whole));
    }
}
