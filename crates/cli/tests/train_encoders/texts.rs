//! Encoders of texts: labels, numbers, pairs, mixtures.

use std::fmt::Write;

use lora_moe::finetune::run::LABELS_FILE;
use serde_json::{Value, json};

use super::{Place, glue_recipe, sentences};
use crate::support::{arg, succeeds};

#[test]
fn a_text_classifier_is_trained_predicts_and_is_merged() {
    let place = Place::new();
    glue_recipe(&place);
    let dry = succeeds(&["train", "--config", &place.text("run.toml"), "--dry-run"]);
    assert!(dry.contains("96 samples") && dry.contains("bad 64, good 32"), "{dry}");
    assert!(dry.contains("whole modules 1,122"), "{dry}");
    let shown = succeeds(&["data", "--config", &place.text("run.toml"), "--show", "2"]);
    assert!(shown.contains("<s> ba </s>") && shown.contains("· good"), "{shown}");
    assert!(shown.contains("validation\n30 samples"), "{shown}");
    place.train(&[]);
    assert!(place.measured("run", "eval_accuracy") > 0.9);
    assert!(place.measured("run", "eval_f1") > 0.8);
    assert!(place.measured("run", "eval_matthews_correlation") > 0.8);
    let config: Value = serde_json::from_str(&place.read("run/adapter_config.json")).unwrap();
    assert_eq!(config["task_type"], "SEQ_CLS");
    assert_eq!(config["modules_to_save"], json!(["classifier"]));
    for folder in ["run", "run/checkpoint-8"] {
        let labels: Value =
            serde_json::from_str(&place.read(&format!("{folder}/{LABELS_FILE}"))).unwrap();
        assert_eq!(labels["id2label"], json!({"0": "bad", "1": "good"}));
    }

    let adapted = place.predictions(&[]);
    assert_eq!(adapted.len(), 30);
    assert_eq!((&adapted[3]["row"], &adapted[3]["label"]), (&json!(3), &json!("good")));
    let right = adapted.iter().filter(|row| row["label"] == row["gold"]).count();
    assert!((right as f64 / 30.0 - place.measured("run", "eval_accuracy")).abs() < 1e-9);
    let scores = adapted[3]["scores"].as_object().unwrap();
    let sum: f64 = scores.values().map(|score| score.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-6, "{scores:?}");

    // Of a merged model, which knows its labels, and of a test set without them.
    let merged = place.text("merged");
    let base = place.text("model");
    let run = place.text("run");
    succeeds(&["merge", "--model", &base, "--adapter", &run, "--output", &merged]);
    let config: Value = serde_json::from_str(&place.read("merged/config.json")).unwrap();
    assert_eq!(config["id2label"], json!({"0": "bad", "1": "good"}));
    for (one, other) in place.predictions(&["--model", &merged]).iter().zip(&adapted) {
        assert_eq!(one["label"], other["label"]);
        let of = |row: &Value| row["scores"]["good"].as_f64().unwrap();
        assert!((of(one) - of(other)).abs() < 1e-5, "{one} {other}");
    }
    let undone = place.text("undone");
    succeeds(&["unmerge", "--model", &merged, "--adapter", &run, "--output", &undone]);
    let test = place.write("test.tsv", "sentence\tlabel\nba ki\t-1\nki\t-1\n");
    let found = place.predictions(&["--data", arg(&test)]);
    assert_eq!((&found[0]["label"], found[0].get("gold")), (&json!("good"), None));
    let csv = place.text("new/predictions.csv");
    let config = place.text("run.toml");
    succeeds(&["predict", "--config", &config, "--data", arg(&test), "--output", &csv]);
    let csv = place.read("new/predictions.csv");
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "file,row,label,score_bad,score_good");
    assert!(lines[2].contains("test.tsv,1,bad,"), "{csv}");
}

