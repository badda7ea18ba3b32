//! Adapters of every method merged, taken out again, and combined, on a model of the zoo.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod burn_lora;
mod extracting;
mod merging;
mod mixing;

use std::collections::BTreeMap;

use adapter_arithmetic::{fixed_routing, merge_adapters};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use model_zoo::{CausalLm, Decoder, DecoderConfig, TokenInput};
use moe_adapter::{
    Adaptable, AdapterConfig, Preset, Projection, StoredAdapter, TargetModules, adapter_state,
    attach, attach_saved,
};
use router::{RouterConfig, RoutingTape};
use svd_init::{InitConfig, PrincipalConfig};

fn base() -> Decoder {
    let mut config = DecoderConfig::new(40, 32, 48, 4, 4);
    config.initializer_range = 0.2;
    Decoder::init_random(&config, 0, &Device::flex()).unwrap().no_grad()
}

/// An adapter with values that do something, as after training.
fn trained(config: &AdapterConfig) -> Decoder {
    trained_on(base(), config)
}

fn trained_on(mut model: Decoder, config: &AdapterConfig) -> Decoder {
    attach(&mut model, config, 1).unwrap();
    let mut state = adapter_state(&model);
    let mut seed = 1_u64;
    for (name, data) in &mut state {
        if name.contains(".start.") || name.contains("expert_scaling") {
            continue;
        }
        let values: Vec<f32> = data
            .iter::<f32>()
            .map(|value| {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                value + 0.1 * ((seed >> 40) as f32 / (1 << 23) as f32 - 1.0)
            })
            .collect();
        *data = TensorData::new(values, data.shape().clone());
    }
    moe_adapter::load_adapter_state(&mut model, state, "test").unwrap();
    model
}

fn logits<P: Projection>(model: &Decoder<P>) -> TensorData {
    let ids: Vec<i64> = (0..20).map(|at| (7 * at) % 40).collect();
    let ids = Tensor::from_data(TensorData::new(ids, [2, 10]), &Device::flex());
    let input = TokenInput::new(ids);
    let mut tape = RoutingTape::new(input.context());
    model.logits(model.hidden_states(&input, None, &mut tape)).into_data()
}

/// The largest difference, relative to the largest value.
fn difference(found: &TensorData, expected: &TensorData) -> f32 {
    let largest = expected.iter::<f32>().fold(0.0, |largest: f32, value| largest.max(value.abs()));
    let pairs = found.iter::<f32>().zip(expected.iter::<f32>());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

fn weights(model: &Decoder) -> BTreeMap<String, TensorData> {
    let mut weights = BTreeMap::new();
    model.visit_projections(&mut |path, _, projection| {
        weights.insert(path.to_owned(), projection.linear().weight().into_data());
    });
    weights
}

fn uniform() -> RouterConfig {
    RouterConfig::Uniform {}
}

/// A mixture as its folder holds it, and its model.
fn stored(config: &AdapterConfig) -> (StoredAdapter, Decoder) {
    let model = trained(config);
    (StoredAdapter::of(&model, config, None), model)
}

fn loaded(adapter: &StoredAdapter) -> Decoder {
    let mut model = base();
    attach_saved(&mut model, &adapter.config, adapter.state.clone(), "adapter").unwrap();
    model
}

/// A mixture merged at fixed weights, which is computed in another way.
fn merged_at(model: &Decoder, weights: &[f64]) -> Decoder {
    let mut merged = model.clone();
    let routing = fixed_routing(model, weights).unwrap();
    merge_adapters(&mut merged, &routing).unwrap();
    merged
}

/// Mixtures of three routed experts of every kind.
fn mixtures() -> Vec<(&'static str, AdapterConfig)> {
    let three = |preset: Preset| AdapterConfig {
        num_experts: 3,
        num_experts_by_layer: None,
        balance_loss: None,
        router: RouterConfig::default(),
        ..preset.config()
    };
    let fixed = serde_json::json!({
        "type": "lora", "merging": { "rate": 0.5, "mask": "fixed", "seed": 3 },
    });
    vec![
        ("loramoe", three(Preset::LoramoePaper)),
        ("by linear", {
            let mut config = three(Preset::LoramoePaper);
            config.rank_pattern.insert("up_proj".into(), 2);
            config.alpha_pattern.insert("down_proj".into(), 3.0);
            config
        }),
        ("hydra", three(Preset::Hydralora)),
        ("goat", AdapterConfig { r: 12, ..three(Preset::GoatPaper) }),
        ("dora", AdapterConfig { num_experts: 3, balance_loss: None, ..Preset::Dora.config() }),
        ("mov", three(Preset::Mov)),
        (
            "fixed masks",
            AdapterConfig {
                experts: serde_json::from_value(fixed).unwrap(),
                ..three(Preset::LoramoePaper)
            },
        ),
    ]
}

/// Single adapters of different ranks, scalings, starts and targets.
fn singles() -> Vec<AdapterConfig> {
    let targets = |names: [&str; 2]| TargetModules::Names(names.map(String::from).to_vec());
    vec![
        AdapterConfig::lora(2, 4.0, targets(["q_proj", "up_proj"])),
        AdapterConfig {
            use_rslora: true,
            ..AdapterConfig::lora(3, 4.0, targets(["q_proj", "o_proj"]))
        },
        AdapterConfig {
            init: InitConfig::Pissa(PrincipalConfig::default()),
            ..AdapterConfig::lora(2, 2.0, targets(["up_proj", "down_proj"]))
        },
    ]
}
