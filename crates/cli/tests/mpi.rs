//! Ranks that `mpirun` starts train as one process does. Needs Open MPI:
//!
//! ```sh
//! cargo test --workspace --features lora-moe-cli/mpi --test mpi -- --nocapture --test-threads 1
//! ```

#![cfg(all(unix, feature = "mpi"))]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use lora_moe::moe_adapter::ADAPTER_WEIGHTS_FILE;
use serde_json::Value;
use support::{arg, tiny_model};

const COMMAND: &str = env!("CARGO_BIN_EXE_lora-moe");

/// `mpirun` on this machine, whatever it has.
fn mpirun() -> Command {
    let mut command = Command::new("mpirun");
    command
        .args(["--oversubscribe", "--bind-to", "none"])
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("RAYON_NUM_THREADS", "1")
        .env_remove("LORA_MOE_DEVICE")
        .stdin(Stdio::null());
    command
}

struct Place {
    folder: tempfile::TempDir,
    config: PathBuf,
}

impl Place {
    fn new(preset: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (model, data) = tiny_model(folder.path());
        let config = folder.path().join("run.toml");
        let text = format!(
            "[model]\npath = {model:?}\n[adapter]\npreset = \"{preset}\"\n\
             [data]\ntrain = [{{ path = {data:?} }}]\nvalidation_split = 20\ntemplate = \"plain\"\n\
             [training]\noutput_dir = \"unset\"\nmax_steps = 50\nlogging_steps = 1\n\
             learning_rate = 5e-3\nper_device_train_batch_size = 2\n\
             gradient_accumulation_steps = 4\nddp_bucket_cap_mb = 0.001\n{more}\n"
        );
        std::fs::write(&config, text).unwrap();
        Self { folder, config }
    }

