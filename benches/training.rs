//! One training step on a small decoder, by method: forward, loss, backward, clipping, AdamW.
//!
//! ```text
//! cargo bench --bench training
//! LORA_MOE_DEVICE=cuda:0 cargo bench -p benches --features cuda --bench training
//! ```
//!
//! The same for LoRA and LoRAMoE in PyTorch:
//! `python benches/pytorch/train_step.py --size small --batch-size 4 --seq-len 128`.
//! Models of other sizes: `lora-moe bench train`.

mod common;

use common::{certain, criterion, device, finish, wait};
use criterion::{BenchmarkId, Throughput};
use lora_moe::burn::module::Module;
use lora_moe::burn::tensor::Device;
use lora_moe::data::{Collator, DeviceBatch, Sample};
use lora_moe::finetune::train::{Learner, LearnerConfig, TrainError, TrainingConfig};
use lora_moe::model_zoo::{CausalLm, Decoder, DecoderConfig};
use lora_moe::moe_adapter::{AdapterConfig, AdapterError, Preset, attach};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const VOCABULARY: usize = 1024;
const BATCH: [usize; 2] = [4, 128];

/// The presets as they are, and LoRAMoE with the total rank of LoRA's.
fn methods() -> Vec<(String, AdapterConfig)> {
    let mut methods: Vec<_> =
        Preset::ALL.iter().map(|preset| (preset.to_string(), preset.config())).collect();
    let equal = AdapterConfig { num_experts: 8, ..Preset::LoramoePaper.config() };
    methods.push(("loramoe-paper-8".to_owned(), equal));
    methods
}

fn main() -> Result<(), TrainError> {
    let device = device();
    let mut config = DecoderConfig::new(VOCABULARY, 256, 688, 4, 4);
    config.max_position_embeddings = BATCH[1];
    let base: Decoder = certain(Decoder::init_random(&config, 0, &device)).no_grad();
    let mut criterion = criterion();
    let mut group = criterion.benchmark_group("training");
    let [samples, len] = BATCH;
    group.throughput(Throughput::Elements((samples * len) as u64));
    for (name, method) in methods() {
        group.bench_function(BenchmarkId::new(name, format!("B{samples}/S{len}")), |bencher| {
            let mut learner = certain(learner(base.clone(), &method));
            let batch = certain(batch(&learner.model().device()));
            bencher.iter(|| {
                let report = certain(learner.step(std::slice::from_ref(&batch), 1e-4));
                wait(&device);
                report
            });
        });
    }
    group.finish();
    finish(criterion);
    Ok(())
}

fn learner(mut model: Decoder, method: &AdapterConfig) -> Result<Learner<Decoder>, TrainError> {
    attach(&mut model, method, 0)?;
    let balance = match &method.balance_loss {
        Some(loss) => Some(loss.init().map_err(AdapterError::from)?),
        None => None,
    };
    Learner::new(model, balance, LearnerConfig::new(&TrainingConfig::default(), method))
}

/// Random tokens, each of them a target; half of the samples are of task type 1.
fn batch(device: &Device) -> Result<DeviceBatch, TrainError> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let [samples, len] = BATCH;
    let samples: Vec<_> = (0..samples as u32)
        .map(|row| Sample {
            input_ids: (0..len).map(|_| rng.random_range(0..VOCABULARY as u32)).collect(),
            target_mask: (0..len).map(|at| at > 0).collect(),
            task_type: Some(row % 2),
            ..Sample::default()
        })
        .collect();
    let samples: Vec<_> = samples.iter().collect();
    Ok(Collator::new(0).collate(&samples)?.to_device(device))
}
