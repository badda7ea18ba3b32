//! `lora-moe eval --tasks`, through the command.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{arg, fails, killed_after, succeeds, tiny_model};

/// A model, and three tasks over data in its words.
struct Ground {
    folder: tempfile::TempDir,
    model: String,
    tasks: String,
}

const CHOICE: &str = "task: capital
dataset_path: json
dataset_kwargs:
  data_files:
    train: DATA/train.jsonl
    test: DATA/test.jsonl
training_split: train
test_split: test
output_type: multiple_choice
doc_to_text: \"{{question}}\"
doc_to_target: answer
doc_to_choice: choices
num_fewshot: 2
metric_list:
  - metric: acc
  - metric: acc_norm
";

const GENERATED: &str = "task: spoken
dataset_path: json
dataset_kwargs:
  data_files: {test: DATA/test.jsonl}
test_split: test
output_type: generate_until
doc_to_text: question
doc_to_target: \"{{choices[answer]}}\"
generation_kwargs: {until: [\"\\n\"], max_gen_toks: 12}
metric_list:
  - metric: exact_match
    ignore_case: true
";

const ROLLING: &str = "task: text
dataset_path: json
dataset_kwargs:
  data_files: {test: DATA/test.jsonl}
test_split: test
output_type: loglikelihood_rolling
doc_to_target: \"{{question}} {{choices[answer]}}\"
";

impl Ground {
    fn new(documents: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (model, data) = tiny_model(folder.path());
        let records: Vec<Value> =
            serde_json::from_str(&std::fs::read_to_string(data).unwrap()).unwrap();
        let tasks = folder.path().join("tasks");
        std::fs::create_dir(&tasks).unwrap();
        for (split, shift) in [("train", 0), ("test", 7)] {
            let lines = (0..documents).map(|index| {
                let record = |by: usize| &records[(index + shift + by) % records.len()];
                let choices = [0, 3, 5].map(|by| record(by)["output"].clone());
                let line = json!({
                    "question": record(0)["instruction"], "choices": choices, "answer": 0,
                });
                format!("{line}\n")
            });
            let path = folder.path().join(format!("{split}.jsonl"));
            std::fs::write(path, lines.collect::<String>()).unwrap();
        }
        let ground = Self { model: arg(&model).into(), tasks: arg(&tasks).into(), folder };
        for (name, text) in [("capital", CHOICE), ("spoken", GENERATED), ("text", ROLLING)] {
            ground.write_task(name, text);
        }
        ground
    }

    fn write_task(&self, name: &str, text: &str) {
        let text = text.replace("DATA", arg(self.folder.path()));
        std::fs::write(Path::new(&self.tasks).join(format!("{name}.yaml")), text).unwrap();
    }

    fn output(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arguments<'a>(&'a self, tasks: &'a str, output: &'a str) -> Vec<&'a str> {
        let mut arguments = vec!["eval", "--model", &self.model, "--include-path", &self.tasks];
        arguments.extend(["--tasks", tasks, "--output", output, "--bootstrap-iters", "1000"]);
        arguments
    }
}

/// Every file of a folder and what is in it, but for the lock.
fn files(folder: &Path) -> BTreeMap<String, String> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .filter(|(name, _)| name != ".lock")
        .collect()
}

#[test]
fn an_evaluation_that_was_killed_at_any_moment_ends_in_the_same_files() {
    let ground = Ground::new(60);
    let whole = ground.output("whole");
    let started = std::time::Instant::now();
    succeeds(&ground.arguments("capital,spoken,text", arg(&whole)));
    let seconds = started.elapsed().as_secs_f64();
    let parts = ground.output("parts");
    let mut arguments = ground.arguments("capital,spoken,text", arg(&parts));
    arguments.push("--resume");
    let mut kills = 0;
    for attempt in 0..10 {
        // Spread over the time that a whole evaluation takes, in no regular steps.
        let share = f64::from(attempt * 7 % 10) / 10.0 + 0.05;
        kills += usize::from(killed_after(&arguments, seconds * share));
        if parts.join("results.json").exists() {
            std::fs::remove_dir_all(&parts).unwrap();
        }
    }
    println!("killed {kills} times");
    assert!(kills > 3, "{kills}");
    succeeds(&arguments);
    assert_eq!(files(&parts), files(&whole));
    assert_eq!(files(&whole).len(), 5, "{:?}", files(&whole).keys());
}

