//! The logits of whole models against transformers, on any device.

#![allow(clippy::unwrap_used)]

#[path = "adapters/mod.rs"]
mod adapters;
mod common;
mod device;

use std::fs;
use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{Base, Reference, golden, largest_difference, load_on, logits, material};
use device::{device, tolerance};
use model_zoo::{
    CausalLm, GenerationConfig, LoadOptions, ModelError, TextTokenizer, TokenInput, WeightDType,
    WeightError, generate, generate_batch,
};
use serde_json::{Value, json};

const DECODERS: [&str; 7] = ["llama2", "llama3", "mistral", "qwen2", "qwen3", "gemma2", "phi3"];

/// Compares every position. Padding is on the right and no row is without a visible token, so
/// that transformers computes something meaningful at padding too.
fn matches_transformers(folder: &Path) {
    let model = load_on(folder, &device());
    let reference = Reference::read(folder);
    let found = logits(&model, &reference.input_on(&device()), None);
    let error = largest_difference(&found, &reference.logits) / reference.largest();
    eprintln!("{}: relative error {error:e}", folder.display());
    assert!(error <= tolerance(), "{}: relative error {error:e}", folder.display());
}

#[test]
fn llama2_matches_transformers() {
    matches_transformers(&golden("llama2"));
}

#[test]
fn llama3_with_tied_head_and_scaled_rope_matches_transformers() {
    matches_transformers(&golden("llama3"));
}

#[test]
fn mistral_with_a_sliding_window_matches_transformers() {
    matches_transformers(&golden("mistral"));
}

#[test]
fn qwen2_with_biases_matches_transformers() {
    matches_transformers(&golden("qwen2"));
}

#[test]
fn qwen3_with_normalised_heads_matches_transformers() {
    matches_transformers(&golden("qwen3"));
}

#[test]
fn gemma2_with_soft_caps_and_alternating_windows_matches_transformers() {
    matches_transformers(&golden("gemma2"));
}

#[test]
fn phi3_fused_or_split_matches_transformers() {
    let folder = golden("phi3");
    matches_transformers(&folder);
    let options = LoadOptions { split_fused: true, ..LoadOptions::default() };
    let split = Base::load(&folder, &options, &device()).unwrap();
    let reference = Reference::read(&folder);
    let found = logits(&split, &reference.input_on(&device()), None);
    let error = largest_difference(&found, &reference.logits) / reference.largest();
    assert!(error <= tolerance(), "relative error {error:e}");
}

