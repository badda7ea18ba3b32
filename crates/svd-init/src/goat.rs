use serde::{Deserialize, Serialize};

use crate::{SpectrumInit, SpectrumSlice, StartScaling, SvdMethod};

/// The keys of `goat` and `goat_mini`. Source: GOAT, arXiv 2502.16894.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GoatConfig {
    /// What the singular values are divided by, beside the scaling. Default: 10.
    pub rho: f64,
    /// The coefficient of the residual. Default: `1 / E`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_cof: Option<f64>,
    /// Which scaling the experts get. Default: `theoretical`, `sqrt(3 eta I / d)`.
    pub scaling: StartScaling,
    /// The ratio of full fine-tuning's learning rate to the adapters'. Default: 1; the paper takes
    /// 0.1 for LLaMA at a learning rate of 1e-4. Only the theoretical scaling reads it.
    pub eta: f64,
    /// Whether each expert has a scaling of its own (GOAT-s). Default: no.
    pub expert_scaling: bool,
}

impl Default for GoatConfig {
    fn default() -> Self {
        Self {
            rho: 10.0,
            init_cof: None,
            scaling: StartScaling::default(),
            eta: 1.0,
            expert_scaling: false,
        }
    }
}

impl GoatConfig {
    /// The start on `slice` of the spectrum.
    pub fn init(&self, slice: SpectrumSlice) -> SpectrumInit {
        SpectrumInit {
            slice,
            rho: Some(self.rho),
            init_cof: self.init_cof,
            scaling: self.scaling,
            eta: self.eta,
            expert_scaling: self.expert_scaling,
            svd: SvdMethod::Full,
        }
    }
}
