//! The answers of encoders: equal to transformers', and however samples are put together.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, TensorData};
use eval_tasks::{ImageSource, Request, Response};
use evaluation::classification::{ClassificationError, ClassificationOptions};
use evaluation::run::{Answer, AnswerError, EncoderModel};
use model_zoo::{AnyModel, LoadOptions, TextTokenizer, with_any_model};
use moe_adapter::{Adaptable, Preset, TargetModules, adapter_state, attach, load_adapter_state};
use router::RouterConfig;
use serde_json::{Value, json};
use tempfile::TempDir;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/classification").join(name)
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A folder with a model, and what is beside it.
fn folder(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model-zoo/tests/golden").join(name);
    for source in [zoo, golden(name)] {
        for file in
            ["config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"]
        {
            if source.join(file).exists() {
                fs::copy(source.join(file), folder.path().join(file)).unwrap();
            }
        }
    }
    folder
}

fn load(folder: &Path) -> AnyModel {
    AnyModel::load(folder, &LoadOptions::default(), &Device::flex()).unwrap()
}

/// An adapter whose experts do something.
fn adapt(model: &mut AnyModel, preset: Preset) {
    let mut config = preset.config();
    config.r = 8;
    if preset == Preset::Molora {
        config.router = RouterConfig::ExpertChoice(Default::default());
    }
    let names = ["query", "value", "q_proj", "v_proj"];
    with_any_model!(model, model => {
        let mut present = Vec::new();
        model.visit_projections(&mut |path, _, _| {
            present.extend(names.iter().filter(|name| path.ends_with(**name)));
        });
        config.target_modules =
            TargetModules::Names(names.iter().filter(|name| present.contains(name)).map(|name| (*name).to_owned()).collect());
        assert!(attach(model, &config, 3).unwrap() > 0);
        let mut state = adapter_state(model);
        for (name, data) in &mut state {
            if name.ends_with("lora_B.weight") && !name.contains(".start.") {
                let values = (0..data.num_elements()).map(|i| (i as f32 * 1.7).sin() * 0.3);
                *data = TensorData::new(values.collect::<Vec<_>>(), data.shape().clone());
            }
        }
        load_adapter_state(model, state, "test").unwrap();
    });
}

fn requests(name: &str) -> (Vec<Request>, Vec<Vec<f64>>) {
    let samples = json_of(&golden(name).join("samples.json"));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let all = samples.as_array().unwrap().iter().map(|sample| {
        let request = match text(&sample["text"]) {
            Some(first) => {
                let text_pair = text(&sample["text_pair"]);
                Request::SequenceClassification { text: first, text_pair }
            }
            None => Request::ImageClassification {
                image: ImageSource::Pixels(sample["image"].clone()),
                labels: serde_json::from_value(sample["labels"].clone()).unwrap_or_default(),
            },
        };
        (request, serde_json::from_value(sample["logits"].clone()).unwrap())
    });
    all.unzip()
}

fn options(batch_tokens: usize, batch_images: usize) -> ClassificationOptions {
    ClassificationOptions { batch_tokens, batch_images, max_length: None }
}

fn open<'a>(
    model: &'a AnyModel,
    folder: &Path,
    options: &ClassificationOptions,
) -> Result<EncoderModel<'a>, ClassificationError> {
    EncoderModel::new(model, folder, &LoadOptions::default(), &Device::flex(), options)
}

fn answers(
    model: &AnyModel,
    folder: &Path,
    requests: &[Request],
    options: &ClassificationOptions,
) -> Vec<Vec<f64>> {
    let mut found = vec![Vec::new(); requests.len()];
    let mut last = 0;
    let mut keep = |index: usize, response, progress: evaluation::scoring::Progress| {
        let Response::Logits(logits) = response else { panic!("{response:?}") };
        assert!(found[index].is_empty(), "answered twice");
        found[index] = logits;
        last = progress.requests;
        Ok(())
    };
    let encoder = open(model, folder, options).unwrap();
    encoder.answer(requests, &vec![false; requests.len()], &mut keep).unwrap();
    assert_eq!(last, requests.len());
    found
}

fn difference(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    assert_eq!(a.len(), b.len());
    let mut largest = 0.0_f64;
    for (a, b) in a.iter().zip(b) {
        assert_eq!(a.len(), b.len());
        largest = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(largest, f64::max);
    }
    largest
}

const MODELS: [&str; 3] = ["roberta_cls", "vit_cls", "clip"];

#[test]
fn logits_are_those_of_transformers() {
    for name in MODELS {
        let folder = folder(name);
        let (requests, expected) = requests(name);
        let found = answers(&load(folder.path()), folder.path(), &requests, &options(2048, 16));
        let error = difference(&found, &expected);
        eprintln!("{name}: {} samples, {error:e}", requests.len());
        assert!(error <= 1e-5, "{name}: {error}");
    }
}