/// What the references would not notice they could not check.
#[test]
fn options_of_families_change_what_is_computed() {
    let null = Value::Null;
    for (name, key, value) in [
        ("mistral", "sliding_window", null.clone()),
        ("mistral", "sliding_window", json!(7)),
        ("gemma2", "sliding_window", json!(5)),
        ("gemma2", "layer_types", json!(["full_attention", "sliding_attention"])),
        ("gemma2", "attn_logit_softcapping", json!(1.0)),
        ("gemma2", "final_logit_softcapping", null),
        ("gemma2", "query_pre_attn_scalar", json!(17)),
        ("gemma2", "hidden_activation", json!("silu")),
        ("qwen3", "rms_norm_eps", json!(1e-2)),
        ("phi3", "sliding_window", json!(5)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for file in ["config.json", "model.safetensors"] {
            fs::copy(golden(name).join(file), folder.path().join(file)).unwrap();
        }
        let path = folder.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config[key] = value;
        fs::write(&path, config.to_string()).unwrap();
        let reference = Reference::read(&golden(name));
        let found =
            logits(&load_on(folder.path(), &device()), &reference.input_on(&device()), None);
        let error = largest_difference(&found, &reference.logits) / reference.largest();
        assert!(error > 1e-3, "{name}: {key} changes the logits by {error:e} only");
    }
}

/// Long enough that windows slide over the cache, which is filled in parts of several sizes.
#[test]
fn cached_decoding_matches_transformers_in_every_family() {
    for name in DECODERS {
        let folder = golden(name);
        let model = load_on(&folder, &device());
        let reference = Reference::read(&folder);
        let [batch, seq, vocab] = reference.shape;
        for part in [1, 5] {
            let mut cache = model.new_cache();
            let mut largest = 0.0f32;
            for start in (0..seq).step_by(part) {
                let end = (start + part).min(seq);
                let input = reference.columns_on(start, end, &device());
                let found = logits(&model, &input, Some(&mut cache));
                for row in 0..batch {
                    let expected = (row * seq + start) * vocab..(row * seq + end) * vocab;
                    let len = (end - start) * vocab;
                    let found = &found[row * len..(row + 1) * len];
                    largest = largest.max(largest_difference(found, &reference.logits[expected]));
                }
            }
            let error = largest / reference.largest();
            assert!(error <= tolerance(), "{name} by {part}: relative error {error:e}");
        }
    }
}

#[test]
fn generation_chooses_what_whole_sequences_would_in_every_family() {
    for name in DECODERS {
        let model = load_on(&golden(name), &device());
        let prompts = [vec![1u32, 5, 9, 31, 7, 3, 44, 8, 12, 60], vec![1, 22, 8]];
        let generated = generate_batch(&model, &prompts, 12, &[]).unwrap();
        for (prompt, generated) in prompts.iter().zip(generated) {
            let mut tokens = prompt.clone();
            for token in generated {
                assert_eq!(most_probable_next(&model, &tokens), token, "{name}: {tokens:?}");
                tokens.push(token);
            }
        }
    }
}

fn most_probable_next(model: &impl CausalLm, tokens: &[u32]) -> u32 {
    let ids: Vec<i64> = tokens.iter().map(|id| i64::from(*id)).collect();
    let data = TensorData::new(ids, [1, tokens.len()]);
    let input = TokenInput::new(Tensor::<2, Int>::from_data(data, &model.device()));
    let logits = logits(model, &input, None);
    let last = &logits[(tokens.len() - 1) * model.vocab_size()..];
    (0..last.len()).max_by(|a, b| last[*a].total_cmp(&last[*b])).unwrap() as u32
}

/// The reference has the bf16 weights and computes in f32, as we do.
#[test]
fn sharded_bf16_weights_match_transformers() {
    matches_transformers(&golden("llama2_sharded_bf16"));
}

/// A device that cannot compute in a half type refuses it: some GPUs would compute nonsense.
#[test]
fn half_types_are_computed_in_or_refused_by_name() {
    let folder = golden("llama2_sharded_bf16");
    let reference = Reference::read(&folder);
    for (dtype, name) in [(WeightDType::F16, "F16"), (WeightDType::BF16, "BF16")] {
        let options = LoadOptions { dtype, ..LoadOptions::default() };
        match Base::load(&folder, &options, &device()) {
            Ok(model) => {
                let found = logits(&model, &reference.input_on(&device()), None);
                let error = largest_difference(&found, &reference.logits) / reference.largest();
                eprintln!("{name}: relative error {error:e}");
                // The file is in bf16, and CPUs compute with its matrices in f32.
                let exact = dtype == WeightDType::BF16 && device() == Device::flex();
                let allowed = if exact { 1e-5 } else { 5e-2 };
                assert!(error <= allowed, "{name}: relative error {error:e}");
            }
            Err(ModelError::Weights(error @ WeightError::DeviceDtype { .. })) => {
                let error = error.to_string();
                eprintln!("{error}");
                assert_ne!(device(), Device::flex(), "{error}");
                assert!(error.contains(name) && error.contains("load it as float32"), "{error}");
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

#[test]
fn stories260k_matches_transformers_in_logits_loss_and_text() {
    let Some(folder) = material("stories260K") else { return };
    matches_transformers(&folder);

    let model = load_on(&folder, &device());
    assert_eq!(model.config().parameter_count(), 260_032);
    let tokenizer = TextTokenizer::from_folder(&folder).unwrap();
    let reference: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("reference.json")).unwrap()).unwrap();
    let ids = |key: &str| -> Vec<u32> {
        reference[key].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
    };

    let tokens = ids("ids");
    assert_eq!(tokenizer.encode(reference["text"].as_str().unwrap(), true).unwrap(), tokens);
    let nll = mean_nll(&model, &tokens);
    let expected = reference["mean_nll"].as_f64().unwrap();
    assert!((nll - expected).abs() < 1e-4, "{nll} but {expected} expected");

    let prompt = ids("prompt_ids");
    let greedy = ids("greedy_ids");
    assert_eq!(tokenizer.encode(reference["prompt"].as_str().unwrap(), true).unwrap(), prompt);
    let new = greedy.len() - prompt.len();
    let config = GenerationConfig { max_new_tokens: new, ..Default::default() };
    let mut streamed = reference["prompt"].as_str().unwrap().to_owned();
    let result =
        generate(&model, &tokenizer, &prompt, &config, |text| streamed.push_str(text)).unwrap();
    assert_eq!(result.token_ids, greedy[prompt.len()..]);
    assert_eq!(streamed, reference["greedy_text"].as_str().unwrap());
    let batch =
        generate_batch(&model, std::slice::from_ref(&prompt), new, model.eos_token_ids()).unwrap();
    assert_eq!(batch[0], greedy[prompt.len()..]);
}

fn mean_nll(model: &impl CausalLm, tokens: &[u32]) -> f64 {
    let ids: Vec<i64> = tokens.iter().map(|id| i64::from(*id)).collect();
    let data = TensorData::new(ids, [1, tokens.len()]);
    let input = TokenInput::new(Tensor::<2, Int>::from_data(data, &model.device()));
    let logits = logits(model, &input, None);
    let rows = logits.chunks_exact(model.vocab_size());
    let losses = rows.zip(&tokens[1..]).map(|(row, token)| {
        let total: f64 = row.iter().map(|logit| f64::from(*logit).exp()).sum();
        total.ln() - f64::from(row[*token as usize])
    });
    losses.sum::<f64>() / (tokens.len() - 1) as f64
}
