//! A base model of few bits trains as the floats that it stands for.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use adapter_arithmetic::{FixedRouting, merge_adapters};
use burn::tensor::{Device, Int, Tensor, TensorData};
use data::{Collator, DeviceBatch, Sample};
use finetune::train::{Learner, LearnerConfig, StepReport, TrainingConfig};
use model_zoo::{CausalLm, Decoder, LoadOptions, Quantization, TokenInput};
use moe_adapter::{
    Adaptable, AdapterConfig, BaseLinear, Preset, Projection, adapter_state, attach, attach_saved,
};
use router::RoutingTape;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model-zoo/tests/golden").join(name)
}

fn load(folder: &Path, quantization: Option<Quantization>) -> Decoder {
    let options = LoadOptions { quantization, ..LoadOptions::default() };
    Decoder::load(folder, &options, &Device::flex()).unwrap()
}

fn batch() -> DeviceBatch {
    let samples: Vec<Sample> = (0..2_u32)
        .map(|row| Sample {
            input_ids: (0..40).map(|at| (7 * row + 3 * at) % 90).collect(),
            target_mask: (0..40).map(|at| at > 0).collect(),
            task_type: Some(row % 2),
            ..Sample::default()
        })
        .collect();
    let refs: Vec<_> = samples.iter().collect();
    Collator::new(0).collate(&refs).unwrap().to_device(&Device::flex().autodiff())
}

fn logits(model: &Decoder) -> Vec<f32> {
    let ids: Vec<i64> = (0..40).map(|at| 3 * at % 90).collect();
    let ids = Tensor::<1, Int>::from_data(ids.as_slice(), &Device::flex());
    let input = TokenInput::new(ids.unsqueeze());
    let mut tape = RoutingTape::new(input.context());
    let hidden = model.hidden_states(&input, None, &mut tape);
    model.logits(hidden).into_data().try_to_vec().unwrap()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |max, (a, b)| max.max((a - b).abs()))
}

/// Two steps of training.
fn steps(mut model: Decoder, config: &AdapterConfig) -> Vec<StepReport> {
    attach(&mut model, config, 1).unwrap();
    let balance = config.balance_loss.as_ref().map(|loss| loss.init().unwrap());
    let learner = LearnerConfig::new(&TrainingConfig::default(), config);
    let mut learner = Learner::new(model, balance, learner).unwrap();
    (0..2).map(|_| learner.step(&[batch()], 1e-3).unwrap()).collect()
}

#[test]
fn training_is_that_over_the_floats() {
    for name in ["bnb_nf4_double", "bnb_int8", "gptq_desc_act", "awq"] {
        let folder = tempfile::tempdir().unwrap();
        load(&golden(name), None).save(folder.path()).unwrap();
        for preset in
            [Preset::Lora, Preset::LoramoePaper, Preset::Slim, Preset::Mixlora, Preset::Dora]
        {
            let config = preset.config();
            let expected = steps(load(folder.path(), None), &config);
            let found = steps(load(&golden(name), None), &config);
            for (found, expected) in found.iter().zip(&expected) {
                let close = |a: f64, b: f64| (a - b).abs() <= 2e-5 * b.abs();
                assert!(close(found.loss, expected.loss), "{preset}: {found:?}, {expected:?}");
                assert!(close(found.grad_norm, expected.grad_norm), "{preset}: {found:?}");
            }
        }
    }
}

#[test]
fn starts_take_their_part_out_of_what_is_held() {
    // PEFT dequantises, takes the part out, and quantises what is left.
    for preset in [Preset::GoatPaper, Preset::Pissa] {
        let config = preset.config();
        let mut model = load(&golden("llama2"), Some(Quantization::Nf4));
        let plain = logits(&model);
        attach(&mut model, &config, 1).unwrap();
        let mut quantized = true;
        model.visit_projections(&mut |_, _, projection| {
            quantized &= matches!(projection.linear(), BaseLinear::Quantized(_));
        });
        assert!(quantized, "{preset}");
        let started = logits(&model);
        let largest = plain.iter().fold(0.0f32, |max, value| max.max(value.abs()));
        assert!(largest_difference(&plain, &started) < 0.3 * largest, "{preset}");

        // What is saved is loaded to the same model.
        let state = adapter_state(&model);
        let mut again = load(&golden("llama2"), Some(Quantization::Nf4));
        attach_saved(&mut again, &config, state, "test").unwrap();
        assert!(largest_difference(&logits(&again), &started) < 1e-5 * largest, "{preset}");
    }
}

#[test]
fn merging_writes_floats_of_what_was_trained() {
    for name in ["bnb_nf4", "gptq_desc_act"] {
        let mut model = load(&golden(name), None);
        let config = Preset::Lora.config();
        attach(&mut model, &config, 1).unwrap();
        let mut state = adapter_state(&model);
        for value in state.values_mut() {
            let moved: Vec<f32> = value.iter::<f32>().map(|value| value + 0.01).collect();
            *value = TensorData::new(moved, value.shape().clone());
        }
        let mut model = load(&golden(name), None);
        attach_saved(&mut model, &config, state, "test").unwrap();
        let expected = logits(&model);
        merge_adapters(&mut model, &FixedRouting::new()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path()).unwrap();
        let found = logits(&load(folder.path(), None));
        let largest = expected.iter().fold(0.0f32, |max, value| max.max(value.abs()));
        assert!(largest_difference(&found, &expected) < 1e-5 * largest, "{name}");
    }
}

#[test]
fn starts_of_groups_become_floats_of_the_same_model() {
    let mut model = load(&golden("gptq_desc_act"), None);
    let plain = logits(&model);
    attach(&mut model, &Preset::Pissa.config(), 1).unwrap();
    let largest = plain.iter().fold(0.0f32, |max, value| max.max(value.abs()));
    assert!(largest_difference(&plain, &logits(&model)) < 1e-5 * largest);
}

#[test]
fn what_needs_a_gradient_of_the_weight_is_refused() {
    let mut model = load(&golden("bnb_nf4"), None);
    let error = attach(&mut model, &Preset::Full.config(), 1).unwrap_err().to_string();
    assert!(error.contains("quantised") && error.contains("_proj"), "{error}");
}
