use balance_loss::{BalanceLossConfig, LocalizedBalancingConfig};
use moe_adapter::{AdapterConfig, Preset};
use serde::{Deserialize, Serialize};

use crate::world::WorldConfig;

/// The sizes of the experiment. The defaults fit five minutes on two cores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DemoConfig {
    /// Everything random follows from it.
    pub seed: u64,
    /// The world of facts.
    pub world: WorldConfig,
    /// The width of the model.
    pub hidden_size: usize,
    /// The width of its feed-forward blocks.
    pub intermediate_size: usize,
    /// Its layers.
    pub num_hidden_layers: usize,
    /// Its attention heads.
    pub num_attention_heads: usize,
    /// The standard deviation of its first weights.
    pub initializer_range: f64,
    /// The steps of the pre-training.
    pub pretraining_steps: usize,
    /// The sentences of a step of the pre-training.
    pub pretraining_batch_size: usize,
    /// The peak learning rate of the pre-training.
    pub pretraining_learning_rate: f64,
    /// The amounts of tuning data, in samples; each sample is seen once.
    pub samples: Vec<usize>,
    /// The samples of a step of the tuning.
    pub batch_size: usize,
    /// The share of a tuning run that is warm-up; then the rate falls along a cosine.
    pub warmup_ratio: f64,
    /// The evaluated inputs of each task; half of them are for the search.
    pub inputs_per_task: usize,
    /// The methods to compare.
    pub methods: Vec<DemoMethod>,
}

/// A method of the demo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DemoMethod {
    /// Its name in the report.
    pub name: String,
    /// Its adapter. The rank of a single LoRA is solved for so that all methods have as many
    /// trainable parameters as the first mixture.
    pub adapter: AdapterConfig,
    /// Its peak learning rate, as found by the search.
    pub learning_rate: f64,
}

impl DemoMethod {
    /// LoRA with alpha twice the rank, the usual choice.
    pub fn lora() -> Self {
        let adapter = AdapterConfig { lora_dropout: 0.0, ..Preset::Lora.config() };
        Self { name: "LoRA".into(), adapter, learning_rate: 1e-3 }
    }

    /// LoRAMoE with 8 experts, otherwise as in its paper.
    pub fn loramoe() -> Self {
        let adapter = AdapterConfig {
            num_experts: 8,
            lora_dropout: 0.0,
            balance_loss: Some(BalanceLossConfig::LocalizedBalancing(
                LocalizedBalancingConfig::default(),
            )),
            ..Preset::LoramoePaper.config()
        };
        Self { name: "LoRAMoE".into(), adapter, learning_rate: 1e-3 }
    }
}

impl Default for DemoConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            world: WorldConfig::default(),
            hidden_size: 128,
            intermediate_size: 344,
            num_hidden_layers: 4,
            num_attention_heads: 4,
            initializer_range: 0.1,
            pretraining_steps: 600,
            pretraining_batch_size: 48,
            pretraining_learning_rate: 2e-3,
            samples: vec![8_000, 24_000, 64_000],
            batch_size: 32,
            warmup_ratio: 0.1,
            inputs_per_task: 50,
            methods: vec![DemoMethod::lora(), DemoMethod::loramoe()],
        }
    }
}
