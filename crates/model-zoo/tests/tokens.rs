//! Rows of tokens that are trained by themselves, and experts held as one parameter.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{golden, largest_difference, logits, tiny_config};
use model_zoo::{CausalLm, Decoder, DecoderConfig, LoadOptions, TokenInput};
use moe_adapter::{
    Adaptable, AdapterConfig, AdapterSize, AdapterState, TargetModules, TokenIndices,
    adapter_state, attach, attach_saved, load_adapter_state, merge_tokens, trainable_parameters,
};
use router::RoutingTape;

const IDS: [i64; 12] = [1, 5, 9, 31, 7, 22, 8, 13, 17, 39, 5, 6];

fn model(tied: bool) -> Decoder {
    let config = DecoderConfig { tie_word_embeddings: tied, ..tiny_config() };
    Decoder::init_random(&config, 5, &Device::flex()).unwrap().no_grad()
}

fn input() -> TokenInput {
    TokenInput::new(Tensor::from_data(TensorData::new(IDS.to_vec(), [2, 6]), &Device::flex()))
}

fn nothing_adapted() -> AdapterConfig {
    AdapterConfig::lora(2, 4.0, TargetModules::Names(Vec::new()))
}

fn tokens(indices: TokenIndices) -> AdapterConfig {
    AdapterConfig { trainable_token_indices: Some(indices), ..nothing_adapted() }
}

fn by_module(modules: &[(&str, &[usize])]) -> TokenIndices {
    let modules = modules.iter().map(|(name, tokens)| ((*name).to_owned(), tokens.to_vec()));
    TokenIndices::ByModule(modules.collect())
}

/// The cases: a head that shares the rows, and one with rows of its own.
fn cases() -> [(bool, AdapterConfig); 2] {
    let both = by_module(&[("embed_tokens", &[31, 5]), ("lm_head", &[2, 5, 39])]);
    [(true, tokens(TokenIndices::Embeddings(vec![31, 5]))), (false, tokens(both))]
}

/// The state with every value changed.
fn moved(model: &Decoder) -> AdapterState {
    let mut state = adapter_state(model);
    for data in state.values_mut() {
        let changed = data.iter::<f32>().enumerate().map(|(i, x)| x + 0.1 * (i as f32).sin());
        *data = TensorData::new(changed.collect::<Vec<_>>(), data.shape().clone());
    }
    state
}

#[test]
fn rows_start_as_they_are_and_are_all_that_trains() {
    for (tied, config) in cases() {
        let mut model = model(tied);
        let base = logits(&model, &input(), None);
        let count = attach(&mut model, &config, 0).unwrap();
        assert!(largest_difference(&logits(&model, &input(), None), &base) < 1e-5);
        let rows = if tied { 2 } else { 5 };
        let size = AdapterSize::of(&model, &config).unwrap();
        assert_eq!((count, trainable_parameters(&model), size.whole), (0, rows * 24, rows * 24));
        let state = adapter_state(&model);
        let names: Vec<_> = state.keys().map(String::as_str).collect();
        let embeddings = "model.embed_tokens.token_adapter.trainable_tokens_delta";
        let head = "lm_head.token_adapter.trainable_tokens_delta";
        assert_eq!(names, if tied { vec![embeddings] } else { vec![head, embeddings] });
    }
}

/// The gradients of the embeddings and of the head, by a plain loss.
fn gradients(model: &Decoder, of_rows: bool) -> Vec<Tensor<2>> {
    let mut model = model.clone().train();
    let input = TokenInput::new(Tensor::<2, Int>::from_inner(input().input_ids));
    let mut tape = RoutingTape::new(input.context());
    let hidden = model.hidden_states(&input, None, &mut tape).reshape([12, 24]);
    let targets: Vec<i64> = (0..12).map(|at| (5 * at + 2) % 40).collect();
    let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [12]), &Device::flex());
    let targets = Tensor::from_inner(targets).reshape([12, 1]);
    let grads = log_softmax(model.logits(hidden), 1).gather(1, targets).sum().backward();
    let mut found = Vec::new();
    model.visit_token_modules_mut(&mut |_, module| {
        let value = match module.rows {
            Some(rows) if of_rows => rows.trainable_tokens_delta.val(),
            _ => module.weight.val(),
        };
        let gradient = value.grad(&grads).unwrap();
        found.push(if module.by_column && !of_rows { gradient.transpose() } else { gradient });
    });
    found
}

