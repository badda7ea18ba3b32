//! Computing activations again changes no loss, no gradient and no running statistic.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, TensorData};
use data::{Collator, Sample};
use finetune::train::{Learner, LearnerConfig, Recompute, StepReport, TrainingConfig};
use model_zoo::{CausalLm, Decoder, DecoderConfig, Family};
use moe_adapter::{
    AdapterConfig, AttachOptions, LayersToTransform, Preset, RouterScope, TargetModules,
    adapter_state, attach_with, load_adapter_state,
};
use router::{RouterConfig, XLoraConfig};

const VOCABULARY: u32 = 40;

fn samples() -> Vec<Sample> {
    (0..4_u32)
        .map(|row| Sample {
            // Longer than a block of queries of the attention, and of unequal lengths.
            input_ids: (0..60 + 9 * row).map(|at| (5 * row + 3 * at) % VOCABULARY).collect(),
            target_mask: (0..60 + 9 * row).map(|at| at > 0).collect(),
            task_type: Some(row % 2),
            ..Sample::default()
        })
        .collect()
}

type State = BTreeMap<String, Vec<f32>>;

/// What a step of gradient descent reports, and by how much it moves each tensor.
fn step(base: &DecoderConfig, config: &AdapterConfig, recompute: Recompute) -> (StepReport, State) {
    let mut model: Decoder = Decoder::init_random(base, 0, &Device::flex()).unwrap().no_grad();
    attach_with(&mut model, config, AttachOptions { seed: 1, ..Default::default() }).unwrap();
    if config.router_scope == RouterScope::Model {
        // Of experts that are zero the router would learn nothing.
        let mut state = adapter_state(&model);
        for (name, data) in &mut state {
            if name.ends_with(".lora_B.weight") {
                let values: Vec<f32> = (0..data.num_elements())
                    .map(|at| ((at * 7) % 11) as f32 / 50.0 - 0.1)
                    .collect();
                *data = TensorData::new(values, data.shape().clone());
            }
        }
        load_adapter_state(&mut model, state, "test").unwrap();
    }
    let values = |model: &Decoder| -> State {
        let values = |data: TensorData| data.iter::<f32>().collect();
        adapter_state(model).into_iter().map(|(name, data)| (name, values(data))).collect()
    };
    let before = values(&model);
    let balance = config.balance_loss.as_ref().map(|loss| loss.init().unwrap());
    // Far below epsilon, AdamW moves each value by its gradient times a factor.
    let training = TrainingConfig { adam_epsilon: 1e6, max_grad_norm: 0.0, ..Default::default() };
    // Two samples of 60 to 87 tokens: slices that go over from one to the other and leave a rest.
    let recompute_slice = (config.lora_dropout == 0.0 && !config.is_mixture()).then_some(50);
    let learner = LearnerConfig { recompute, recompute_slice, ..LearnerConfig::from(&training) };
    let mut learner = Learner::new(model, balance, learner).unwrap();
    let device = learner.model().device();
    let samples = samples();
    let batches: Vec<_> = samples
        .chunks(2)
        .map(|chunk| {
            let refs: Vec<_> = chunk.iter().collect();
            Collator::new(0).collate(&refs).unwrap().to_device(&device)
        })
        .collect();
    let report = learner.step(&batches, 1e9).unwrap();
    let mut after = values(&learner.model().valid());
    for (name, values) in &mut after {
        values.iter_mut().zip(&before[name]).for_each(|(after, before)| *after -= before);
    }
    (report, after)
}

/// Compares groups of so many layers with none.
fn same(name: &str, config: &AdapterConfig, groups: &[usize]) {
    same_on(&llama(), name, config, groups);
}

fn llama() -> DecoderConfig {
    DecoderConfig::new(VOCABULARY as usize, 32, 48, 4, 4)
}

fn same_on(base: &DecoderConfig, name: &str, config: &AdapterConfig, groups: &[usize]) {
    let (expected, moves) = step(base, config, Recompute::None);
    let nested = groups.iter().copied().map(Recompute::Nested);
    for recompute in groups.iter().copied().map(Recompute::Every).chain(nested) {
        let (found, again) = step(base, config, recompute);
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-6 * b.abs();
        assert!(close(found.loss, expected.loss), "{name}, {recompute}: {found:?}, {expected:?}");
        assert!(close(found.grad_norm, expected.grad_norm), "{name}, {recompute}: {found:?}");
        let balance = found.balance_loss.zip(expected.balance_loss);
        assert!(balance.is_none_or(|(a, b)| close(a, b)), "{name}, {recompute}: {balance:?}");
        assert_eq!(found.balance_loss.is_some(), expected.balance_loss.is_some(), "{name}");
        assert!(again.keys().eq(moves.keys()));
        let largest = moves.values().flatten().fold(0.0f32, |max, x| max.max(x.abs()));
        assert!(largest > 0.0, "{name} moves nothing");
        for (tensor, expected) in &moves {
            for (a, b) in again[tensor].iter().zip(expected) {
                assert!((a - b).abs() <= 2e-6 * largest, "{name}, {recompute}, {tensor}: {a}, {b}");
            }
        }
    }
}

#[test]
fn every_preset_learns_the_same() {
    for preset in Preset::ALL {
        same(&preset.to_string(), &preset.config(), &[1, 3]);
    }
}

#[test]
fn dropout_and_noise_are_drawn_again() {
    for preset in [Preset::LoramoePaper, Preset::Mixlora, Preset::Slim] {
        let mut config = preset.config();
        config.lora_dropout = 0.3;
        // A layer at a time, groups that leave a rest or none, and one group of all.
        same(&format!("{preset} with dropout"), &config, &[1, 2, 3, 9]);
    }
}

/// What is decided for all layers has gradients from all of them, and from a loss on routings.
#[test]
fn a_router_of_the_whole_model_learns_from_all_groups() {
    let mut config = Preset::XLora.config();
    config.lora_dropout = 0.3;
    config.balance_loss = Preset::GoatPaper.config().balance_loss;
    same("x-lora with balance", &config, &[1, 3]);
    let same_scalings = XLoraConfig {
        xlora_depth: 2,
        xlora_size: 8,
        scaling_pass_value: 0.2,
        ..XLoraConfig::default()
    };
    config.router = RouterConfig::XLora(same_scalings);
    same("x-lora with one decision", &config, &[1, 2]);
}

#[test]
fn layers_without_an_adapter_pass_the_gradient_on() {
    let mut config = AdapterConfig::lora(4, 8.0, TargetModules::all_linear());
    config.layers_to_transform = Some(LayersToTransform::Many(vec![1, 3]));
    same("two layers", &config, &[1, 2]);
    config.modules_to_save = Some(TargetModules::Names(vec!["embed_tokens".into(), "norm".into()]));
    same("embeddings", &config, &[1, 2]);
}

#[test]
fn every_family_learns_the_same() {
    let plain = AdapterConfig::lora(4, 8.0, TargetModules::all_linear());
    let dropout = AdapterConfig { lora_dropout: 0.1, ..plain.clone() };
    for (family, config) in Family::ALL.into_iter().flat_map(|f| [(f, &plain), (f, &dropout)]) {
        let mut base = llama().with_family(family);
        if let Some(sparse) = &mut base.sparse {
            (sparse.num_experts, sparse.num_experts_per_tok) = (4, 2);
        }
        same_on(&base, family.model_type(), config, &[1]);
    }
}