#[test]
fn a_resumed_run_has_the_bits_of_one_that_was_not_interrupted() {
    let place = Place::new();
    glue_recipe(&place);
    place.train(&[]);
    let resumed = format!("training.output_dir={}", place.text("resumed"));
    place.train(&["--set", &resumed]);
    for name in ["adapter_config.json", "adapter_model.safetensors", LABELS_FILE] {
        std::fs::remove_file(place.path("resumed").join(name)).unwrap();
    }
    place.train(&["--set", &resumed, "--resume", "checkpoint-8"]);
    assert_eq!(place.metrics("run"), place.metrics("resumed"));
    for file in ["adapter_model.safetensors", "checkpoint-24/optimizer.safetensors"] {
        let same = place.bytes(&format!("run/{file}")) == place.bytes(&format!("resumed/{file}"));
        assert!(same, "{file}");
    }
    let labels = "data.labels=[\"good\", \"bad\"]";
    let error = place.refused(&["--set", labels, "--resume", "checkpoint-8"]);
    assert!(error.contains(LABELS_FILE) && error.contains("bad, good"), "{error}");
}

#[test]
fn the_best_checkpoint_is_that_of_a_metric_and_training_stops_early() {
    let place = Place::new();
    glue_recipe(&place);
    let sets = [
        "training.metric_for_best_model=eval_accuracy",
        "training.early_stopping_patience=2",
        "training.load_best_model_at_end=true",
        "training.max_steps=400",
    ];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    place.train(&sets);
    let steps = place.metrics("run");
    let last = steps.iter().filter_map(|line| line["step"].as_u64()).max().unwrap();
    assert!(last < 400, "{last}");
    let best = steps.iter().filter_map(|line| line["eval_accuracy"].as_f64()).fold(0.0, f64::max);
    let right = place.predictions(&[]).iter().filter(|row| row["label"] == row["gold"]).count();
    assert!((right as f64 / 30.0 - best).abs() < 1e-9, "{right} {best}");
    let error = place.refused(&["--set", "training.metric_for_best_model=eval_acc"]);
    assert!(error.contains("one of eval_loss, eval_accuracy, eval_f1"), "{error}");
}

#[test]
fn numbers_and_pairs_and_several_labels_are_learned() {
    let place = Place::new();
    place.roberta();
    let mut rows = String::new();
    for (at, (text, good)) in sentences(60).iter().enumerate() {
        let row = json!({
            "sentence1": text, "sentence2": "ki lo", "score": if *good { 1.0 } else { -1.0 },
            "kinds": [if *good { "good" } else { "bad" }, if at % 2 == 0 { "even" } else { "odd" }],
        });
        writeln!(rows, "{row}").unwrap();
    }
    place.write("rows.jsonl", &rows);
    let rows = place.text("rows.jsonl");
    place.recipe(&format!(
        "task = \"regression\"\ntrain = [{{ path = \"{rows}\" }}]\nvalidation_split = 20"
    ));
    place.train(&["--set", "training.metric_for_best_model=eval_pearson"]);
    assert!(place.measured("run", "eval_pearson") > 0.3);
    assert!(place.measured("run", "eval_spearmanr") > 0.3);
    let found = place.predictions(&["--data", &rows]);
    assert_eq!(
        found[0]["label"].as_f64().unwrap() as f32,
        found[0]["scores"][0].as_f64().unwrap() as f32
    );

    place.recipe(&format!(
        "task = \"sequence_classification\"\nproblem_type = \"multi_label_classification\"\n\
         train = [{{ path = \"{rows}\", columns = {{ label = \"kinds\" }} }}]\n\
         validation_split = 20"
    ));
    let several = format!("training.output_dir={}", place.text("several"));
    place.train(&["--set", &several]);
    assert!(place.measured("several", "eval_f1_micro") > 0.4);
    let found = place.predictions(&["--set", &several, "--data", &rows]);
    assert!(found[0]["label"].is_array() && found[0]["gold"] == json!(["even", "good"]));
}

#[test]
fn a_mixture_learns_with_its_balance_loss() {
    let place = Place::new();
    glue_recipe(&place);
    let sets = [
        "adapter.preset=mixlora",
        "adapter.router_scope=projection",
        "adapter.num_experts=2",
        "adapter.router.k=1",
        "training.gradient_accumulation_steps=2",
    ];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    place.train(&sets);
    let lines = place.metrics("run");
    assert!(lines.iter().any(|line| line["balance_loss"].is_number()), "{lines:?}");
    assert!(lines.iter().any(|line| line["largest_routing_share"].is_number()), "{lines:?}");
    assert!(!place.predictions(&[]).is_empty());
}
