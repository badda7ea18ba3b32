//! Rows of several samples give the loss and the gradients that the samples give one a row.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use data::{Collator, Sample, pack};
use finetune::train::{
    Learner, LearnerConfig, OptimizerKind, Recompute, StepReport, Trainer, TrainingConfig,
};
use model_zoo::{CausalLm, Decoder, DecoderConfig, Family};
use moe_adapter::{
    AdapterConfig, AttachOptions, Preset, TargetModules, adapter_state, attach_with,
};

const LENGTHS: [u32; 9] = [5, 23, 11, 40, 2, 17, 9, 30, 3];

fn samples() -> Vec<Sample> {
    let of = |(row, length): (u32, u32)| Sample {
        input_ids: (0..length).map(|at| (7 * row + 3 * at * at + at) % 50).collect(),
        target_mask: (0..length).map(|at| at > row % 2).collect(),
        task_type: Some(row % 2),
        ..Sample::default()
    };
    (0..).zip(LENGTHS).map(of).collect()
}

fn adapted(base: &DecoderConfig, config: &AdapterConfig) -> Decoder {
    let mut model: Decoder = Decoder::init_random(base, 0, &Device::flex()).unwrap().no_grad();
    attach_with(&mut model, config, AttachOptions { seed: 1, ..Default::default() }).unwrap();
    model
}

/// What a step of gradient descent reports, and the adapter after it.
fn step(
    model: Decoder,
    samples: &[Sample],
    recompute: Recompute,
) -> (StepReport, BTreeMap<String, Vec<f32>>) {
    let training = TrainingConfig {
        optim: OptimizerKind::Sgd,
        max_grad_norm: 0.0,
        recompute,
        ..TrainingConfig::default()
    };
    let mut learner = Learner::new(model, None, LearnerConfig::from(&training)).unwrap();
    let rows: Vec<_> = samples.iter().collect();
    let batch = Collator::new(0).collate(&rows).unwrap().to_device(&learner.model().device());
    let report = learner.step(&[batch], 1.0).unwrap();
    let state = adapter_state(&learner.model().valid()).into_iter();
    (report, state.map(|(name, data)| (name, data.iter::<f32>().collect())).collect())
}

fn same(name: &str, base: &DecoderConfig, config: &AdapterConfig) {
    let model = adapted(base, config);
    let (padded, expected) = step(model.clone(), &samples(), Recompute::None);
    let rows = pack(&samples(), 64);
    assert!(rows.len() < LENGTHS.len() && rows.iter().any(|row| row.documents.len() > 2));
    for recompute in [Recompute::None, Recompute::Every(1)] {
        let (packed, found) = step(model.clone(), &rows, recompute);
        assert_eq!(packed.tokens, padded.tokens);
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-6 * b.abs();
        assert!(close(packed.loss, padded.loss), "{name}: {packed:?}, {padded:?}");
        let norms = (packed.grad_norm - padded.grad_norm).abs() <= 1e-5 * padded.grad_norm;
        assert!(norms, "{name}: {packed:?}, {padded:?}");
        let largest = expected.values().flatten().fold(0.0f32, |max, x| max.max(x.abs()));
        for (tensor, expected) in &expected {
            for (a, b) in found[tensor].iter().zip(expected) {
                assert!((a - b).abs() <= 2e-6 * largest, "{name}, {tensor}: {a}, {b}");
            }
        }
    }
}

fn llama() -> DecoderConfig {
    DecoderConfig::new(50, 32, 48, 2, 4)
}

#[test]
fn presets_learn_the_same() {
    for preset in [Preset::Lora, Preset::LoramoePaper, Preset::GoatPaper, Preset::Mixlora] {
        let mut config = AdapterConfig { lora_dropout: 0.0, ..preset.config() };
        if preset == Preset::GoatPaper {
            config.r = 8;
        }
        same(&preset.to_string(), &llama(), &config);
    }
}

#[test]
fn families_learn_the_same() {
    let config = AdapterConfig::lora(4, 8.0, TargetModules::all_linear());
    for family in Family::ALL {
        let mut base = llama().with_family(family);
        base.sliding_window = base.sliding_window.map(|_| 7);
        if let Some(sparse) = &mut base.sparse {
            (sparse.num_experts, sparse.num_experts_per_tok) = (4, 2);
        }
        same(base.family.model_type(), &base, &config);
    }
}

#[test]
fn routers_that_go_by_samples_are_refused() {
    let mut value = serde_json::to_value(Preset::LoramoePaper.config()).unwrap();
    value["router"]["gate"]["scope"] = "sequence".into();
    let config: AdapterConfig = serde_json::from_value(value).unwrap();
    let rows = pack(&samples(), 64);
    let training = TrainingConfig::default();
    let model = adapted(&llama(), &config);
    let refused = Trainer::new(model, &config, &training, &rows, &[], Path::new("run"));
    let error = refused.err().unwrap().to_string();
    assert!(error.contains("training.packing") && error.contains("sequence"), "{error}");
}
