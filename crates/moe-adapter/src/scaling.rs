use serde::{Deserialize, Serialize};
use svd_init::theoretical_scaling;

use crate::AdapterError;

/// Where the factor `s` of the experts' output comes from.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ScalingRule {
    /// `lora_alpha / r`, or with `use_rslora` `lora_alpha / sqrt(r)`; `r` is the rank of one
    /// expert.
    #[default]
    LoraAlpha,
    /// A number, whatever the rank.
    Constant {
        /// `s`.
        value: f64,
    },
    /// `sqrt(3 eta I / r)`, with which the gradient of a mixture of LoRA experts has the size of
    /// full fine-tuning's (GOAT, arXiv 2502.16894, theorem 3.5). `lora_alpha` is not used.
    Theoretical {
        /// The ratio of full fine-tuning's learning rate to the adapter's: 1 for ViT and RoBERTa,
        /// 0.1 for LLaMA in the paper.
        eta: f64,
    },
}

impl ScalingRule {
    /// The factor of the experts' output in a linear of `in_features` inputs, where `rank` is that
    /// of one expert.
    pub fn value(self, lora_alpha: f64, use_rslora: bool, rank: usize, in_features: usize) -> f64 {
        let r = rank as f64;
        match self {
            Self::LoraAlpha => lora_alpha / if use_rslora { r.sqrt() } else { r },
            Self::Constant { value } => value,
            Self::Theoretical { eta } => theoretical_scaling(eta, in_features, rank),
        }
    }

    pub(crate) fn check(self) -> Result<(), AdapterError> {
        let (key, value) = match self {
            Self::LoraAlpha => return Ok(()),
            Self::Constant { value } => ("scaling.value", value),
            Self::Theoretical { eta } => ("scaling.eta", eta),
        };
        if !(value.is_finite() && value > 0.0) {
            return Err(AdapterError::Scaling { key, value });
        }
        Ok(())
    }
}
