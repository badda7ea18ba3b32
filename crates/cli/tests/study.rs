//! `lora-moe study`, in small: what it writes, that it goes on after it was killed, and that it
//! compares on a model and data of the user's.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use support::{arg, fails, lora_moe, material, succeeds, tiny_model};

const WORLD: &str = r#"
    seeds = [0, 1]
    samples = [64, 160]
    learning_rates = [1e-3, 4e-3]
    search_samples = 64
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
    [[methods]]
    name = "full"
    preset = "full"
    equal_parameters = false
    learning_rate = 1e-3
"#;

fn study(config: &Path, output: &Path) -> String {
    succeeds(&["study", "--config", arg(config), "--output", arg(output), "--workers", "2"])
}

fn written(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("study.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// The files that hold a finished run each, with when they were written.
fn done(output: &Path) -> BTreeMap<String, SystemTime> {
    let mut found = BTreeMap::new();
    for kind in ["search", "runs"] {
        let Ok(entries) = std::fs::read_dir(output.join(kind)) else { continue };
        for entry in entries.map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if name.ends_with(".json") {
                let written = entry.metadata().unwrap().modified().unwrap();
                found.insert(format!("{kind}/{name}"), written);
            }
        }
    }
    found
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The results without what the clock decides.
fn results(output: &Path) -> Value {
    let mut results = json(&output.join("results.json"));
    results["command"].take();
    for run in results["runs"].as_array_mut().unwrap() {
        assert!(run["seconds"].take().is_number());
    }
    results
}

fn table(output: &Path) -> String {
    std::fs::read_to_string(output.join("summary.csv")).unwrap()
}

#[test]
fn a_study_that_was_killed_goes_on_where_it_was_and_gives_the_same_table() {
    let folder = tempfile::tempdir().unwrap();
    let config = written(folder.path(), WORLD);
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    study(&config, &whole);
    let all = done(&whole);
    // Two methods by two rates and the base model; three methods, two seeds, two amounts of data,
    // and two base models.
    assert_eq!(all.len(), 4 + 1 + 3 * 2 * 2 + 2);

    let mut child = Command::new(env!("CARGO_BIN_EXE_lora-moe"))
        .args(["study", "--config", arg(&config), "--output", arg(&parts), "--workers", "2"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while done(&parts).len() < all.len() / 2 {
        assert!(child.try_wait().unwrap().is_none(), "it must not end before it is killed");
        assert!(started.elapsed() < Duration::from_secs(120));
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = done(&parts);
    println!("killed after {} of {}", before.len(), all.len());
    assert!(before.len() < all.len() && !parts.join("report.html").exists());

    let output =
        lora_moe(&["study", "--config", arg(&config), "--output", arg(&parts), "--workers", "2"]);
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    let after = done(&parts);
    assert_eq!(after.keys().collect::<Vec<_>>(), all.keys().collect::<Vec<_>>());
    for (name, written) in &before {
        assert_eq!(&after[name], written, "{name} was made again");
    }
    // What the search has tuned at the rate that it chose is not tuned again.
    assert!(!said.contains("LoRA, seed 0, 64 samples"), "{said}");
    let again = said.matches(": done in").count();
    let missing = all.len() - before.len();
    assert!(again <= missing, "{again} runs for {missing} that were missing: {said}");
    assert_eq!(table(&parts), table(&whole));
    assert_eq!(results(&parts), results(&whole));
}

#[test]
fn the_same_seeds_give_the_same_table_and_its_folder_says_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let config = written(folder.path(), WORLD);
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let said = study(&config, &first);
    assert!(said.contains("LoRA"), "{said}");
    succeeds(&["study", "--config", arg(&config), "--output", arg(&second), "--workers", "1"]);
    assert_eq!(table(&first), table(&second));

    let kept = json(&first.join("study.json"));
    assert_eq!((&kept["seeds"][1], &kept["baseline"]), (&Value::from(1), &Value::from("LoRA")));
    let versions = json(&first.join("versions.json"));
    assert_eq!(versions["lora-moe"], env!("CARGO_PKG_VERSION"));
    // The page of a study that is done is written again without any run.
    std::fs::remove_file(first.join("report.html")).unwrap();
    let before = done(&first);
    study(&config, &first);
    assert!(first.join("report.html").exists() && done(&first) == before);

    let other = written(folder.path(), &WORLD.replace("seeds = [0, 1]", "seeds = [0, 2]"));
    let error = fails(&["study", "--config", arg(&other), "--output", arg(&first)]);
    assert!(error.contains("study.json") && error.contains("another configuration"), "{error}");
}

#[test]
fn trainable_parameters_are_said_before_the_runs() {
    let folder = tempfile::tempdir().unwrap();
    let text = WORLD.replace("samples = [64, 160]", "samples = [32]").replace("[0, 1]", "[0]");
    let config = written(folder.path(), &text);
    let output = folder.path().join("out");
    let output = lora_moe(&["study", "--config", arg(&config), "--output", arg(&output)]);
    let said = String::from_utf8(output.stderr).unwrap();
    let at = said.find("trainable parameters: LoRA ").unwrap_or_else(|| panic!("{said}"));
    assert!(at < said.find("search: LoRA").unwrap(), "{said}");
    assert!(said.contains("the baseline") && said.contains("not equalised"), "{said}");
    assert!(said.contains("largest deviation of those that are equalised"), "{said}");
}

#[test]
fn a_method_that_diverges_is_shown_as_such() {
    let folder = tempfile::tempdir().unwrap();
    // So large a rate leaves the range of numbers, or the model in ruins.
    let text = WORLD.replace("learning_rate = 1e-3", "learning_rate = 1e20");
    let config = written(folder.path(), &text);
    let output = folder.path().join("out");
    let said = study(&config, &output);
    assert!(
        said.contains("4 of 12 runs diverged: full (2 of 2 seeds, 64 samples; seed 0: "),
        "{said}"
    );

    let cells = json(&output.join("summary.json"))["cells"].take();
    for cell in cells.as_array().unwrap() {
        let full = cell["method"] == "full";
        assert_eq!(cell["diverged"].as_array().unwrap().len(), if full { 2 } else { 0 }, "{cell}");
        assert_eq!(cell["metrics"].as_array().unwrap().is_empty(), full);
    }
    let runs = std::fs::read_to_string(output.join("runs.csv")).unwrap();
    for line in runs.lines().filter(|line| line.starts_with("full,")) {
        assert!(line.contains("loss no number at step") || line.contains("ruined"), "{line}");
        assert!(line.ends_with(&",".repeat(13)), "{line}");
    }
    let page = std::fs::read_to_string(output.join("report.html")).unwrap();
    assert!(page.contains(">diverged</td>") && page.contains("2 of 2"));
    assert!(page.contains("Without the runs that diverged: full (2 of 2 at 64 samples)"));
}

/// A study on files.
struct OnData {
    folder: tempfile::TempDir,
    text: String,
}

impl OnData {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (model, data) = tiny_model(folder.path());
        let records: Vec<Value> =
            serde_json::from_str(&std::fs::read_to_string(&data).unwrap()).unwrap();
        let retain = folder.path().join("retain.json");
        std::fs::write(&retain, serde_json::to_string(&records[..20]).unwrap()).unwrap();
        let text = folder.path().join("held-out.txt");
        std::fs::write(&text, "the cat and the dog go home . ".repeat(40)).unwrap();
        let text = format!(
            "seeds = [0, 1]\nsamples = [40, 80]\nlearning_rates = [1e-3, 1e-2]\n\
             [model]\npath = {model:?}\n\
             [data]\ntrain = [{{ path = {data:?} }}]\nvalidation_split = 24\n\
             template = \"plain\"\nretain = [{{ path = {retain:?} }}]\ntext = [{text:?}]\n\
             exact_match_samples = 8\nmax_new_tokens = 4\n\
             [training]\nper_device_train_batch_size = 4\nnum_train_epochs = 2\n\
             [[methods]]\nname = \"LoRA\"\npreset = \"lora\"\nadapter = {{ r = 4 }}\n\
             [[methods]]\nname = \"LoRAMoE\"\npreset = \"loramoe-paper\"\n"
        );
        Self { folder, text }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn refused(&self, from: &str, to: &str) -> String {
        let text = self.text.replacen(from, to, 1);
        assert_ne!(text, self.text);
        let config = written(self.folder.path(), &text);
        fails(&["study", "--config", arg(&config), "--output", arg(&self.path("refused"))])
    }
}

#[test]
fn a_study_is_made_on_a_model_and_data_of_the_users() {
    let own = OnData::new();
    let config = written(own.folder.path(), &own.text);
    let output = own.path("out");
    study(&config, &output);

    let results = json(&output.join("results.json"));
    assert_eq!(results["samples"], serde_json::json!([40, 80]));
    let (one, other) = (&results["base"][0], &results["base"][1]);
    assert_eq!(one["text_loss"], other["text_loss"]);
    let mut fell = 0;
    for run in results["runs"].as_array().unwrap() {
        let measured = &run["measured"];
        for key in ["knowledge", "tasks"] {
            let share = measured[key].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&share) && (8.0 * share).fract() == 0.0, "{share}");
        }
        // 10 steps an epoch of 40 samples, twice.
        let steps = run["samples"].as_u64().unwrap() / 4 * 2;
        assert_eq!(run["curve"].as_array().unwrap().len() as u64, steps);
        fell += usize::from(measured["task_loss"].as_f64() < one["task_loss"].as_f64());
        assert_eq!(measured["routing"].is_null(), run["method"] == "LoRA");
    }
    assert_eq!(fell, 8);
    let shares =
        &results["runs"].as_array().unwrap().last().unwrap()["measured"]["routing"]["shares"];
    let mut kinds: Vec<_> =
        shares.as_array().unwrap().iter().map(|share| share["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, ["knowledge", "text", "type 0", "type 1"]);
    assert!(results["methods"][0]["cost"]["train_tokens_per_s"].as_f64().unwrap() > 0.0);
    let page = std::fs::read_to_string(output.join("report.html")).unwrap();
    assert!(
        page.contains("data.retain") && page.contains("held-out.txt") && !page.contains("invented")
    );

    // What it rests on has changed: what was measured before no longer belongs to it.
    std::fs::write(own.path("held-out.txt"), "the dog and the cat . ".repeat(60)).unwrap();
    let error = fails(&["study", "--config", arg(&config), "--output", arg(&output)]);
    assert!(error.contains("data.json") && error.contains("changed"), "{error}");
}

#[test]
fn benchmark_tasks_say_what_was_learned_and_kept() {
    let own = OnData::new();
    let task = |name: &str, right: usize| {
        let rows = format!("{{\"q\": \"the cat\", \"c\": [\"and\", \"dog\"], \"a\": {right}}}\n");
        std::fs::write(own.path(&format!("{name}.jsonl")), rows.repeat(3)).unwrap();
        let text = format!(
            "task: {name}\ndataset_path: json\ndataset_kwargs:\n  data_files: {{test: {}}}\n\
             test_split: test\noutput_type: multiple_choice\ndoc_to_text: q\ndoc_to_choice: c\n\
             doc_to_target: a\nmetric_list: [{{metric: acc}}, {{metric: acc_norm}}]\n",
            arg(&own.path(&format!("{name}.jsonl")))
        );
        std::fs::write(own.path(&format!("{name}.yaml")), text).unwrap();
        own.path(&format!("{name}.yaml"))
    };
    let [one, other, third] = [task("one", 0), task("other", 1), task("third", 1)];
    let keys = format!(
        "learned_tasks = {{ tasks = [{one:?}, {other:?}], limit = 2 }}\n\
         kept_tasks = {{ tasks = [{third:?}] }}\nexact_match_samples = 0"
    );
    let text = own.text.replace("exact_match_samples = 8", &keys);
    let text = text.replace("samples = [40, 80]\nlearning_rates = [1e-3, 1e-2]", "samples = [8]");
    let text = text.replace("preset = ", "learning_rate = 1e-3\npreset = ");
    let config = written(own.folder.path(), &format!("cost = false\n{text}"));
    let output = own.path("benchmarks");
    study(&config, &output);
    let results = json(&output.join("results.json"));
    for measured in results["base"]
        .as_array()
        .unwrap()
        .iter()
        .chain(results["runs"].as_array().unwrap().iter().map(|run| &run["measured"]))
    {
        // Of two tasks with one question and different answers just one is right.
        assert_eq!(measured["tasks"], 0.5);
        let scores = measured["scores"].as_object().unwrap();
        let names: Vec<_> = scores.keys().collect();
        assert_eq!(names, ["one/acc", "other/acc", "third/acc"]);
        assert_eq!(scores["third/acc"], measured["knowledge"]);
        assert_eq!(scores["third/acc"], scores["other/acc"]);
    }
    let scores = std::fs::read_to_string(output.join("scores.csv")).unwrap();
    assert_eq!(scores.lines().count(), 1 + 3 * (2 + 4));
}

#[test]
fn without_generation_the_probability_of_the_answers_is_compared() {
    let own = OnData::new();
    let text =
        own.text.replace("exact_match_samples = 8\n", "").replace("max_new_tokens = 4\n", "");
    let text =
        text.replace("samples = [40, 80]\n", "").replace("learning_rates = [1e-3, 1e-2]\n", "");
    let text = text.replace("preset = ", "learning_rate = 5e-3\npreset = ");
    let start = text.find("text = [").unwrap();
    let end = start + text[start..].find('\n').unwrap() + 1;
    let text = format!("cost = false\n{}{}", &text[..start], &text[end..]);
    let config = written(own.folder.path(), &text);
    let output = own.path("out");
    study(&config, &output);
    let results = json(&output.join("results.json"));
    // 120 records, of which 24 are held out.
    assert_eq!(results["samples"], serde_json::json!([96]));
    for run in results["runs"].as_array().unwrap() {
        let measured = &run["measured"];
        let number = |key: &str| measured[key].as_f64().unwrap();
        assert!((number("tasks") - (-number("task_loss")).exp()).abs() < 1e-12);
        assert_eq!(number("text_loss"), number("knowledge_loss"));
    }
}

#[test]
fn what_a_study_on_data_cannot_use_is_named() {
    let own = OnData::new();
    for (from, to, named) in [
        ("[model]\npath = ", "[model]\npath = \"nowhere\" #", "nowhere"),
        ("retain.json", "absent.json", "absent.json"),
        ("held-out.txt", "absent.txt", "absent.txt"),
        ("samples = [40, 80]", "samples = [40, 97]", "`samples` is 97, but must be at most 96"),
        ("samples = [40, 80]", "samples = [40]\nsearch_samples = 97", "`search_samples` is 97"),
        ("max_new_tokens = 4", "max_new_tokens = 64", "`data.max_new_tokens` is 64"),
        ("[training]", "[demo]\n[training]", "study.toml"),
        ("[training]", "[training]\nlearning_rate = 1", "learning_rates"),
        ("validation_split = 24", "validation_split = 1", "data.validation"),
    ] {
        let error = own.refused(from, to);
        assert!(error.contains(named), "{to}: {error}");
    }
    let untyped = r#"[{"instruction": "copy : a ->", "output": "a"}, {"instruction": "copy : b ->", "output": "b"}]"#;
    std::fs::write(own.path("data.json"), untyped).unwrap();
    let error = own.refused("validation_split = 24\n", "validation = [{ path = \"x\" }]\n");
    assert!(error.contains("cannot read x"), "{error}");
    let validation = format!("validation = [{{ path = {:?} }}]\n", own.path("retain.json"));
    let error = own.refused("validation_split = 24\n", &validation);
    assert!(error.contains("data.train") && error.contains("LoRAMoE"), "{error}");
}

#[test]
fn a_trained_model_is_compared_on() {
    let Some(model) = material("material/stories260K") else { return };
    let folder = tempfile::tempdir().unwrap();
    let records = |name: &str, ask: &str, answer: &str| {
        let records: Vec<_> = ["cat", "dog", "bird", "fish", "boy", "girl", "tree", "sun"]
            .map(|thing| serde_json::json!({"prompt": format!("{ask} {thing}"), "completion": answer}))
            .into();
        let path = folder.path().join(name);
        std::fs::write(&path, serde_json::to_string(&records).unwrap()).unwrap();
        path
    };
    let train = records("train.json", "The color of the", " is blue.");
    let retain = records("retain.json", "Once upon a time there was a", ".");
    let text = format!(
        "seeds = [0]\ncost = false\n[model]\npath = {model:?}\n\
         [data]\ntrain = [{{ path = {train:?} }}]\nvalidation = [{{ path = {train:?} }}]\n\
         retain = [{{ path = {retain:?} }}]\n\
         [training]\nnum_train_epochs = 30\nper_device_train_batch_size = 4\n\
         [[methods]]\nname = \"LoRA\"\npreset = \"lora\"\nlearning_rate = 5e-3\nadapter = {{ r = 8 }}\n"
    );
    let output = folder.path().join("out");
    study(&written(folder.path(), &text), &output);
    let results = json(&output.join("results.json"));
    let loss = |measured: &Value| measured["task_loss"].as_f64().unwrap();
    let (base, tuned) = (loss(&results["base"][0]), loss(&results["runs"][0]["measured"]));
    println!("loss of the answers: {base:.3}, tuned {tuned:.3}");
    assert!(tuned < 0.5 * base, "{base} {tuned}");
}
