//! Encoders of texts and images through the command.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::path::{Path, PathBuf};

use lora_moe::burn::tensor::Device;
use lora_moe::model_zoo::{AnyModel, LoadOptions, with_any_model};
use lora_moe::moe_adapter::{Preset, StoredAdapter, TargetModules, adapter_state, attach};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use support::{arg, fails, succeeds};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model-zoo/tests/golden").join(name)
}

fn floats(path: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap();
    let (chunks, _) = view.data().as_chunks::<4>();
    (view.shape().to_vec(), chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

fn run(model: &Path, adapter: Option<&Path>, inputs: &Path, output: &Path) {
    let mut arguments =
        vec!["logits", "--model", arg(model), "--inputs", arg(inputs), "--output", arg(output)];
    if let Some(adapter) = adapter {
        arguments.extend(["--adapter", arg(adapter)]);
    }
    succeeds(&arguments);
}

/// The largest difference relative to the largest value of `b`.
fn error(a: &[f32], b: &[f32]) -> f32 {
    let largest = b.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    a.iter().zip(b).fold(0.0_f32, |largest, (a, b)| largest.max((a - b).abs())) / largest
}

const MODELS: [(&str, &[&str]); 3] = [
    ("roberta_cls", &["logits"]),
    ("vit_cls", &["logits"]),
    ("clip_vision", &["image_embeds", "last_hidden_state"]),
];

#[test]
fn results_are_those_of_the_golden_models() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.safetensors");
    for (name, results) in MODELS {
        let reference = golden(name).join("reference.safetensors");
        run(&golden(name), None, &reference, &output);
        for result in results {
            let ((shape, ours), (expected, theirs)) =
                (floats(&output, result), floats(&reference, result));
            assert_eq!(shape, expected);
            let error = error(&ours, &theirs);
            println!("{name} {result}: {error:e}");
            assert!(error <= 1e-4, "{name} {result}: {error}");
        }
    }
}

/// Writes an adapter of the model, which does something.
fn adapter(model: &Path, preset: Preset, folder: &Path) {
    let mut model = AnyModel::load(model, &LoadOptions::default(), &Device::flex()).unwrap();
    let mut config = preset.config();
    config.r = 2;
    let names = ["query", "value", "q_proj", "fc1", "intermediate.dense"];
    let present = |name: &&&str| {
        let mut found = false;
        with_any_model!(&model, model => {
            use lora_moe::moe_adapter::Adaptable;
            model.visit_projections(&mut |path, _, _| found |= path.ends_with(**name));
        });
        found
    };
    let names = names.iter().filter(present).map(|name| (*name).to_owned()).collect();
    config.target_modules = TargetModules::Names(names);
    let stored = with_any_model!(&mut model, model => {
        attach(model, &config, 0).unwrap();
        let mut stored = StoredAdapter::of(model, &config, None);
        stored.state = adapter_state(model);
        stored
    });
    let mut stored = stored;
    for (name, data) in &mut stored.state {
        if name.ends_with("lora_B.weight") {
            let values = (0..data.num_elements()).map(|i| 0.1 * ((i * 7 % 11) as f32 - 5.0));
            *data = lora_moe::burn::tensor::TensorData::new(
                values.collect::<Vec<_>>(),
                data.shape().clone(),
            );
        }
    }
    stored.write(folder).unwrap();
}

#[test]
fn adapters_are_put_on_encoders_merged_and_taken_out_again() {
    for (name, results) in MODELS {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let (base, inputs) = (golden(name), golden(name).join("reference.safetensors"));
        adapter(&base, Preset::Lora, &path("lora"));
        let task_type = StoredAdapter::read(&path("lora")).unwrap().task_type;
        assert_eq!(task_type.as_deref(), (name == "roberta_cls").then_some("SEQ_CLS"));
        run(&base, None, &inputs, &path("base.out"));
        run(&base, Some(&path("lora")), &inputs, &path("adapted.out"));
        let (merged, undone) = (path("merged"), path("undone"));
        let (model, lora) = (["--model", arg(&base)], path("lora"));
        let mut merge = vec!["merge", "--adapter", arg(&lora), "--output", arg(&merged)];
        merge.extend(model);
        succeeds(&merge);
        run(&merged, None, &inputs, &path("merged.out"));
        let undo = ["unmerge", "--model", arg(&merged), "--adapter", arg(&lora)];
        succeeds(&[&undo[..], &["--output", arg(&undone)]].concat());
        run(&undone, None, &inputs, &path("undone.out"));
        for result in results {
            let of = |file: &str| floats(&path(file), result).1;
            assert!(error(&of("adapted.out"), &of("base.out")) > 1e-3, "{name} {result}");
            let difference = error(&of("merged.out"), &of("adapted.out"));
            println!("{name} {result}, merged: {difference:e}");
            assert!(difference <= 1e-5, "{name} {result}: {difference}");
            let difference = error(&of("undone.out"), &of("base.out"));
            assert!(difference <= 1e-5, "{name} {result}: {difference}");
        }
        let mut prompted = merge.clone();
        let elsewhere = path("elsewhere");
        prompted[4] = arg(&elsewhere);
        prompted.extend(["--prompt", "x"]);
        assert!(fails(&prompted).contains("--prompt"));

        adapter(&base, Preset::LoramoePaper, &path("mixture"));
        let mixture = path("mixture");
        let of_mixture = ["merge", "--model", arg(&base), "--adapter", arg(&mixture)];
        let of_mixture = [&of_mixture[..], &["--output", arg(&elsewhere)]].concat();
        assert!(fails(&of_mixture).contains("--weights"));
        succeeds(&[&of_mixture[..], &["--weights", "0.5,0.5,0,0,0,0"]].concat());
    }
}

#[test]
fn inputs_of_another_kind_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.safetensors");
    let refused = |model: &str, inputs: &str| {
        let inputs = golden(inputs).join("reference.safetensors");
        let arguments = ["logits", "--model", arg(&golden(model))].map(str::to_owned);
        let more = ["--inputs", arg(&inputs), "--output", arg(&output)].map(str::to_owned);
        let all: Vec<&str> = arguments.iter().chain(&more).map(String::as_str).collect();
        fails(&all)
    };
    let error = refused("vit_cls", "roberta_cls");
    assert!(error.contains("pixel_values") && error.contains("it has: "), "{error}");
    assert!(refused("roberta_cls", "vit_cls").contains("input_ids"));
    let error = refused("llama2", "clip_vision");
    assert!(error.contains("reference.safetensors") && error.contains("input_ids"), "{error}");
    assert!(!output.exists());
}

