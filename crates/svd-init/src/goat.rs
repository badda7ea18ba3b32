use serde::{Deserialize, Serialize};

use crate::principal::is_one;
use crate::{SpectrumInit, SpectrumSlice, SvdMethod};

/// The keys of `goat` and `goat_mini`. Source: GOAT, arXiv 2502.16894.
///
/// The scaling is the layer's; [`theoretical_scaling`](crate::theoretical_scaling) is the paper's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GoatConfig {
    /// What the singular values are divided by, beside the scaling. Default: 10.
    pub rho: f64,
    /// The coefficient of the residual. Default: `1 / E`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_cof: Option<f64>,
    /// Whether each expert has a scaling of its own (GOAT-s). Default: no.
    pub expert_scaling: bool,
    /// How often the factors are found where what is left of the weight is quantised; see
    /// [`SpectrumInit::loftq_iter`]. Default: 1.
    #[serde(skip_serializing_if = "is_one")]
    pub loftq_iter: usize,
}

impl Default for GoatConfig {
    fn default() -> Self {
        Self { rho: 10.0, init_cof: None, expert_scaling: false, loftq_iter: 1 }
    }
}

impl GoatConfig {
    /// The start on `slice` of the spectrum.
    pub fn init(&self, slice: SpectrumSlice) -> SpectrumInit {
        SpectrumInit {
            slice,
            rho: Some(self.rho),
            init_cof: self.init_cof,
            expert_scaling: self.expert_scaling,
            svd: SvdMethod::Full,
            loftq_iter: self.loftq_iter,
        }
    }
}
