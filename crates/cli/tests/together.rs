//! Several runs of `lora-moe train` at once, on one copy of their model.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::path::{Path, PathBuf};

use support::{arg, fails, killed_after, lora_moe, succeeds, tiny_model};

struct Place {
    folder: tempfile::TempDir,
    model: PathBuf,
    data: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (model, data) = tiny_model(folder.path());
        Self { folder, model, data }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration of a run with these keys of the adapter, into a folder.
    fn config(&self, output: &str, adapter: &str) -> PathBuf {
        let (model, data, output_dir) = (&self.model, &self.data, self.path(output));
        let config = self.path(&format!("{output}.toml"));
        let text = format!(
            "[model]\npath = {model:?}\n[adapter]\n{adapter}\n[data]\ntrain = [{{ path = {data:?} \
             }}]\ntemplate = \"plain\"\n[training]\noutput_dir = {output_dir:?}\nmax_steps = 10\n\
             save_steps = 2\nlogging_steps = 1\nper_device_train_batch_size = 4\n"
        );
        std::fs::write(&config, text).unwrap();
        config
    }
}

fn adapter(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("adapter_model.safetensors")).unwrap()
}

/// One that leaves the base as it is, one that takes its start out of it, one with a router that
/// moves in training.
const ADAPTERS: [(&str, &str); 3] = [
    ("loramoe", "preset = \"loramoe-paper\"\nr = 2"),
    ("goat", "preset = \"goat-paper\"\nr = 8"),
    ("slim", "preset = \"slim\"\nr = 2"),
];

#[test]
fn each_run_learns_what_it_learns_alone() {
    let place = Place::new();
    let mut together = vec!["train".to_owned()];
    for (name, keys) in ADAPTERS {
        let alone = place.config(&format!("{name}-alone"), keys);
        succeeds(&["train", "--config", arg(&alone)]);
        together.extend(["--config".to_owned(), arg(&place.config(name, keys)).to_owned()]);
    }
    let together: Vec<&str> = together.iter().map(String::as_str).collect();
    succeeds(&together);
    let same = |name: &str| {
        let alone = place.path(&format!("{name}-alone"));
        assert_eq!(adapter(&place.path(name)), adapter(&alone), "{name}");
    };
    ADAPTERS.iter().for_each(|(name, _)| same(name));

    // Killed at some point, and resumed: runs that had not begun, were on their way, or had ended.
    for (name, _) in ADAPTERS {
        std::fs::remove_dir_all(place.path(name)).unwrap();
    }
    if !killed_after(&together, 0.4) {
        println!("all runs had ended before they were killed");
    }
    let resumed: Vec<&str> = together.iter().copied().chain(["--resume"]).collect();
    succeeds(&resumed);
    ADAPTERS.iter().for_each(|(name, _)| same(name));
}

#[test]
fn a_run_that_fails_ends_no_other() {
    let place = Place::new();
    let good = place.config("good", "preset = \"lora\"");
    let bad = place.config("bad", "preset = \"lora\"");
    // A run is there already.
    succeeds(&["train", "--config", arg(&bad)]);
    let output = lora_moe(&["train", "--config", arg(&bad), "--config", arg(&good)]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(arg(&place.path("bad"))) && error.contains("already"), "{error}");
    assert!(!adapter(&place.path("good")).is_empty());
}

#[test]
fn runs_that_cannot_share_a_model_are_refused() {
    let place = Place::new();
    let one = place.config("one", "preset = \"lora\"");
    let two = place.config("two", "preset = \"lora\"");
    let error = fails(&["train", "--config", arg(&one), "--config", arg(&one)]);
    assert!(error.contains("`training.output_dir`") && error.contains("its own"), "{error}");
    let text = std::fs::read_to_string(&two).unwrap();
    std::fs::write(&two, text.replace("[adapter]", "dtype = \"bfloat16\"\n[adapter]")).unwrap();
    let error = fails(&["train", "--config", arg(&one), "--config", arg(&two)]);
    assert!(error.contains("two.toml: `[model]` is not that of"), "{error}");
    let two = place.config("two", "preset = \"lora\"");
    let both = ["train", "--config", arg(&one), "--config", arg(&two)];
    let error = fails(&[&both[..], &["--resume", "checkpoint-2"]].concat());
    assert!(error.contains("--resume names one checkpoint"), "{error}");
}
