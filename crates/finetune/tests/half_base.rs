//! A base model in a half type trains as the same model in f32.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use burn::tensor::{DType, Device};
use data::{Collator, Sample};
use finetune::run::{ModelConfig, load_base};
use finetune::train::{Learner, LearnerConfig, StepReport, TrainingConfig};
use model_zoo::{CausalLm, WeightDType};
use moe_adapter::{Preset, attach};

/// Two steps on a model whose file holds bf16.
fn steps(preset: Preset, dtype: WeightDType) -> Vec<StepReport> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../model-zoo/tests/golden/llama2_sharded_bf16");
    let source = ModelConfig {
        path: folder.clone(),
        revision: None,
        dtype,
        quantization: None,
        split_fused: false,
        svd_cache: None,
        new_head: None,
        untie_head: false,
        new_tokens: Vec::new(),
    };
    let mut model = load_base(&folder, &source, &Device::flex()).unwrap();
    let config = preset.config();
    attach(&mut model, &config, 1).unwrap();
    let balance = config.balance_loss.as_ref().map(|loss| loss.init().unwrap());
    let learner = LearnerConfig::new(&TrainingConfig::default(), &config);
    let mut learner = Learner::new(model, balance, learner).unwrap();
    let samples: Vec<Sample> = (0..2_u32)
        .map(|row| Sample {
            input_ids: (0..40).map(|at| (7 * row + 3 * at) % 90).collect(),
            target_mask: (0..40).map(|at| at > 0).collect(),
            task_type: Some(row % 2),
            ..Sample::default()
        })
        .collect();
    let refs: Vec<_> = samples.iter().collect();
    let batch = Collator::new(0).collate(&refs).unwrap().to_device(&learner.model().device());
    (0..2).map(|_| learner.step(std::slice::from_ref(&batch), 1e-3).unwrap()).collect()
}

#[test]
fn bf16_matrices_train_as_the_f32_ones_that_they_stand_for() {
    let presets = [
        Preset::Lora,
        Preset::LoramoePaper,
        Preset::Slim,
        Preset::Mixlora,
        Preset::Dora,
        // Starts that change the weights.
        Preset::GoatPaper,
        Preset::Pissa,
    ];
    for preset in presets {
        let expected = steps(preset, WeightDType::F32);
        let found = steps(preset, WeightDType::AsStored);
        for (found, expected) in found.iter().zip(&expected) {
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-5 * b.abs();
            assert!(close(found.loss, expected.loss), "{preset}: {found:?}, {expected:?}");
            assert!(close(found.grad_norm, expected.grad_norm), "{preset}: {found:?}");
        }
    }
}

#[test]
fn trained_parts_of_a_half_model_are_f32() {
    use burn::module::{Module, ModuleVisitor, Param};
    use burn::tensor::Tensor;
    struct Types(Vec<DType>);
    impl ModuleVisitor for Types {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.is_require_grad() {
                self.0.push(param.val().dtype());
            }
        }
    }
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../model-zoo/tests/golden/llama2_sharded_bf16");
    let source = ModelConfig {
        path: folder.clone(),
        revision: None,
        dtype: WeightDType::AsStored,
        quantization: None,
        split_fused: false,
        svd_cache: None,
        new_head: None,
        untie_head: false,
        new_tokens: Vec::new(),
    };
    let mut model = load_base(&folder, &source, &Device::flex()).unwrap();
    attach(&mut model, &Preset::Full.config(), 1).unwrap();
    let mut types = Types(Vec::new());
    model.train().visit(&mut types);
    assert!(!types.0.is_empty() && types.0.iter().all(|dtype| *dtype == DType::F32));
}