    fn output(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn train(&self, ranks: usize, name: &str, more: &[&str]) -> Command {
        let output = format!("training.output_dir={}", arg(&self.output(name)));
        let mut command = mpirun();
        command.args(["-n", &ranks.to_string(), COMMAND, "train", "--config", arg(&self.config)]);
        command.args(["--set", &output]).args(more);
        command
    }

    fn trained(&self, ranks: usize, name: &str, more: &[&str]) -> Vec<f64> {
        succeeds(&mut self.train(ranks, name, more));
        losses(&self.output(name))
    }
}

fn succeeds(command: &mut Command) -> Output {
    let output = command.output().expect("mpirun is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn losses(output: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line["loss"].as_f64()).collect()
}

fn weights(output: &Path) -> Vec<u8> {
    std::fs::read(output.join(ADAPTER_WEIGHTS_FILE)).unwrap()
}

#[test]
fn one_two_and_four_ranks_learn_the_same() {
    for preset in ["lora", "loramoe-paper", "goat-paper", "slim", "mixlora"] {
        let place = Place::new(preset, "");
        let expected = place.trained(1, "1", &[]);
        assert_eq!(expected.len(), 50);
        for ranks in [2, 4] {
            let name = ranks.to_string();
            let found = place.trained(ranks, &name, &[]);
            let pairs = expected.iter().zip(&found);
            let largest = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            let same = weights(&place.output("1")) == weights(&place.output(&name));
            println!("{preset}, {ranks} ranks: losses differ by {largest:e}, same adapter: {same}");
            assert_eq!(found.len(), 50);
            assert!(largest <= 1e-5, "{preset} on {ranks} ranks: {largest:e}");
        }
    }
}

/// The processes of the command below one, as far as they live.
fn ranks_of(mpirun: &Child) -> Vec<u32> {
    let path = format!("/proc/{0}/task/{0}/children", mpirun.id());
    let children = std::fs::read_to_string(path).unwrap_or_default();
    let ids = children.split_whitespace().filter_map(|id| id.parse().ok());
    let trains = |id: &u32| {
        std::fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|of| of.trim() == "lora-moe")
    };
    ids.filter(trains).collect()
}

#[test]
fn a_rank_killed_at_any_moment_loses_nothing() {
    let place = Place::new("slim", "save_steps = 4\nsave_total_limit = 3");
    let started = Instant::now();
    let expected = place.trained(2, "whole", &[]);
    let mut seconds = started.elapsed().as_secs_f64();
    let (mut kills, mut finished, mut run) = (0, 0, 0);
    while kills < 20 {
        let name = format!("run-{finished}");
        let output = place.output(&name);
        let ranks = [2, 4, 3][run % 3];
        run += 1;
        let resume: &[&str] =
            if output.join("metrics.jsonl").exists() { &["--resume"] } else { &[] };
        let mut command = place.train(ranks, &name, resume);
        let begun = Instant::now();
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        // Spread over the run, at no regular moments.
        let wait = seconds * (0.15 + 0.8 * f64::from(kills * 7 % 20) / 20.0);
        std::thread::sleep(Duration::from_secs_f64(wait));
        let processes = ranks_of(&child);
        if let Some(victim) = processes.get(run % processes.len().max(1)) {
            let victim = victim.to_string();
            Command::new("kill").args(["-9", &victim]).status().unwrap();
        }
        let killed = Instant::now();
        let ended = child.wait_with_output().unwrap();
        if ended.status.success() {
            assert_eq!(losses(&output).len(), expected.len());
            finished += 1;
            // The machine was busier when the first run was timed.
            if resume.is_empty() {
                seconds = seconds.min(begun.elapsed().as_secs_f64());
            }
            continue;
        }
        let error = String::from_utf8_lossy(&ended.stderr);
        assert!(killed.elapsed() < Duration::from_secs(60), "{error}");
        assert!(error.contains("rank"), "{error}");
        kills += 1;
    }
    let name = format!("run-{finished}");
    let resume: &[&str] =
        if place.output(&name).join("metrics.jsonl").exists() { &["--resume"] } else { &[] };
    let found = place.trained(2, &name, resume);
    println!("{kills} kills, {} runs finished", finished + 1);
    for at in 0..=finished {
        let found = losses(&place.output(&format!("run-{at}")));
        let largest = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        println!("run {at}: losses differ by {largest:e}");
        assert!(found.len() == expected.len() && largest <= 1e-5, "{largest:e}");
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn ranks_with_different_configurations_are_refused_before_the_first_step() {
    let place = Place::new("lora", "");
    let one = |rate: &str| {
        let output = format!("training.output_dir={}", arg(&place.output("run")));
        let rate = format!("training.learning_rate={rate}");
        let train = ["-n", "1", COMMAND, "train", "--config", arg(&place.config), "--set", &output];
        train.iter().copied().chain(["--set", &rate]).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut command = mpirun();
    let output = command.args(one("1e-3")).arg(":").args(one("2e-3")).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("rank 1 has") && error.contains("the configuration"), "{error}");
    assert!(!place.output("run").join("metrics.jsonl").exists());

    // Two ranks for one pass.
    let once = ["--set", "training.gradient_accumulation_steps=1"];
    let output = place.train(2, "few", &once).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("at least 2, the number of ranks"), "{error}");
}

#[test]
fn a_signal_to_one_rank_ends_all_with_a_checkpoint() {
    let place = Place::new("lora", "");
    let mut command = place.train(2, "run", &["--set", "training.max_steps=3000"]);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    while !place.output("run").join("metrics.jsonl").exists() {
        std::thread::sleep(Duration::from_millis(50));
    }
    // Not the one that writes.
    let second = ranks_of(&child)[1].to_string();
    Command::new("kill").args(["-TERM", &second]).status().unwrap();
    let ended = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&ended.stderr);
    // Also of the one that was not asked itself.
    assert_eq!(ended.status.code(), Some(143), "{error}");
    assert!(error.contains("the checkpoint is in") && error.contains("--resume"), "{error}");
}

#[test]
fn a_rank_that_hangs_ends_the_run() {
    let place = Place::new("lora", "");
    let more = ["--rank-timeout", "2", "--set", "training.max_steps=100000"];
    let mut command = place.train(2, "run", &more);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    while !place.output("run").join("metrics.jsonl").exists() {
        std::thread::sleep(Duration::from_millis(50));
    }
    // They are in the order of their ranks.
    let stopped = ranks_of(&child)[1].to_string();
    Command::new("kill").args(["-STOP", &stopped]).status().unwrap();
    let started = Instant::now();
    let ended = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{error}");
    // It was stopped on its way to a call, or within one.
    let named = error.contains("waited 2 s for rank 1");
    assert!(named || error.contains("hangs within it"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(60), "{error}");
}
