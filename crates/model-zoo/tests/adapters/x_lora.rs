//! X-LoRA's second pass: gradients, generation, and what a folder cannot be.

use std::fs;

use adapter_formats::read_adapter;
use burn::module::Module;
use burn::tensor::{DType, Int, Tensor, TensorData};
use model_zoo::{CausalLm, TokenInput, generate_batch};
use moe_adapter::{
    Adaptable, AdaptedProjection, AdapterLayers, StoredAdapter, attach_saved, load_adapter,
    save_adapter,
};
use router::RoutingTape;
use safetensors::SafeTensors;
use serde_json::json;

use super::{base, folder, keys};
use crate::common::{Reference, largest_difference, logits};
use crate::device::{device, tolerance};

const CASES: [&str; 2] = ["x_lora", "x_lora_layerwise"];

fn adapted(name: &str) -> (model_zoo::Decoder, StoredAdapter) {
    let adapter = read_adapter(&folder(name)).unwrap();
    let mut model = base();
    attach_saved(&mut model, &adapter.config, adapter.state.clone(), name).unwrap();
    (model, adapter)
}

fn floats(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let data = file.tensor(name).unwrap().data().to_vec();
    data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

fn relative(found: TensorData, expected: &[f32]) -> f32 {
    let found: Vec<f32> = found.iter::<f32>().collect();
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    largest_difference(&found, expected) / largest
}

/// The mean cross-entropy of the next real tokens.
fn loss(model: &model_zoo::Decoder, reference: &Reference) -> Tensor<1> {
    let input = reference.input_on(&device());
    let mut tape = RoutingTape::recording(input.context());
    let hidden = model.hidden_states(&input, None, &mut tape);
    assert_eq!(tape.records().len(), model.model_router().unwrap().sites().len());
    let logits = model.logits(hidden);
    let [rows, len, vocab] = logits.dims();
    let mask = reference.mask.clone().unwrap();
    let (mut positions, mut targets) = (Vec::new(), Vec::new());
    for row in 0..rows {
        for at in 0..len - 1 {
            if mask[row * len + at + 1] {
                positions.push((row * len + at) as i64);
                targets.push(reference.ids[row * len + at + 1]);
            }
        }
    }
    let count = positions.len();
    let ints =
        |values: Vec<i64>| Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &device());
    let of_targets = logits.reshape([rows * len, vocab]).select(0, ints(positions));
    let all = burn::tensor::activation::log_softmax(of_targets, 1);
    all.gather(1, ints(targets).reshape([count, 1])).mean().neg()
}

