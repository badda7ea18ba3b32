//! Runs on data files: what their form, mixture and way into memory change, and what not.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use support::{arg, lora_moe, tiny_model};

/// A run of a few steps on the tiny model.
struct Run {
    folder: tempfile::TempDir,
    config: PathBuf,
}

impl Run {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (model, _) = tiny_model(folder.path());
        let config = folder.path().join("run.toml");
        let text = format!(
            "[model]\npath = {model:?}\n[adapter]\npreset = \"lora\"\nr = 2\n[data]\n\
             template = \"plain\"\n[training]\noutput_dir = \"unset\"\nlearning_rate = 5e-3\n\
             max_steps = 4\nlogging_steps = 1\nper_device_train_batch_size = 8\n"
        );
        std::fs::write(&config, text).unwrap();
        Self { folder, config }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs `train` on data into a folder of that name, with more arguments.
    fn start(&self, name: &str, data: &str, more: &[&str]) -> Output {
        let output = self.folder.path().join(name);
        let sets = [format!("data.train={data}"), format!("training.output_dir={}", arg(&output))];
        let mut arguments = vec!["train", "--config", arg(&self.config)];
        for set in &sets {
            arguments.extend(["--set", set.as_str()]);
        }
        arguments.extend(more);
        lora_moe(&arguments)
    }

    /// What a run says, which has to succeed.
    fn said(&self, name: &str, data: &str, more: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.start(name, data, more);
        let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        assert!(status.success(), "{said}");
        said
    }

    /// Trains into a new folder, and returns the adapter's bytes and the losses.
    fn train(&self, name: &str, data: &str, more: &[&str]) -> (Vec<u8>, Vec<f64>) {
        self.said(name, data, more);
        self.result(name)
    }

    /// What a run has left: the adapter's bytes and the losses.
    fn result(&self, name: &str) -> (Vec<u8>, Vec<f64>) {
        let output = self.folder.path().join(name);
        let metrics = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap();
        let lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let losses = lines.filter_map(|line| line["loss"].as_f64()).collect();
        (std::fs::read(output.join("adapter_model.safetensors")).unwrap(), losses)
    }
}

fn file(path: &Path) -> String {
    format!("[{{ path = {:?} }}]", arg(path))
}

/// The rows of `many` in `docs/parity/record_files.py`.
fn many() -> Vec<Value> {
    const WORDS: [&str; 12] =
        ["question", "answer", "where", "is", "the", "of", "a", "b", "c", "d", "e", "f"];
    let text = |seed: usize, length: usize| {
        let word = |at| WORDS[(seed * 7 + at * (seed % 5 + 1)) % WORDS.len()];
        (0..length).map(word).collect::<Vec<_>>().join(" ")
    };
    let row = |n: usize| {
        let input = if n.is_multiple_of(3) { text(n % 89, 2) } else { String::new() };
        let (instruction, output) = (text(n % 97, 3 + n % 5), text(n % 101, 1 + n % 7));
        json!({"instruction": instruction, "input": input, "output": output, "id": n / 100})
    };
    (0..10_000).map(row).collect()
}

#[test]
fn ten_thousand_rows_give_the_same_run_in_every_form() {
    let run = Run::new();
    let rows = many();
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let cell = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let line = |row: &Value| {
        let [a, b, c] = ["instruction", "input", "output"].map(|key| cell(row, key));
        format!("{a},{b},{c},{}\n", row["id"])
    };
    let table: String = rows.iter().map(line).collect();
    let expected = run.train("lines", &file(&run.write("many.jsonl", &lines)), &[]);
    assert_eq!(expected.1.len(), 4);
    let table = run.write("many.csv", &format!("instruction,input,output,id\n{table}"));
    let array = run.write("many.json", &Value::from(rows).to_string());
    #[cfg_attr(not(any(feature = "arrow", feature = "parquet")), allow(unused_mut))]
    let mut files = vec![("table", table), ("array", array)];
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/src/tests/data");
    #[cfg(feature = "parquet")]
    files.push(("parquet", data.join("many.parquet")));
    #[cfg(feature = "arrow")]
    files.push(("arrow", data.join("many.arrow")));
    assert!(data.join("many.arrow").exists());
    for (name, path) in files {
        assert!(run.train(name, &file(&path), &[]) == expected, "{name}");
    }
}

