use serde::{Deserialize, Serialize};

use super::ParamGroup;
use crate::train::TrainingConfig;

/// An optimiser; the names are those of transformers' `optim`, without what tells apart
/// implementations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// AdamW. Source: Loshchilov and Hutter, arXiv 1711.05101.
    #[default]
    #[serde(alias = "adamw_torch", alias = "adamw_torch_fused")]
    Adamw,
    /// AdamW whose moments are held in 8 bits, in blocks of 256, of parameters with at least
    /// 4,096 elements. Source: Dettmers et al., arXiv 2110.02861.
    #[serde(rename = "adamw_8bit", alias = "adamw_bnb_8bit")]
    Adamw8bit,
    /// Adafactor, whose second moments are two vectors for each matrix, with the learning rate as it
    /// is given: without relative steps, nor scaled by the size of parameters, as transformers'
    /// `Trainer` sets it up. Source: Shazeer and Stern, arXiv 1804.04235.
    Adafactor,
    /// Lion, the sign of a momentum. Source: Chen et al., arXiv 2302.06675.
    #[serde(alias = "lion_32bit")]
    Lion,
    /// Muon, a momentum made orthogonal: each expert's matrix by itself; what is no matrix is
    /// trained by AdamW. Source: Jordan et al., <https://kellerjordan.github.io/posts/muon>, with the
    /// rates of Liu et al., arXiv 2502.16982.
    Muon,
    /// Stochastic gradient descent.
    Sgd,
}

/// An optimiser with its numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerConfig {
    /// Which one.
    pub kind: OptimizerKind,
    /// The peak of the learning rate, which those of groups are compared with. Steps are given
    /// theirs.
    pub learning_rate: f64,
    /// The weight decay: decoupled from the gradient, but for SGD.
    pub weight_decay: f64,
    /// The decay of the first moment of AdamW and Lion.
    pub beta1: f64,
    /// The decay of the second moment of AdamW, and of Lion's momentum.
    pub beta2: f64,
    /// AdamW's epsilon.
    pub epsilon: f64,
    /// The momentum of SGD (default 0) and Muon (default 0.95).
    pub momentum: Option<f64>,
    /// LoRA+: the learning rate of every `B` of an adapter is this many times that of the rest.
    pub loraplus_lr_ratio: Option<f64>,
    /// The decay of an average of what is trained ([`TrainingConfig::ema_decay`]); 0 takes none.
    pub ema_decay: f64,
    /// Parameters that are trained otherwise.
    pub param_groups: Vec<ParamGroup>,
}

/// AdamW with the defaults of transformers.
impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::from(&TrainingConfig::default())
    }
}

impl From<&TrainingConfig> for OptimizerConfig {
    fn from(config: &TrainingConfig) -> Self {
        Self {
            kind: config.optim,
            learning_rate: config.learning_rate,
            weight_decay: config.weight_decay,
            beta1: config.adam_beta1,
            beta2: config.adam_beta2,
            epsilon: config.adam_epsilon,
            momentum: config.momentum,
            loraplus_lr_ratio: None,
            ema_decay: config.ema_decay,
            param_groups: config.param_groups.clone(),
        }
    }
}
