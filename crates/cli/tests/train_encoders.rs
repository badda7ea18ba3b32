//! Encoders of texts and of images, trained by the command.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use lora_moe::burn::tensor::Device;
use lora_moe::finetune::run::{AnyRunConfig, LABELS_FILE};
use lora_moe::model_zoo::{ClassificationTask, VitClassifier, VitConfig};
use serde_json::{Value, json};
use support::{arg, fails, lora_moe, material, succeeds};

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A folder with a model, data and recipes.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        arg(&self.path(name)).to_owned()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        let path = self.path(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Copies the files of folders into one of a model.
    fn model(&self, name: &str, folders: &[&str]) {
        std::fs::create_dir_all(self.path(name)).unwrap();
        for folder in folders {
            for entry in std::fs::read_dir(golden(folder)).unwrap() {
                let entry = entry.unwrap();
                let to = self.path(name).join(entry.file_name());
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }

    /// A tiny RoBERTa with its tokenizer.
    fn roberta(&self) {
        let companions = "evaluation/tests/golden/classification/roberta_cls";
        self.model("model", &["model-zoo/tests/golden/roberta_cls", companions]);
    }

    /// A tiny ViT of grey images of 8 x 8 with values from 0 to 16.
    fn vit(&self) {
        let mut config = VitConfig::new(32, 64, 2, 4, 8, 2, ClassificationTask::default());
        config.num_channels = 1;
        config.initializer_range = 0.2;
        let model: VitClassifier = VitClassifier::init_random(&config, 0, &Device::flex()).unwrap();
        model.save(self.path("model")).unwrap();
        let processor = json!({
            "image_processor_type": "ViTImageProcessor", "do_resize": false, "do_rescale": true,
            "rescale_factor": 0.0625, "do_normalize": true, "image_mean": [0.5],
            "image_std": [0.5],
        });
        self.write("model/preprocessor_config.json", &processor.to_string());
    }

    /// A recipe whose data is `data`.
    fn recipe(&self, data: &str) -> PathBuf {
        let model = self.text("model");
        let output = self.text("run");
        let text = format!(
            "[model]\npath = \"{model}\"\n[adapter]\npreset = \"lora\"\nr = 2\n\
             target_modules = [\"query\", \"value\"]\n[data]\n{data}\n[training]\n\
             output_dir = \"{output}\"\nlearning_rate = 1e-2\nmax_steps = 24\nlogging_steps = 4\n\
             eval_steps = 8\nsave_steps = 8\nsave_total_limit = 9\n\
             per_device_train_batch_size = 16\n"
        );
        self.write("run.toml", &text)
    }

    fn train(&self, more: &[&str]) {
        let config = self.text("run.toml");
        succeeds(&[&["train", "--config", &config], more].concat());
    }

    fn refused(&self, more: &[&str]) -> String {
        let config = self.text("run.toml");
        fails(&[&["train", "--config", &config], more].concat())
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// The lines of metrics without what depends on the clock.
    fn metrics(&self, run: &str) -> Vec<Value> {
        let text = self.read(&format!("{run}/metrics.jsonl"));
        let lines = text.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let keys = line.as_object_mut().unwrap();
            keys.retain(|key, _| !["tokens_per_s", "resident_bytes"].contains(&key.as_str()));
            line
        });
        lines.collect()
    }

    /// The last value of a measurement of a run.
    fn measured(&self, run: &str, name: &str) -> f64 {
        let lines = self.metrics(run);
        let found = lines.iter().rev().find_map(|line| line[name].as_f64());
        found.unwrap_or_else(|| panic!("no {name} in {lines:?}"))
    }

    fn predictions(&self, more: &[&str]) -> Vec<Value> {
        let (config, output) = (self.text("run.toml"), self.text("predictions.jsonl"));
        let _ = std::fs::remove_file(&output);
        let arguments = ["predict", "--config", &config, "--output", &output];
        succeeds(&[&arguments, more].concat());
        let text = self.read("predictions.jsonl");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Words of the tokenizer; a sentence is good where it begins with `ba`.
fn sentences(count: usize) -> Vec<(String, bool)> {
    const WORDS: [&str; 6] = ["de", "fi", "gu", "ki", "lo", "san"];
    (0..count)
        .map(|row| {
            let good = row % 3 == 0;
            let mut text = if good { "ba" } else { WORDS[row % 5 + 1] }.to_owned();
            for at in 0..row % 4 {
                text += " ";
                text += WORDS[(row + 2 * at) % 6];
            }
            (text, good)
        })
        .collect()
}

fn glue(count: usize) -> String {
    let mut text = "sentence\tlabel\n".to_owned();
    for (sentence, good) in sentences(count) {
        writeln!(text, "{sentence}\t{}", u8::from(good)).unwrap();
    }
    text
}

fn glue_recipe(place: &Place) {
    place.roberta();
    place.write("train.tsv", &glue(96));
    place.write("dev.tsv", &glue(30));
    place.recipe(&format!(
        "task = \"sequence_classification\"\nlabels = [\"bad\", \"good\"]\n\
         train = [{{ path = \"{}\" }}]\nvalidation = [{{ path = \"{}\" }}]",
        place.text("train.tsv"),
        place.text("dev.tsv")
    ));
}

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

/// Images of which the bright half, above or below, is the class; as columns of pixels.
fn digits(count: usize) -> String {
    let mut text = (1..=64).map(|at| format!("Block {at},")).collect::<String>() + "Class\n";
    for row in 0..count {
        for at in 0..64 {
            let bright = (at < 32) == (row % 2 == 0);
            let value = if bright { 12 + (row + at) % 5 } else { (row * at) % 4 };
            write!(text, "{value},").unwrap();
        }
        writeln!(text, "{}", if row % 2 == 0 { "above" } else { "below" }).unwrap();
    }
    text
}

const DIGITS: &str = "format = \"csv\", columns = { pixels = \"Block *\", label = \"Class\" }";

#[test]
fn an_image_classifier_is_trained_on_arrays() {
    let place = Place::new();
    place.vit();
    let train = place.write("digits.tra", &digits(64));
    place.recipe(&format!(
        "task = \"image_classification\"\ntrain = [{{ path = \"{}\", {DIGITS} }}]\n\
         validation_split = 0.25",
        arg(&train)
    ));
    let shown = succeeds(&["data", "--config", &place.text("run.toml")]);
    assert!(shown.contains("8 x 8 x 1 · "), "{shown}");
    let dry = succeeds(&["train", "--config", &place.text("run.toml"), "--dry-run", "--measure"]);
    assert!(dry.contains("48 samples") && dry.contains("16 x 17 tokens"), "{dry}");
    place.train(&[]);
    assert!(place.measured("run", "eval_accuracy") > 0.9);
    let found = place.predictions(&["--data", arg(&train)]);
    assert_eq!((found.len(), &found[1]["label"]), (64, &json!("below")));
    let merged = place.text("merged");
    let (base, run) = (place.text("model"), place.text("run"));
    succeeds(&["merge", "--model", &base, "--adapter", &run, "--output", &merged]);
    let again = place.predictions(&["--model", &merged, "--data", arg(&train)]);
    assert!(again.iter().zip(&found).all(|(one, other)| one["label"] == other["label"]));

    // Goes on from the merged model with its own head, and from its adapter.
    let model = format!("model.path={merged}");
    let output = format!("training.output_dir={}", place.text("on"));
    place.train(&["--set", &model, "--set", "model.new_head=false", "--set", &output]);
    let labels = "data.labels=[\"below\", \"above\"]";
    let error = place.refused(&["--set", &model, "--set", "model.new_head=false", "--set", labels]);
    assert!(error.contains("config.json") && error.contains("above, below"), "{error}");
    let from = format!("adapter.from={run}");
    let output = format!("training.output_dir={}", place.text("from"));
    place.train(&["--set", &from, "--set", &output]);
    let first = |run: &str| place.metrics(run).iter().find_map(|line| line["loss"].as_f64());
    assert!(first("from") < first("run"));
}

/// GOAT's experiments in small: its experts on CLIP's vision tower, and on RoBERTa.
#[test]
fn goat_is_trained_on_images_by_clip_and_on_texts() {
    let place = Place::new();
    place.model("model", &["evaluation/tests/golden/classification/clip"]);
    let mut rows = String::new();
    for row in 0..48_usize {
        let bright = |y: usize| (y < 8) == row.is_multiple_of(2);
        let value =
            |x: usize, y: usize| if bright(y) { 200 + (x * row) % 40 } else { x * row % 40 };
        let image: Vec<Vec<usize>> =
            (0..16).map(|y| (0..16).map(|x| value(x, y)).collect()).collect();
        let label = if row.is_multiple_of(2) { "above" } else { "below" };
        writeln!(rows, "{}", json!({ "image": image, "label": label })).unwrap();
    }
    let rows = place.write("rows.jsonl", &rows);
    place.recipe(&format!(
        "task = \"image_classification\"\ntrain = [{{ path = {:?} }}]\nvalidation_split = 16",
        arg(&rows)
    ));
    let goat = ["--set", "adapter.preset=goat-paper", "--set", "adapter.r=8"];
    let targets = ["--set", "adapter.target_modules=[\"q_proj\", \"v_proj\"]"];
    let longer = ["--set", "training.max_steps=64"];
    place.train(&[&goat[..], &targets, &longer].concat());
    assert!(place.measured("run", "eval_accuracy") > 0.7);
    let (base, run, merged) = (place.text("model"), place.text("run"), place.text("merged"));
    let merge = ["merge", "--model", &base, "--adapter", &run, "--output", &merged];
    succeeds(&[&merge[..], &["--weights", "0.5,0.5,0,0,0,0,0,0"]].concat());
    assert_eq!(place.predictions(&["--model", &merged, "--data", arg(&rows)]).len(), 48);

    let place = Place::new();
    glue_recipe(&place);
    place.train(&goat);
    let lines = place.metrics("run");
    assert!(lines.iter().any(|line| line["balance_loss"].is_number()), "{lines:?}");
    assert!(place.measured("run", "eval_loss") < 0.65);
}

/// A grey PNG of 8 x 8, not compressed.
fn png(value: impl Fn(usize, usize) -> u8) -> Vec<u8> {
    let mut raw = Vec::new();
    for y in 0..8 {
        raw.push(0);
        raw.extend((0..8).map(|x| value(x, y)));
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in &raw {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    let length = u16::try_from(raw.len()).unwrap();
    let mut data = vec![0x78, 0x01, 0x01];
    data.extend(length.to_le_bytes());
    data.extend((!length).to_le_bytes());
    data.extend(&raw);
    data.extend(((b << 16) | a).to_be_bytes());
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], data: &[u8]| {
        let body = [kind, data].concat();
        let mut crc = u32::MAX;
        for byte in &body {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            }
        }
        file.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        file.extend(&body);
        file.extend((!crc).to_be_bytes());
    };
    chunk(b"IHDR", &[0, 0, 0, 8, 0, 0, 0, 8, 8, 0, 0, 0, 0]);
    chunk(b"IDAT", &data);
    chunk(b"IEND", &[]);
    file
}

#[test]
fn an_image_classifier_is_trained_on_a_folder() {
    let place = Place::new();
    place.vit();
    for row in 0..24_usize {
        let above = row.is_multiple_of(2);
        let image = png(|x, y| if (y < 4) == above { 14 + (x % 3) as u8 } else { (row % 4) as u8 });
        let name = format!("images/{}/{row}.png", if above { "above" } else { "below" });
        place.write(&name, "");
        std::fs::write(place.path(&name), image).unwrap();
    }
    place.recipe(&format!(
        "task = \"image_classification\"\ntrain = [{{ path = \"{}\" }}]\nvalidation_split = 8",
        place.text("images")
    ));
    let config = place.text("run.toml");
    let output = lora_moe(&["train", "--config", &config]);
    let error = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        // Without decoders of image files the feature is named that brings them.
        assert!(error.contains("build it with the feature `images`"), "{error}");
        assert!(error.contains(".png"), "{error}");
        println!("skipped: the command was built without the feature `images`");
        return;
    }
    assert!(place.measured("run", "eval_accuracy") > 0.9);
    let found = place.predictions(&["--data", &place.text("images")]);
    assert!(found[0]["file"].as_str().unwrap().ends_with("above/0.png"), "{}", found[0]);
    place.write("images/above/0.png", "not an image");
    let error = place.refused(&["--set", &format!("training.output_dir={}", place.text("x"))]);
    assert!(error.contains("above/0.png") && error.contains("neither a PNG"), "{error}");
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let place = Place::new();
    glue_recipe(&place);
    let bad = place.write("bad.tsv", "sentence\tlabel\nba\t1\nki\tmaybe\n");
    let train = |path: &Path| format!("data.train=[{{ path = {:?} }}]", arg(path));
    let error = place.refused(&["--set", &train(&bad)]);
    assert!(error.contains("bad.tsv, line 3: the label `maybe`"), "{error}");
    assert!(error.contains("`bad`, `good`"), "{error}");
    let columns = place.write("columns.tsv", "body\tlabel\nba\t1\n");
    let error = place.refused(&["--set", &train(&columns)]);
    assert!(error.contains("no column of texts") && error.contains("`body`"), "{error}");
    let none = place.write("none.tsv", "sentence\nba\n");
    let error = place.refused(&["--set", &train(&none)]);
    assert!(error.contains("none.tsv, line 2: there is no label"), "{error}");

    for (set, expected) in [
        ("data.task=image_classification", "\"sequence_classification\" or \"regression\" for rob"),
        ("data.task=translation", "unknown variant `translation`"),
        ("data.max_length=65", "at most 64, what the model reads"),
        ("training.recompute=block", "`training.recompute` is block, but must be \"none\""),
        ("model.quantization=int8", "`model.quantization`"),
        ("adapter.modules_to_save=.*LayerNorm", "the head, `classifier`"),
        ("adapter.init.type=lora_ga", "does not look at data"),
        ("evaluation.tasks=[\"piqa\"]", "`evaluation`"),
    ] {
        let error = place.refused(&["--set", set]);
        assert!(error.contains(expected), "{set}: {error}");
    }
    assert!(!place.path("run/metrics.jsonl").exists());

    // A language model classifies nothing, and an encoder writes nothing.
    let (decoder, _) = support::tiny_model(&place.path("decoder"));
    let error = place.refused(&["--set", &format!("model.path={}", arg(&decoder))]);
    assert!(error.contains("\"causal_lm\" for llama"), "{error}");
    let causal =
        ["--set", "data.task=causal_lm", "--set", "data.validation=[]", "--set", "data.labels=[]"];
    assert!(place.refused(&causal).contains("unknown field `labels`"));
    let causal_recipe = place.read("run.toml").replace("labels = [\"bad\", \"good\"]\n", "");
    let causal_recipe = causal_recipe.replace("sequence_classification", "causal_lm");
    place.write("causal.toml", &causal_recipe);
    let error = fails(&["train", "--config", &place.text("causal.toml")]);
    assert!(error.contains("roberta"), "{error}");
    let output = place.text("p.jsonl");
    let error = fails(&["predict", "--config", &place.text("causal.toml"), "--output", &output]);
    assert!(error.contains("`data.task` is \"causal_lm\""), "{error}");
    let output = place.text("p.txt");
    let error = fails(&["predict", "--config", &place.text("run.toml"), "--output", &output]);
    assert!(error.contains(".jsonl or .csv"), "{error}");
}

#[test]
fn the_recipes_of_the_book_are_read() {
    let page = std::fs::read_to_string(golden("../docs/src/encoders.md")).unwrap();
    let recipes: Vec<&str> =
        page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(recipes.len() >= 3, "{}", recipes.len());
    for recipe in recipes {
        let run = AnyRunConfig::from_toml(recipe, "encoders.md", &[]).unwrap();
        assert!(matches!(run, AnyRunConfig::Labelled(_)), "{recipe}");
    }
}

#[test]
fn the_recipe_of_the_book_learns_handwritten_digits() {
    let Some(digits) = material("material/datasets/optdigits") else { return };
    let place = Place::new();
    place.vit();
    let page = std::fs::read_to_string(golden("../docs/src/encoders.md")).unwrap();
    let recipe = page.split("```toml\n").find(|part| part.contains("optdigits.tra")).unwrap();
    let recipe = recipe.split("```").next().unwrap();
    let recipe = recipe.replace("path/to/optdigits", arg(&digits));
    place.write("run.toml", &recipe);
    let sets = [
        format!("model.path={}", place.text("model")),
        format!("training.output_dir={}", place.text("run")),
        "training.max_steps=60".to_owned(),
        "training.eval_steps=0".to_owned(),
    ];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set.as_str()]).collect();
    place.train(&sets);
    let accuracy = place.measured("run", "eval_accuracy");
    println!("accuracy {accuracy:.4}");
    assert!(accuracy > 0.4, "{accuracy}");
}