/// A copy of a model's folder, with what the folder of the samples has beside it.
fn with_companions(folder: &Path, model: &Path, name: &str) -> PathBuf {
    let copy = folder.join("model");
    std::fs::create_dir(&copy).unwrap();
    let samples = samples_folder(name);
    for source in [model, samples.as_path()] {
        for entry in std::fs::read_dir(source).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
    }
    copy
}

fn samples_folder(name: &str) -> PathBuf {
    let golden = "../evaluation/tests/golden/classification";
    Path::new(env!("CARGO_MANIFEST_DIR")).join(golden).join(name)
}

/// Evaluates a model on samples whose right answer is what transformers' logits say, but for the
/// first, which is given a wrong one; returns how many of how many are right.
fn right(model: &Path, name: &str, task: &str) -> (usize, usize) {
    let folder = tempfile::tempdir().unwrap();
    let model = with_companions(folder.path(), model, name);
    let samples = std::fs::read_to_string(samples_folder(name).join("samples.json")).unwrap();
    let mut samples: Vec<Value> = serde_json::from_str(&samples).unwrap();
    // Of the texts, those that have a second one.
    samples.retain(|sample| sample.get("text_pair") != Some(&Value::Null));
    for (index, sample) in samples.iter_mut().enumerate() {
        let logits: Vec<f64> = serde_json::from_value(sample["logits"].clone()).unwrap();
        let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
        sample["label"] = json!(if index == 0 { (best + 1) % logits.len() } else { best });
    }
    let lines: String = samples.iter().map(|sample| format!("{sample}\n")).collect();
    std::fs::write(folder.path().join("test.jsonl"), lines).unwrap();
    let head = format!(
        "task: classes\ndataset_path: json\ndataset_kwargs:\n  data_files: {{test: {}}}\n\
         test_split: test\ndoc_to_target: label\nmetric_list: [{{metric: acc}}]\n",
        arg(&folder.path().join("test.jsonl"))
    );
    std::fs::write(folder.path().join("classes.yaml"), head + task).unwrap();
    let output = folder.path().join("scores");
    let mut arguments = vec!["eval", "--model", arg(&model), "--tasks", "classes"];
    arguments.extend(["--include-path", arg(folder.path()), "--output", arg(&output)]);
    succeeds(&arguments);
    let results = std::fs::read_to_string(output.join("results.json")).unwrap();
    let results: Value = serde_json::from_str(&results).unwrap();
    let accuracy = results["results"]["classes"]["acc,none"].as_f64().unwrap();
    ((accuracy * samples.len() as f64).round() as usize, samples.len())
}

#[test]
fn tasks_of_classes_score_encoders() {
    let texts = "output_type: sequence_classification\ndoc_to_text: text\n\
                 doc_to_text_pair: text_pair\ndoc_to_choice: [a, b, c]\n";
    let images = "output_type: image_classification\ndoc_to_image: image\n".to_owned();
    let head = images.clone() + "doc_to_choice: [a, b, c, d, e]\n";
    let labels = images + "doc_to_choice: labels\n";
    assert_eq!(right(&golden("roberta_cls"), "roberta_cls", texts), (5, 6));
    assert_eq!(right(&golden("vit_cls"), "vit_cls", &head), (4, 5));
    assert_eq!(right(&samples_folder("clip"), "clip", &labels), (2, 3));
}