#[test]
fn tokens_are_those_of_transformers() {
    let tokenizer = TextTokenizer::from_folder(golden("roberta_cls")).unwrap();
    let tokenizer = tokenizer.with_truncation(64).unwrap();
    let samples = json_of(&golden("roberta_cls").join("samples.json"));
    for sample in samples.as_array().unwrap() {
        let text = sample["text"].as_str().unwrap();
        let found = tokenizer.encode_pair(text, sample["text_pair"].as_str()).unwrap();
        assert_eq!(json!(found), sample["input_ids"]);
    }
}

#[test]
fn answers_do_not_depend_on_what_is_computed_together() {
    // Experts that choose among the tokens of a batch; the others look at one token.
    const CHOOSING: Preset = Preset::Molora;
    let adapters = [
        None,
        Some(Preset::Lora),
        Some(Preset::LoramoePaper),
        Some(Preset::GoatPaper),
        Some(CHOOSING),
    ];
    for name in MODELS {
        let folder = folder(name);
        let mut base = None;
        for adapter in adapters {
            let mut model = load(folder.path());
            if let Some(preset) = adapter {
                adapt(&mut model, preset);
            }
            let (requests, _) = requests(name);
            let alone = answers(&model, folder.path(), &requests, &options(1, 1));
            for (tokens, images) in [(100, 2), (4096, 100)] {
                let found = answers(&model, folder.path(), &requests, &options(tokens, images));
                let error = difference(&found, &alone);
                eprintln!("{name}, {adapter:?}, {tokens} tokens, {images} images: {error:e}");
                assert!(error <= 1e-4, "{name}, {adapter:?}: {error}");
            }
            match &base {
                None => base = Some(alone),
                Some(base) => assert!(difference(&alone, base) > 1e-3, "{name}, {adapter:?}"),
            }
        }
    }
}

#[test]
fn what_is_known_is_passed_over_and_changes_nothing() {
    let folder = folder("vit_cls");
    let (requests, _) = requests("vit_cls");
    let model = load(folder.path());
    let encoder = open(&model, folder.path(), &options(1, 2)).unwrap();
    let all = answers(&model, folder.path(), &requests, &options(1, 2));
    let known = [true, true, true, false, false];
    let mut found = Vec::new();
    encoder
        .answer(&requests, &known, &mut |index, response, _| {
            assert_eq!(response, Response::Logits(all[index].clone()));
            found.push(index);
            Ok(())
        })
        .unwrap();
    assert_eq!(found, [2, 3, 4]);
}

fn message(encoder: &EncoderModel, request: Request) -> String {
    let answered = encoder.answer(&[request], &[false], &mut |_, _, _| Ok(()));
    match answered.unwrap_err() {
        AnswerError::Request { index: 0, message } => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_answered_is_named() {
    let text = |text: &str| Request::SequenceClassification { text: text.into(), text_pair: None };
    let image = |value: Value, labels: &[&str]| Request::ImageClassification {
        image: ImageSource::Pixels(value),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    };
    let refused = |name: &str, request: Request, part: &str| {
        let folder = folder(name);
        let model = load(folder.path());
        let encoder = open(&model, folder.path(), &ClassificationOptions::default()).unwrap();
        let message = message(&encoder, request);
        assert!(message.contains(part), "{message}");
    };
    refused("roberta_cls", image(json!([[1]]), &[]), "texts");
    refused("vit_cls", text("ba"), "images");
    refused("vit_cls", image(json!([["x"]]), &[]), "whole numbers");
    refused("vit_cls", image(json!([[1]]), &["a", "b"]), "2 classes, but the model 5");
    refused("clip", image(json!([[1]]), &[]), "doc_to_choice");
    let file = ImageSource::File("nowhere.png".into());
    let file = Request::ImageClassification { image: file, labels: Vec::new() };
    refused("vit_cls", file, "nowhere.png");

    let folder = folder("vit_cls");
    fs::remove_file(folder.path().join("preprocessor_config.json")).unwrap();
    let model = load(folder.path());
    let error = open(&model, folder.path(), &ClassificationOptions::default()).unwrap_err();
    assert!(error.to_string().contains("preprocessor_config.json"), "{error}");
    let folder = self::folder("roberta_cls");
    let model = load(folder.path());
    let long = ClassificationOptions { max_length: Some(65), ..Default::default() };
    let error = open(&model, folder.path(), &long).unwrap_err();
    assert!(error.to_string().contains("1 to 64"), "{error}");
}
