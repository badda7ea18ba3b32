//! Runs that diverge, and how they go on.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{arg, fails, lora_moe, succeeds, tiny_model};

struct Run {
    _folder: tempfile::TempDir,
    config: PathBuf,
    output: PathBuf,
}

impl Run {
    fn new(training: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (model, data) = tiny_model(folder.path());
        // A model that has learned something: one of random weights has little to lose.
        let (config, lora) = (folder.path().join("lora.toml"), folder.path().join("lora"));
        let text = format!(
            "[model]\npath = {model:?}\n[adapter]\nr = 8\nlora_alpha = 16\n\
             target_modules = \"all-linear\"\n\
             [data]\ntrain = [{{ path = {data:?} }}]\ntemplate = \"plain\"\n\
             [training]\noutput_dir = {lora:?}\nlearning_rate = 0.02\nmax_steps = 60\n"
        );
        std::fs::write(&config, text).unwrap();
        succeeds(&["train", "--config", arg(&config)]);
        let trained = folder.path().join("trained");
        let merge = ["merge", "--model", arg(&model), "--adapter", arg(&lora)];
        succeeds(&[&merge[..], &["--output", arg(&trained)]].concat());
        let (config, output) = (folder.path().join("run.toml"), folder.path().join("run"));
        let text = format!(
            "[model]\npath = {trained:?}\n[adapter]\nr = 2\nlora_alpha = 4\n\
             target_modules = \"all-linear\"\n\
             [data]\ntrain = [{{ path = {data:?} }}]\ntemplate = \"plain\"\n\
             [training]\noutput_dir = {output:?}\nper_device_train_batch_size = 4\n\
             logging_steps = 1\n{training}\n"
        );
        std::fs::write(&config, text).unwrap();
        Self { config, output, _folder: folder }
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [&["train", "--config", arg(&self.config)], more].concat()
    }

    fn checkpoints(&self) -> Vec<usize> {
        let mut steps: Vec<usize> = std::fs::read_dir(&self.output)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter_map(|name| name.strip_prefix("checkpoint-")?.parse().ok())
            .collect();
        steps.sort_unstable();
        steps
    }
}

fn state(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("trainer_state.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The rate of the first step is 0; the second throws it off.
const DIVERGES: &str = "learning_rate = 1e20\nwarmup_steps = 10\nsave_steps = 1\n\
                        max_steps = 30\nsave_total_limit = 1";

#[test]
fn the_last_healthy_checkpoint_of_a_run_that_diverged_is_kept_and_gone_on_from() {
    let run = Run::new(DIVERGES);
    let error = fails(&run.arguments(&[]));
    println!("{error}");
    assert!(error.contains("the checkpoint is not healthy"), "{error}");
    let steps = run.checkpoints();
    let healthy: Vec<_> = steps
        .iter()
        .filter(|step| {
            state(&run.output.join(format!("checkpoint-{step}")))["health"]["healthy"] == true
        })
        .collect();
    assert_eq!((steps.len(), healthy.len()), (2, 1), "{steps:?}");
    assert_eq!(*healthy[0], steps[0]);
    let name = format!("checkpoint-{}", healthy[0]);
    let path = run.output.join(&name);
    let remedy = format!("--resume {} --set training.learning_rate=1e19", path.display());
    assert!(error.contains(&remedy), "{error}");

    // The same rate gives the same end.
    let again = fails(&run.arguments(&["--resume"]));
    assert!(again.contains(&format!("from {}", path.display())), "{again}");
    assert!(again.contains("the checkpoint after it was removed"), "{again}");
    let last =
        |text: &str| text.lines().find(|line| line.starts_with("error:")).unwrap().to_owned();
    assert_eq!(last(&again), last(&error));

    let lower = ["--resume", "--set", "training.learning_rate=1e-3"];
    let unnamed = fails(&run.arguments(&lower));
    assert!(unnamed.contains("--resume CHECKPOINT"), "{unnamed}");
    let unknown = fails(&run.arguments(&["--resume", "checkpoint-99"]));
    assert!(unknown.contains("is no checkpoint of") && unknown.contains(&name), "{unknown}");
    succeeds(&run.arguments(&["--resume", &name, lower[1], lower[2]]));
    assert!(run.output.join("adapter_config.json").exists());
}

#[test]
fn a_run_without_a_healthy_checkpoint_says_so() {
    let run = Run::new("learning_rate = 1e9\nwarmup_steps = 1\nsave_steps = 2\nmax_steps = 6");
    let output = lora_moe(&run.arguments(&[]));
    println!("{}", String::from_utf8_lossy(&output.stderr));
    let steps = run.checkpoints();
    assert!(!steps.is_empty());
    let error = fails(&run.arguments(&["--resume"]));
    let newest = format!("--resume {}", run.output.display());
    assert!(error.contains("no checkpoint is healthy") && error.contains(&newest), "{error}");
}

#[test]
fn what_is_skipped_or_rolled_back_is_warned_of_and_bounded() {
    for (policy, done) in [("skip", "skipped"), ("rollback", "rolled back")] {
        let run =
            Run::new(&format!("{DIVERGES}\nnon_finite = \"{policy}\"\nmax_non_finite_steps = 2"));
        let error = fails(&run.arguments(&[]));
        println!("{error}");
        assert!(error.contains(&format!("was {done}: the loss is")), "{error}");
        assert!(error.contains(&format!("2 steps were {done} in vain")), "{error}");
    }
}
