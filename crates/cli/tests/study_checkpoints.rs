//! A study whose process is killed in the middle of its runs, again and again.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{arg, fails, lora_moe, tiny_model};

/// What holds more than factors: a start that is taken out of the frozen weights, clusters that move,
/// and no adapter at all.
const METHODS: &str = r#"
    [[methods]]
    name = "GOAT"
    preset = "goat-paper"
    adapter = { r = 8, lora_dropout = 0.1 }
    [[methods]]
    name = "SLIM"
    preset = "slim"
    adapter = { r = 2 }
    [[methods]]
    name = "full"
    preset = "full"
    equal_parameters = false
    learning_rate = 1e-3
"#;

/// The steps of a run, and of those between two checkpoints.
const STEPS: usize = 40;
const SAVED: usize = 8;

fn arguments<'a>(config: &'a Path, output: &'a Path) -> Vec<&'a str> {
    vec!["study", "--config", arg(config), "--output", arg(output), "--workers", "1"]
}

/// The newest checkpoints of all runs in progress.
fn checkpoints(output: &Path) -> Vec<PathBuf> {
    let folders = |path: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
    };
    let all = folders(&output.join("checkpoints")).into_iter().flat_map(|run| folders(&run));
    all.filter(|path| path.join("trainer_state.json").exists()).collect()
}

/// The results without what the clock decides.
fn results(output: &Path) -> Value {
    let text = std::fs::read_to_string(output.join("results.json")).unwrap();
    let mut results: Value = serde_json::from_str(&text).unwrap();
    results["command"].take();
    for run in results["runs"].as_array_mut().unwrap() {
        assert!(run["seconds"].take().as_f64().unwrap() > 0.0);
    }
    results
}

/// Waits for a checkpoint that is not among `seen`, and kills the process; `None` where it ends
/// before.
fn killed(mut child: Child, output: &Path, seen: &[PathBuf]) -> Option<PathBuf> {
    let started = Instant::now();
    loop {
        let new = checkpoints(output).into_iter().find(|path| !seen.contains(path));
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        if let Some(path) = new {
            child.kill().unwrap();
            child.wait().unwrap();
            return Some(path);
        }
        assert!(started.elapsed() < Duration::from_secs(300));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Kills a study of so many runs at a new checkpoint each time until nothing is left to kill, and
/// compares with the same study left alone.
fn goes_on_from_its_checkpoints(folder: &Path, text: &str) {
    let config = folder.join("study.toml");
    std::fs::write(&config, text).unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| folder.join(name));
    let alone = lora_moe(&arguments(&config, &whole));
    assert!(alone.status.success(), "{}", String::from_utf8_lossy(&alone.stderr));
    assert!(checkpoints(&whole).is_empty());

    let (mut seen, mut went_on) = (Vec::new(), 0);
    loop {
        let log = folder.join("said");
        let child = Command::new(env!("CARGO_BIN_EXE_lora-moe"))
            .args(arguments(&config, &parts))
            .env_remove("LORA_MOE_DEVICE")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let Some(path) = killed(child, &parts, &seen) else {
            let said = std::fs::read_to_string(&log).unwrap();
            assert!(parts.join("report.html").exists(), "{said}");
            went_on += said.matches("goes on from checkpoint-").count();
            break;
        };
        went_on += std::fs::read_to_string(&log).unwrap().matches("goes on from").count();
        seen.push(path);
    }
    println!("killed {} times, {went_on} runs went on from a checkpoint", seen.len());
    assert!(seen.len() >= STEPS / SAVED && went_on >= seen.len() / 2, "{seen:?}");
    assert_eq!(results(&parts), results(&whole));
    let left = std::fs::read_dir(parts.join("checkpoints")).unwrap();
    assert_eq!(left.count(), 0, "they are removed with the end of their run");
}

#[test]
fn a_run_in_the_demos_world_goes_on_where_it_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "seeds = [3]\nsamples = [{}]\nlearning_rates = [1e-3]\ncost = false\n\
         save_steps = {SAVED}\n\
         [demo]\nworld = {{ entities = 8 }}\nhidden_size = 32\nintermediate_size = 48\n\
         num_hidden_layers = 1\npretraining_steps = 5\npretraining_batch_size = 8\n\
         batch_size = 4\ninputs_per_task = 2\n{METHODS}",
        4 * STEPS
    );
    goes_on_from_its_checkpoints(folder.path(), &text);
}

#[test]
fn a_run_on_data_goes_on_where_it_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = tiny_model(folder.path());
    let text = format!(
        "seeds = [0]\nsamples = [{}]\ncost = false\nsave_steps = {SAVED}\n\
         learning_rates = [1e-3]\nsearch_samples = 8\n\
         [model]\npath = {model:?}\n\
         [data]\ntrain = [{{ path = {data:?} }}]\nvalidation_split = 24\ntemplate = \"plain\"\n\
         retain = [{{ path = {data:?} }}]\n\
         [training]\nper_device_train_batch_size = 1\ngradient_accumulation_steps = 2\n{METHODS}",
        2 * STEPS
    );
    goes_on_from_its_checkpoints(folder.path(), &text);
}

#[test]
fn a_checkpoint_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("study.toml");
    let text = "seeds = [3]\nsamples = [8]\ncost = false\nsave_steps = 1\n\
                [demo]\nworld = { entities = 8 }\nhidden_size = 16\nintermediate_size = 24\n\
                num_hidden_layers = 1\npretraining_steps = 2\npretraining_batch_size = 2\n\
                batch_size = 4\ninputs_per_task = 2\n\
                [[methods]]\nname = \"LoRA\"\npreset = \"lora\"\nlearning_rate = 1e-3\n";
    std::fs::write(&config, text).unwrap();
    let output = folder.path().join("out");
    let broken = output.join("checkpoints/runs-lora-seed3-8/checkpoint-1");
    std::fs::create_dir_all(&broken).unwrap();
    std::fs::write(broken.join("trainer_state.json"), "{}").unwrap();
    let error = fails(&arguments(&config, &output));
    assert!(error.contains("trainer_state.json") && error.contains("delete the folder"), "{error}");
}
