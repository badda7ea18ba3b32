//! A study in parts: by several processes at once or one after the other, some of which die.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{arg, fails, succeeds};

const STUDY: &str = r#"
    seeds = [0, 1]
    samples = [64]
    learning_rates = [1e-3, 4e-3]
    cost = false
    [demo]
    world = { entities = 8 }
    hidden_size = 32
    intermediate_size = 48
    num_hidden_layers = 2
    pretraining_steps = 20
    pretraining_batch_size = 8
    batch_size = 16
    inputs_per_task = 2
    [[methods]]
    name = "LoRA"
    preset = "lora"
    adapter = { r = 8 }
    [[methods]]
    name = "LoRAMoE"
    preset = "loramoe-paper"
    adapter = { num_experts = 4 }
    learning_rate = 1e-3
"#;

/// The runs of the search and of the study.
const RUNS: usize = 2 + 4;

struct Place {
    folder: tempfile::TempDir,
    config: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("study.toml");
        std::fs::write(&config, STUDY).unwrap();
        Self { folder, config }
    }

    fn output(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arguments<'a>(&'a self, command: &[&'a str], output: &'a Path) -> Vec<&'a str> {
        let files = ["--config", arg(&self.config), "--output", arg(output)];
        [&["study"], command, &files].concat()
    }

    fn study(&self, command: &[&str], output: &Path) -> String {
        succeeds(&self.arguments(command, output))
    }

    /// How far the runs are: done, claimed, open.
    fn states(&self, output: &Path) -> [usize; 3] {
        let plan = self.study(&["plan", "--json", "--lease", "2"], output);
        let plan: Vec<Value> = serde_json::from_str(&plan).unwrap();
        assert_eq!(plan.len(), RUNS);
        let is =
            |run: &Value, state: &str| run["state"] == state || run["state"].get(state).is_some();
        ["done", "claimed", "open"].map(|state| plan.iter().filter(|run| is(run, state)).count())
    }

    fn worker(&self, output: &Path) -> Child {
        let claim = ["run", "--claim", "--lease", "2", "--workers", "1"];
        Command::new(env!("CARGO_BIN_EXE_lora-moe"))
            .args(self.arguments(&claim, output))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}

/// The results without what the clock and the command line decide.
fn results(output: &Path) -> Value {
    let text = std::fs::read_to_string(output.join("results.json")).unwrap();
    let mut results: Value = serde_json::from_str(&text).unwrap();
    results["command"].take();
    let machine = |setting: &Value| setting.to_string().contains("runs at once");
    results["settings"].as_array_mut().unwrap().retain(|setting| !machine(setting));
    for run in results["runs"].as_array_mut().unwrap() {
        assert!(run["seconds"].take().is_number());
    }
    results
}

#[test]
fn parts_and_claims_come_to_what_the_study_comes_to_alone() {
    let place = Place::new();
    let [whole, parts, claims] = ["whole", "parts", "claims"].map(|name| place.output(name));
    assert_eq!(place.states(&whole), [0, 0, RUNS]);
    let error = fails(&place.arguments(&["report"], &whole));
    assert!(error.contains("no run of this study is there yet"), "{error}");
    place.study(&[], &whole);
    let expected = results(&whole);
    assert!(expected.get("missing").is_none());
    assert_eq!(place.states(&whole), [RUNS, 0, 0]);

    // One part, of which a part waits for the other's search.
    place.study(&["run", "--only", "1/2"], &parts);
    let [done, claimed, open] = place.states(&parts);
    assert!(done > 0 && claimed == 0 && open > 0, "{done} {claimed} {open}");
    assert!(!parts.join("report.html").exists());
    let said = place.study(&["report"], &parts);
    assert!(said.contains(&format!("{open} runs are missing: search/LoRA-lr0.004")), "{said}");
    assert_eq!(results(&parts)["missing"].as_array().unwrap().len(), open);
    place.study(&["run", "--only", "2/2"], &parts);
    place.study(&["run", "--only", "1/2"], &parts);
    assert_eq!(place.states(&parts), [RUNS, 0, 0]);
    assert_eq!(results(&parts), expected);

    // Three at once, of which two are killed while they hold something.
    let started = Instant::now();
    let mut workers: Vec<Child> = (0..3).map(|_| place.worker(&claims)).collect();
    for _ in 0..2 {
        while place.states(&claims)[1] == 0 {
            assert!(started.elapsed() < Duration::from_secs(300));
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut dies = workers.pop().unwrap();
        dies.kill().unwrap();
        dies.wait().unwrap();
        println!("killed at {:?}", place.states(&claims));
    }
    let last = place.worker(&claims);
    // A process that wants the folder alone is told that others have it.
    let error = fails(&place.arguments(&[], &claims));
    assert!(error.contains("in use by"), "{error}");
    for mut worker in workers.into_iter().chain([last]) {
        assert!(worker.wait().unwrap().success());
    }
    assert_eq!(results(&claims), expected);
    let left = std::fs::read_dir(claims.join("claims")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name.to_string_lossy().starts_with('.')), "{left:?}");
}

#[test]
fn a_script_for_slurm_says_what_each_job_runs() {
    let place = Place::new();
    let output = place.output("a study's");
    let options = "--jobs 8 --partition gpu --gpus 1 --time 4:00:00 --cpus 4 --workers 2 --print";
    let command: Vec<_> = ["submit", "--sbatch=--account=x", "--setup", "module load cuda"]
        .into_iter()
        .chain(options.split(' '))
        .collect();
    let script = place.study(&command, &output);
    let lines: Vec<_> = script.lines().collect();
    assert_eq!(lines[0], "#!/bin/bash");
    let quoted = arg(&output).replace('\'', r"'\''");
    for line in [
        "#SBATCH --array=1-8",
        "#SBATCH --requeue",
        "#SBATCH --partition=gpu",
        "#SBATCH --gpus=1",
        "#SBATCH --time=4:00:00",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --account=x",
        "module load cuda",
    ] {
        assert!(lines.contains(&line), "{line}: {script}");
    }
    let last = lines.last().unwrap();
    assert!(last.starts_with("exec /") && last.contains(" study run --claim "), "{last}");
    assert!(last.contains(&format!("--output '{quoted}'")), "{last}");
    assert!(last.ends_with("--lease 300 --workers 2"), "{last}");
    assert!(!output.exists());
    let error = fails(&place.arguments(&["cancel"], &output));
    assert!(error.contains("no job was submitted"), "{error}");
}
