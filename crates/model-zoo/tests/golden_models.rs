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

const DECODERS: [&str; 18] = [
    "llama2",
    "llama3",
    "rope_linear",
    "rope_dynamic",
    "rope_yarn",
    "rope_yarn_mscale",
    "mistral",
    "mixtral",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "gemma2",
    "gemma3",
    "phi3",
    "phi4_mini",
    "smollm3",
    "olmo2",
    "granite",
];

/// Compares every real token: at padding that sees no token at all nothing has a meaning.
fn matches_transformers(folder: &Path) {
    let model = load_on(folder, &device());
    let reference = Reference::read(folder);
    let found = logits(&model, &reference.input_on(&device()), None);
    let error = reference.error(&found);
    eprintln!("{}: relative error {error:e}", folder.display());
    assert!(error <= tolerance(), "{}: relative error {error:e}", folder.display());
}

#[test]
fn every_family_and_rotary_scaling_matches_transformers() {
    for name in DECODERS {
        matches_transformers(&golden(name));
    }
}

/// Experts as one parameter each, as transformers 5 has them in memory, are the same model, and are
/// written as the modules that all versions read.
#[test]
fn stacked_experts_are_read_and_written_as_modules() {
    for name in ["mixtral", "qwen3_moe"] {
        let stacked = golden(&format!("{name}_stacked"));
        matches_transformers(&stacked);
        let copies = [golden(name), stacked].map(|folder| {
            let copy = tempfile::tempdir().unwrap();
            load_on(&folder, &device()).save(copy.path()).unwrap();
            fs::read(copy.path().join("model.safetensors")).unwrap()
        });
        assert!(copies[0] == copies[1], "{name}");
    }
}

#[test]
fn phi3_fused_or_split_matches_transformers() {
    let folder = golden("phi3");
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
        ("phi4_mini", "original_max_position_embeddings", json!(32)),
        ("phi4_mini", "max_position_embeddings", json!(128)),
        ("gemma3", "sliding_window", json!(5)),
        ("gemma3", "final_logit_softcapping", Value::Null),
        ("smollm3", "no_rope_layers", json!([1, 1, 1])),
        ("granite", "embedding_multiplier", json!(1.0)),
        ("granite", "attention_multiplier", json!(0.1)),
        ("granite", "residual_multiplier", json!(1.0)),
        ("granite", "logits_scaling", json!(1.0)),
        ("mixtral", "num_experts_per_tok", json!(3)),
        ("qwen3_moe", "num_experts_per_tok", json!(2)),
        ("qwen3_moe", "norm_topk_prob", json!(true)),
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
        let error = reference.error(&found);
        assert!(error > 1e-3, "{name}: {key} changes the logits by {error:e} only");
    }
    // The sections of rotary scalings, by key.
    for (name, changes) in [
        ("rope_yarn_mscale", vec![("truncate", json!(true))]),
        ("rope_yarn_mscale", vec![("beta_fast", json!(2.0))]),
        ("rope_yarn_mscale", vec![("mscale", json!(1.0))]),
        ("rope_yarn_mscale", vec![("attention_factor", json!(1.0))]),
        ("rope_dynamic", vec![("factor", json!(4.0))]),
        ("gemma3", vec![("full_attention", json!({"rope_type": "default", "rope_theta": 1e6}))]),
        ("gemma3", vec![("sliding_attention", json!({"rope_type": "default"}))]),
        ("phi4_mini", vec![("attention_factor", json!(1.5))]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(golden(name).join("model.safetensors"), folder.path().join("model.safetensors"))
            .unwrap();
        let config = fs::read(golden(name).join("config.json")).unwrap();
        let mut config: Value = serde_json::from_slice(&config).unwrap();
        for (key, value) in &changes {
            config["rope_parameters"][key] = value.clone();
        }
        fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let reference = Reference::read(&golden(name));
        let found =
            logits(&load_on(folder.path(), &device()), &reference.input_on(&device()), None);
        let error = reference.error(&found);
        assert!(error > 1e-3, "{name}: {changes:?} change the logits by {error:e} only");
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
        let by_length = reference.cached_logits.is_some();
        let expected_logits = reference.cached_logits.as_ref().unwrap_or(&reference.logits);
        // Angles that follow from the length of the sequence follow from the parts too.
        for part in if by_length { vec![1] } else { vec![1, 5] } {
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
                    for (i, (found, expected)) in
                        found.chunks(vocab).zip(expected_logits[expected].chunks(vocab)).enumerate()
                    {
                        let mask = reference.mask.as_ref();
                        if mask.is_none_or(|mask| mask[row * seq + start + i]) {
                            largest = largest.max(largest_difference(found, expected));
                        }
                    }
                }
            }
            let error = largest / reference.largest();
            assert!(error <= tolerance(), "{name} by {part}: relative error {error:e}");
        }
    }
}

/// Beyond the original length too: with longrope a sequence is computed again where it becomes
/// longer, with dynamic scaling what is cached stays.
#[test]
fn generation_where_angles_depend_on_the_length_is_that_of_transformers() {
    for name in ["rope_dynamic", "phi4_mini"] {
        let model = load_on(&golden(name), &device());
        let reference = Reference::read(&golden(name));
        let expected: Vec<u32> =
            reference.generated.unwrap().iter().map(|token| *token as u32).collect();
        let (prompt, expected) = expected.split_at(10);
        let other = prompt[..3].to_vec();
        let new = expected.len();
        let found = generate_batch(&model, &[other.clone(), prompt.to_vec()], new, &[]).unwrap();
        assert_eq!(found[1], expected, "{name}");
        assert_eq!(found[0], generate_batch(&model, &[other], new, &[]).unwrap()[0], "{name}");
    }
}

#[test]
fn generation_chooses_what_whole_sequences_would_in_every_family() {
    for name in DECODERS.into_iter().filter(|name| *name != "rope_dynamic") {
        let model = load_on(&golden(name), &device());
        let prompts = [vec![1u32, 5, 9, 31, 7, 3, 44, 8, 12, 50], vec![1, 22, 8]];
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