#[test]
fn mixtures_are_told_follow_the_seed_and_resume_at_the_exact_sample() {
    let run = Run::new();
    let rows = many();
    let lines = |rows: &[Value]| rows.iter().map(|row| format!("{row}\n")).collect::<String>();
    let small = run.write("small.jsonl", &lines(&rows[..20]));
    let large = run.write("large.jsonl", &lines(&rows[20..100]));
    let mixed = |weight: f64| {
        format!(
            "[{{ path = {:?}, weight = {weight} }}, {{ path = {:?} }}]",
            arg(&small),
            arg(&large)
        )
    };
    // 20 : 80 samples with 4 : 1 is half and half.
    let more = ["--set", "training.save_steps=7", "--set", "training.max_steps=20"];
    let said = run.said("mixed", &mixed(4.0), &more);
    let share = |draws, samples, name| {
        format!("an epoch draws {draws} from the {samples} samples of {}", arg(name))
    };
    assert!(said.contains(&(share(50, 20, &small) + " (50.0 %)")), "{said}");
    assert!(said.contains(&share(50, 80, &large)), "{said}");
    let expected = run.result("mixed");
    assert_eq!(expected.1.len(), 20);
    assert!(run.train("again", &mixed(4.0), &more) == expected);
    // Interrupted after step 14, in the second of the epochs of 13 batches.
    let (whole, parts) = (run.folder.path().join("mixed"), run.folder.path().join("parts"));
    std::fs::create_dir_all(parts.join("checkpoint-14")).unwrap();
    for entry in std::fs::read_dir(whole.join("checkpoint-14")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), parts.join("checkpoint-14").join(entry.file_name())).unwrap();
    }
    std::fs::copy(whole.join("metrics.jsonl"), parts.join("metrics.jsonl")).unwrap();
    run.said("parts", &mixed(4.0), &[&more[..], &["--resume"]].concat());
    assert!(run.result("parts") == expected);
    // Equal weights are none.
    let plain = format!("[{{ path = {:?} }}, {{ path = {:?} }}]", arg(&small), arg(&large));
    let plain = run.train("plain", &plain, &more);
    assert!(plain != expected && run.train("equal", &mixed(1.0), &more) == plain);
    // T = 2: 1 : 2 of 100.
    let warm = ["--set", "data.mixing_temperature=2", "--dry-run"];
    let said = run.said("dry", &mixed(1.0), &warm);
    assert!(said.contains(&share(33, 20, &small)), "{said}");
    for set in ["training.packing=true", "training.max_tokens_per_batch=256"] {
        let Output { status, stderr, .. } = run.start("no", &mixed(4.0), &["--set", set]);
        let error = String::from_utf8_lossy(&stderr);
        assert!(!status.success() && error.contains("weight"), "{error}");
    }
}

/// The folders of stores in a cache.
fn stores(cache: &Path) -> Vec<PathBuf> {
    let mut stores: Vec<_> = cache.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    stores.sort();
    stores
}

#[test]
fn runs_from_a_cache_are_those_from_memory() {
    let run = Run::new();
    let rows = many();
    let lines = |rows: &[Value]| rows.iter().map(|row| format!("{row}\n")).collect::<String>();
    let a = run.write("a.jsonl", &lines(&rows[..300]));
    let b = run.write("b.jsonl", &lines(&rows[300..340]));
    let cache = run.folder.path().join("cache");
    let data = format!("[{{ path = {:?} }}, {{ path = {:?} }}]", arg(&a), arg(&b));
    let weighed = format!("[{{ path = {:?} }}, {{ path = {:?}, weight = 3.0 }}]", arg(&a), arg(&b));
    let in_cache = format!("data.cache_dir={:?}", arg(&cache));
    let validated = ["--set", "data.validation_split=0.1"];
    let cases: [(&str, &str, &[&str]); 4] = [
        ("plain", &data, &[]),
        ("held_out", &data, &[&validated[..], &["--set", "training.eval_steps=2"]].concat()),
        ("packed", &data, &[&validated[..], &["--set", "training.packing=true"]].concat()),
        ("mixed", &weighed, &validated),
    ];
    for (name, data, more) in cases {
        let expected = run.train(name, data, more);
        let cached = [&["--set", in_cache.as_str()], more].concat();
        assert!(run.train(&format!("{name}-cached"), data, &cached) == expected, "{name}");
    }
    assert_eq!(stores(&cache).len(), 1, "weights, packing and what is held out change no sample");

    // What changes samples makes others, and they are not mixed up.
    let cached = ["--set", in_cache.as_str(), "--set"];
    for (at, set) in
        ["data.max_length=9", "data.train_on_prompt=true", "model.new_tokens=[\"<x>\"]"]
            .into_iter()
            .enumerate()
    {
        let more = [&cached[..], &[set, "--dry-run"]].concat();
        run.said("dry", &data, &more);
        assert_eq!(stores(&cache).len(), at + 2, "{set}");
    }
    std::fs::write(&b, lines(&rows[340..380])).unwrap();
    let changed = run.train("changed", &data, &[]);
    assert!(run.train("changed-cached", &data, &cached[..2]) == changed);
    assert_eq!(stores(&cache).len(), 5);

    // A damaged store is named.
    let broken = stores(&cache);
    for store in &broken {
        std::fs::write(store.join("index.bin"), "x").unwrap();
    }
    let Output { status, stderr, .. } = run.start("broken", &data, &cached[..2]);
    let error = String::from_utf8_lossy(&stderr);
    assert!(!status.success() && error.contains("index.bin: 1 bytes where 340 samples"), "{error}");
}