#[test]
fn the_second_pass_has_the_gradients_of_peft() {
    for name in CASES {
        let (model, _) = adapted(name);
        let model = model.train();
        let reference = Reference::read(&folder(name));
        let bytes = fs::read(folder(name).join("reference.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let loss = loss(&model, &reference);
        let error = relative(loss.clone().inner().into_data(), &floats(&file, "loss"));
        assert!(error <= tolerance(), "{name}: loss {error:e}");
        let grads = loss.backward();
        for (index, layer) in model.model_router().unwrap().layers.iter().enumerate() {
            let weight = layer.weight.val().grad(&grads).unwrap().into_data();
            let bias = layer.bias.as_ref().unwrap().val().grad(&grads).unwrap().into_data();
            for (parameter, found) in [("weight", weight), ("bias", bias)] {
                let expected = floats(&file, &format!("grad.layers.{index}.{parameter}"));
                let error = relative(found, &expected);
                eprintln!("{name}: layers.{index}.{parameter} {error:e}");
                assert!(error <= tolerance(), "{name}: layers.{index}.{parameter} {error:e}");
            }
        }
        model.visit_projections(&mut |path, _, projection| {
            if path != "model.layers.0.self_attn.q_proj" {
                return;
            }
            let moe_adapter::MoeAdapter {
                experts: lora_moe::lora_expert::AnyBank::Lora(bank), ..
            } = projection.adapter().unwrap()
            else {
                panic!("LoRA experts")
            };
            let found: Tensor<3> = bank.lora_b.val().grad(&grads).unwrap().cast(DType::F32);
            let error = relative(found.into_data(), &floats(&file, "grad.lora_B"));
            assert!(error <= tolerance(), "{name}: lora_B {error:e}");
        });
    }
}

#[test]
fn a_cache_holds_both_passes() {
    for name in CASES {
        let (model, _) = adapted(name);
        let reference = Reference::read(&folder(name));
        let expected = reference.generated.clone().unwrap();
        let prompt: Vec<u32> = expected[..6].iter().map(|id| *id as u32).collect();
        // Beside a longer one, so that there is padding.
        let prompts = [prompt, vec![1, 5, 9, 2, 6, 3, 4, 8, 7]];
        let found = generate_batch(&model, &prompts, 8, &[]).unwrap().remove(0);
        let found: Vec<i64> = found.into_iter().map(i64::from).collect();
        assert_eq!(found, expected[6..], "{name}");
        // One token after the other, and all at once.
        let ids = Tensor::<1, Int>::from_data(expected.as_slice(), &device());
        let all = TokenInput::new(ids.clone().reshape([1, expected.len()]));
        let whole = logits(&model, &all, None);
        let mut cache = model.new_cache();
        let mut parts = Vec::new();
        for at in 0..expected.len() {
            let one = TokenInput::new(ids.clone().narrow(0, at, 1).reshape([1, 1]));
            parts.extend(logits(&model, &one, Some(&mut cache)));
        }
        let error = largest_difference(&parts, &whole) / reference.largest();
        assert!(error <= tolerance(), "{name}: {error:e}");
    }
}

#[test]
fn it_is_saved_and_loaded_with_its_classifier() {
    for name in CASES {
        let (model, adapter) = adapted(name);
        let saved = tempfile::tempdir().unwrap();
        save_adapter(&model, &adapter.config, None, saved.path()).unwrap();
        let (config, state) = load_adapter(saved.path()).unwrap();
        assert_eq!((&config, &state), (&adapter.config, &adapter.state), "{name}");
        assert!(state.keys().any(|name| name == "model_router.layers.0.weight"));
        let mut loaded = base();
        attach_saved(&mut loaded, &config, state, "saved").unwrap();
        let input = Reference::read(&folder(name)).input_on(&device());
        assert_eq!(logits(&loaded, &input, None), logits(&model, &input, None), "{name}");
    }
}

#[test]
#[should_panic(expected = "router of the whole model")]
fn rows_of_a_batch_do_not_share_it() {
    AdapterLayers::of(&adapted("x_lora").0);
}

#[test]
fn experts_that_differ_and_tensors_that_are_missing_are_named() {
    let copy = |change: &dyn Fn(&std::path::Path)| {
        let copy = tempfile::tempdir().unwrap();
        for part in ["", "0", "1"] {
            let (from, to) = (folder("x_lora").join(part), copy.path().join(part));
            fs::create_dir_all(&to).unwrap();
            for file in ["adapter_config.json", "adapter_model.safetensors"] {
                fs::copy(from.join(file), to.join(file)).unwrap();
            }
        }
        change(copy.path());
        read_adapter(copy.path()).unwrap_err().to_string()
    };
    let with_key = |folder: &std::path::Path, key: &str, value: serde_json::Value| {
        let mut config = keys(folder);
        config[key] = value;
        fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
    };
    let error = copy(&|folder| with_key(&folder.join("1"), "lora_alpha", json!(5)));
    assert!(error.contains("`lora_alpha`") && error.contains("mix"), "{error}");
    assert!(error.contains("1/adapter_config.json"), "{error}");
    let error = copy(&|folder| with_key(&folder.join("1"), "use_dora", json!(true)));
    assert!(error.contains("use_dora"), "{error}");
    let error = copy(&|folder| with_key(folder, "hidden_size", json!(64)));
    assert!(error.contains("hidden_size 64"), "{error}");
    let error = copy(&|folder| with_key(folder, "xlora_depth", json!(4)));
    assert!(error.contains("layers.9.weight` is missing"), "{error}");
    let error = copy(&|folder| with_key(folder, "xlora_depth", json!(2)));
    assert!(error.contains("layers.6"), "{error}");
    let error = copy(&|folder| with_key(folder, "adapters", json!({"0": "0"})));
    assert!(error.contains("at least 2"), "{error}");
    let error = copy(&|folder| fs::remove_dir_all(folder.join("1")).unwrap());
    assert!(error.contains("there is no such folder"), "{error}");
}