#[test]
fn results_have_the_names_of_the_harness_and_errors() {
    let ground = Ground::new(20);
    let output = ground.output("scores");
    let table = succeeds(&ground.arguments("capital,text", arg(&output)));
    assert!(table.contains("capital") && table.contains("acc_norm"), "{table}");
    let results: Value =
        serde_json::from_str(&std::fs::read_to_string(output.join("results.json")).unwrap())
            .unwrap();
    let row = &results["results"]["capital"];
    for key in ["acc,none", "acc_stderr,none", "acc_norm,none"] {
        assert!(row[key].is_number(), "{row}");
    }
    assert!(results["results"]["text"]["word_perplexity,none"].as_f64().unwrap() > 1.0);
    assert_eq!(results["n-shot"]["capital"], 2);
    assert_eq!(results["config"]["model_sha256"].as_str().unwrap().len(), 64);
    let samples = std::fs::read_to_string(output.join("samples_capital.jsonl")).unwrap();
    assert_eq!(samples.lines().count(), 20);
    let sample: Value = serde_json::from_str(samples.lines().next().unwrap()).unwrap();
    assert_eq!(sample["resps"].as_array().unwrap().len(), 3, "{sample}");
    assert!(sample["doc"]["question"].is_string(), "{sample}");
}

#[test]
fn two_evaluations_are_compared_document_by_document() {
    let ground = Ground::new(20);
    let (before, after) = (ground.output("before"), ground.output("after"));
    succeeds(&ground.arguments("capital,text", arg(&before)));
    succeeds(&ground.arguments("capital,text", arg(&after)));
    let report = ground.output("report");
    let table =
        succeeds(&["eval", "--compare", arg(&before), arg(&after), "--output", arg(&report)]);
    assert!(table.contains("capital") && table.contains("loss per word"), "{table}");
    let retention: Value =
        serde_json::from_str(&std::fs::read_to_string(report.join("retention.json")).unwrap())
            .unwrap();
    for row in retention[0]["rows"].as_array().unwrap() {
        assert_eq!(row["difference"], 0.0, "{row}");
        assert_eq!(row["samples"], 20, "{row}");
    }
    let page = std::fs::read_to_string(report.join("retention.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("capital"));
    // Other prompts are no pairs.
    let mut arguments = ground.arguments("capital", arg(&after));
    std::fs::remove_dir_all(&after).unwrap();
    arguments.extend(["--num-fewshot", "1"]);
    succeeds(&arguments);
    let error = fails(&["eval", "--compare", arg(&before), arg(&after)]);
    assert!(error.contains("capital") && error.contains("prompt"), "{error}");
}

#[test]
fn what_cannot_be_evaluated_is_named_and_nothing_is_written_over() {
    let ground = Ground::new(5);
    let output = ground.output("scores");
    succeeds(&ground.arguments("text", arg(&output)));
    let kept = files(&output);
    let again = fails(&ground.arguments("text", arg(&output)));
    assert!(again.contains("--output") && again.contains("scores"), "{again}");
    assert_eq!(files(&output), kept);

    let broken = [
        ("wrong_key", CHOICE.replace("doc_to_text", "doc_to_txt"), vec!["doc_to_txt"]),
        ("jinja", CHOICE.replace("{{question}}", "{{question"), vec!["doc_to_text"]),
        ("metric", CHOICE.replace("metric: acc\n", "metric: acuracy\n"), vec!["acuracy"]),
        ("column", CHOICE.replace("{{question}}", "{{frage}}"), vec!["frage", "doc_to_text"]),
        ("split", CHOICE.replace("test_split: test", "test_split: dev"), vec!["dev"]),
        ("function", CHOICE.replace("\"{{question}}\"", "!function utils.ask"), vec!["utils.ask"]),
        ("data", CHOICE.replace("DATA/test", "DATA/nowhere"), vec!["nowhere"]),
        (
            "long",
            GENERATED
                .replace("doc_to_text: question", "doc_to_text: \"{{'is ' * 99}}\"")
                .replace("max_gen_toks: 12", "max_gen_toks: 64"),
            vec!["64"],
        ),
    ];
    for (name, text, expected) in broken {
        let text = text.replacen("task: capital", &format!("task: {name}"), 1);
        let text = text.replacen("task: spoken", &format!("task: {name}"), 1);
        ground.write_task(name, &text);
        let output = ground.output(&format!("of-{name}"));
        let error = fails(&ground.arguments(name, arg(&output)));
        println!("{name}: {error}");
        for part in expected.iter().chain([&name]) {
            assert!(error.contains(part), "{name}: {error}");
        }
        assert!(!output.join("results.json").exists(), "{name}");
        // Which would be read with all others.
        std::fs::remove_file(Path::new(&ground.tasks).join(format!("{name}.yaml"))).unwrap();
    }
    std::fs::write(ground.folder.path().join("test.jsonl"), "").unwrap();
    let error = fails(&ground.arguments("capital", arg(&ground.output("empty"))));
    assert!(error.contains("test"), "{error}");
}

#[test]
fn training_evaluates_tasks_and_keeps_the_best_checkpoint() {
    let ground = Ground::new(20);
    let output = ground.output("run");
    let config = ground.output("run.toml");
    let data = ground.output("data.json");
    let text = format!(
        "[model]\npath = {:?}\n[adapter]\npreset = \"loramoe-paper\"\nr = 2\n\
         [data]\ntrain = [{{ path = {data:?} }}]\ntemplate = \"plain\"\n\
         [training]\noutput_dir = {output:?}\nlearning_rate = 5e-3\nmax_steps = 12\n\
         per_device_train_batch_size = 4\nsave_steps = 100\n\
         metric_for_best_model = \"capital/acc\"\nload_best_model_at_end = true\n\
         [[evaluation]]\ntasks = [\"capital\"]\neval_steps = 4\ninclude_path = [{:?}]\n",
        ground.model, ground.tasks
    );
    std::fs::write(&config, &text).unwrap();
    succeeds(&["train", "--config", arg(&config)]);
    let metrics = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap();
    let found: Vec<(u64, f64)> = metrics
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter_map(|line| Some((line["step"].as_u64()?, line["capital/acc"].as_f64()?)))
        .collect();
    let steps: Vec<u64> = found.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [4, 8, 12], "{metrics}");
    let best = found.iter().fold(
        (0, f64::NEG_INFINITY),
        |best, at| {
            if at.1 > best.1 { *at } else { best }
        },
    );
    assert!(output.join(format!("checkpoint-{}", best.0)).exists(), "{found:?}");
    let kept = |folder: &Path| std::fs::read(folder.join("adapter_model.safetensors")).unwrap();
    assert_eq!(kept(&output), kept(&output.join(format!("checkpoint-{}", best.0))));
    let step = output.join("evaluations/step-8/results.json");
    assert!(step.exists());
    // A metric that nothing measures is refused before anything is trained.
    let error = fails(&[
        "train",
        "--config",
        arg(&config),
        "--set",
        "training.metric_for_best_model=capital/f2",
        "--set",
        &format!("training.output_dir={}", arg(&ground.output("other"))),
    ]);
    assert!(error.contains("capital/acc_norm") && error.contains("eval_loss"), "{error}");
}

#[test]
fn tasks_are_listed_with_source_and_licence() {
    let list = succeeds(&["eval", "--list-tasks"]);
    for name in ["arc_easy", "mmlu", "gsm8k", "wikitext", "triviaqa", "glue"] {
        assert!(list.lines().any(|line| line.starts_with(name)), "{name}: {list}");
    }
    assert!(list.contains("CC BY-SA 4.0"), "{list}");
}
