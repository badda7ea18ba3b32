//! Encoders of texts and of images, trained by the command.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod images;
#[path = "../support/mod.rs"]
mod support;
mod texts;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use lora_moe::burn::tensor::Device;
use lora_moe::finetune::run::AnyRunConfig;
use lora_moe::model_zoo::{ClassificationTask, VitClassifier, VitConfig};
use serde_json::{Value, json};
use support::{arg, fails, material, succeeds};

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