#[test]
fn the_gradient_of_rows_is_that_of_the_whole_matrix() {
    for (tied, config) in cases() {
        let mut rows = model(tied);
        attach(&mut rows, &config, 0).unwrap();
        let names = if tied { vec!["embed_tokens"] } else { vec!["embed_tokens", "lm_head"] };
        let names = names.into_iter().map(String::from).collect();
        let mut whole = model(tied);
        let config = AdapterConfig {
            modules_to_save: Some(TargetModules::Names(names)),
            ..nothing_adapted()
        };
        attach(&mut whole, &config, 0).unwrap();
        let expected = gradients(&whole, false);
        let found = gradients(&rows, true);
        let chosen: [&[i64]; 2] = [&[31, 5], &[2, 5, 39]];
        assert_eq!(found.len(), expected.len());
        for ((found, expected), chosen) in found.into_iter().zip(expected).zip(chosen) {
            let chosen = TensorData::new(chosen.to_vec(), [chosen.len()]);
            let expected = expected.select(0, Tensor::from_data(chosen, &Device::flex()));
            assert!(expected.clone().abs().max().into_scalar::<f32>() > 1e-2);
            let error = (found - expected).abs().max().into_scalar::<f32>();
            assert!(error < 1e-5, "tied {tied}: {error:e}");
        }
    }
}

#[test]
fn merged_rows_are_those_of_the_adapter() {
    for (tied, config) in cases() {
        let mut model = model(tied);
        attach(&mut model, &config, 0).unwrap();
        let state = moved(&model);
        load_adapter_state(&mut model, state, "test").unwrap();
        let adapted = logits(&model, &input(), None);
        let changed = merge_tokens(&mut model);
        assert_eq!(changed.len(), if tied { 1 } else { 2 });
        assert!(largest_difference(&logits(&model, &input(), None), &adapted) < 1e-5);
        assert!(merge_tokens(&mut model).is_empty() && adapter_state(&model).is_empty());
    }
}

#[test]
fn a_saved_adapter_brings_the_rows_of_new_tokens() {
    let config = tokens(TokenIndices::Embeddings(vec![5, 40, 41]));
    let mut first = model(true);
    first.resize_embeddings(42, 1);
    attach(&mut first, &config, 0).unwrap();
    let mut again = model(true);
    let state = moved(&first);
    attach_saved(&mut again, &config, state.clone(), "file").unwrap();
    assert_eq!((again.vocab_size(), adapter_state(&again)), (42, state));
}

#[test]
fn what_has_no_rows_is_refused_by_name() {
    let refused = |tied: bool, config: AdapterConfig| {
        attach(&mut model(tied), &config, 0).unwrap_err().to_string()
    };
    let error = refused(true, tokens(by_module(&[("lm_head", &[3])])));
    assert!(error.contains("`lm_head`, which is tied"), "{error}");
    let error = refused(true, tokens(by_module(&[("norm", &[3])])));
    assert!(error.contains("the model has model.embed_tokens"), "{error}");
    let error = refused(true, tokens(TokenIndices::Embeddings(vec![3, 40])));
    assert!(error.contains("has 40, but the model has 40 tokens"), "{error}");
    let mut both = tokens(TokenIndices::Embeddings(vec![3]));
    both.modules_to_save = Some(TargetModules::Names(vec!["embed_tokens".into()]));
    let error = refused(true, both);
    assert!(error.contains("`model.embed_tokens` is trained as a whole"), "{error}");
}

