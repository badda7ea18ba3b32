//! A task that a tiny random model learns in seconds: each token decides the next.

use lora_moe::burn::tensor::Device;
use lora_moe::data::{Collator, DeviceBatch, Sample};
use lora_moe::model_zoo::DecoderConfig;

/// A decoder for the 32 tokens of the task.
pub fn tiny_decoder() -> DecoderConfig {
    let mut config = DecoderConfig::new(32, 32, 64, 2, 4);
    config.initializer_range = 0.2; // a frozen random head needs larger weights to be of use
    config
}

/// Eight sequences of the task, of type 1 and 0 in turn.
pub fn pattern(device: &Device) -> anyhow::Result<DeviceBatch> {
    let sample = |index: u32| {
        let next = |token: &u32| Some((5 * token + 3) % 32);
        Sample {
            input_ids: std::iter::successors(Some(4 * index), next).take(16).collect(),
            target_mask: (0..16).map(|position| position > 0).collect(),
            task_type: Some((index + 1) % 2),
            ..Sample::default()
        }
    };
    let samples: Vec<Sample> = (0..8).map(sample).collect();
    let batch = Collator::new(0).collate(&samples.iter().collect::<Vec<_>>())?;
    Ok(batch.to_device(device))
}
