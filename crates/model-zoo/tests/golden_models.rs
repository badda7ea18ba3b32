//! The logits of whole models against transformers.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use burn::tensor::{Int, Tensor, TensorData};
use common::{Reference, golden, largest_difference, load, logits, material};
use model_zoo::{CausalLm, GenerationConfig, TextTokenizer, TokenInput, generate, generate_batch};

/// Relative to the largest logit of the reference.
const TOLERANCE: f32 = 1e-4;

/// Compares every position. Padding is on the right and no row is without a visible token, so
/// that transformers computes something meaningful at padding too.
fn matches_transformers(folder: &Path) {
    let model = load(folder);
    let reference = Reference::read(folder);
    let found = logits(&model, &reference.input(), None);
    let error = largest_difference(&found, &reference.logits) / reference.largest();
    eprintln!("{}: relative error {error:e}", folder.display());
    assert!(error <= TOLERANCE, "{}: relative error {error:e}", folder.display());
}

#[test]
fn llama2_matches_transformers() {
    matches_transformers(&golden("llama2"));
}

#[test]
fn llama3_with_tied_head_and_scaled_rope_matches_transformers() {
    matches_transformers(&golden("llama3"));
}

/// The reference has the bf16 weights and computes in f32, as we do.
#[test]
fn sharded_bf16_weights_match_transformers() {
    matches_transformers(&golden("llama2_sharded_bf16"));
}

#[test]
fn stories260k_matches_transformers_in_logits_loss_and_text() {
    let Some(folder) = material("stories260K") else { return };
    matches_transformers(&folder);

    let model = load(&folder);
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