fn load(folder: &Path) -> Decoder {
    Decoder::load(folder, &LoadOptions::default(), &Device::flex()).unwrap()
}

/// An adapter of the parameters that hold all experts.
fn parameters(targets: &[&str]) -> AdapterConfig {
    let targets = targets.iter().map(|target| (*target).to_owned()).collect();
    AdapterConfig { target_parameters: Some(targets), ..nothing_adapted() }
}

#[test]
fn fused_experts_compute_the_same_and_are_written_as_modules() {
    for name in ["qwen3_moe", "mixtral", "mixtral_stacked"] {
        let mut model: Decoder = load(&golden(name));
        let base = logits(&model, &input(), None);
        let mut paths = Vec::new();
        model.fuse_experts().unwrap();
        model.visit_projections(&mut |path, _, _| paths.push(path.to_owned()));
        assert!(paths.contains(&"model.layers.1.mlp.experts.2.gate_up_proj".to_owned()));
        assert!(largest_difference(&logits(&model, &input(), None), &base) < 1e-4);
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path()).unwrap();
        let again: Decoder = load(folder.path());
        assert_eq!(logits(&again, &input(), None), base);
    }
}

#[test]
fn each_expert_of_a_parameter_has_an_adapter_and_nothing_else_has() {
    let mut model: Decoder = load(&golden("qwen3_moe"));
    let config = parameters(&["mlp.experts.down_proj"]);
    // The second of two layers has 6 experts, 12 -> 24.
    let size = AdapterSize::of(&shaped_with_fused_experts("qwen3_moe"), &config).unwrap();
    assert_eq!(size.experts, 6 * 2 * (12 + 24));
    assert_eq!(attach(&mut model, &config, 0).unwrap(), 6);
    assert_eq!(trainable_parameters(&model), size.experts);
    let names = adapter_state(&model);
    assert!(names.keys().all(|name| name.contains(".mlp.experts.") && name.contains("down_proj")));
}

fn shaped_with_fused_experts(name: &str) -> Decoder {
    let mut config = DecoderConfig::from_folder(golden(name)).unwrap();
    config.fused_experts = true;
    Decoder::shaped(&config, &Device::flex()).unwrap()
}

#[test]
fn parameters_that_cannot_be_adapted_are_refused_by_name() {
    let refused = |name: &str, config: &AdapterConfig| {
        let mut model: Decoder = load(&golden(name));
        attach(&mut model, config, 0).unwrap_err().to_string()
    };
    let error = refused("qwen3_moe", &parameters(&["experts.gate_proj"]));
    assert!(error.contains("[\"experts.gate_proj\"]"), "{error}");
    assert!(error.contains("model.layers.*.mlp.experts.gate_up_proj"), "{error}");
    let error = refused("llama3", &parameters(&["mlp.experts.down_proj"]));
    assert!(error.contains("its layers have no experts"), "{error}");
    let dropout = AdapterConfig { lora_dropout: 0.1, ..parameters(&["experts.down_proj"]) };
    assert!(refused("qwen3_moe", &dropout).contains("`lora_dropout` must be 0"));
    let mixture = AdapterConfig { num_experts: 2, ..parameters(&["experts.down_proj"]) };
    assert!(refused("qwen3_moe", &mixture).contains("`num_experts` must be 1"));
    let pattern = AdapterConfig {
        rank_pattern: [("experts.0.down_proj".to_owned(), 1)].into(),
        ..parameters(&["experts.down_proj"])
    };
    assert!(refused("qwen3_moe", &pattern).contains("`rank_pattern` must be absent"));
    let options = LoadOptions {
        quantization: Some(quantization::Quantization::Int8),
        ..LoadOptions::default()
    };
    let mut model = Decoder::load(golden("qwen3_moe"), &options, &Device::flex()).unwrap();
    let error = attach(&mut model, &parameters(&["experts.gate_up_proj"]), 0).unwrap_err();
    assert!(error.to_string().contains("is quantised"), "{error}");
}
