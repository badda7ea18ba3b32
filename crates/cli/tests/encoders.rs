//! Encoders of texts and images through the command.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::path::{Path, PathBuf};

use lora_moe::burn::tensor::Device;
use lora_moe::model_zoo::{AnyModel, LoadOptions, with_any_model};
use lora_moe::moe_adapter::{Preset, StoredAdapter, TargetModules, adapter_state, attach};
use safetensors::SafeTensors;
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
