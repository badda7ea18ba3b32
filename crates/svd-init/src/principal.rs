use serde::{Deserialize, Serialize};

use crate::{SpectrumInit, SpectrumSlice, SvdMethod};

/// The keys of `pissa`, `milora` and `pissa_milora`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrincipalConfig {
    /// What the singular values are divided by. Default: 1 for a single expert, as in PiSSA and
    /// MiLoRA; 10 for a mixture, as in GOAT's comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rho: Option<f64>,
    /// The coefficient of the residual. Default: `1 / E`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_cof: Option<f64>,
    /// How the leading triplets of `pissa` are found; the others take the full decomposition.
    pub svd: SvdMethod,
    /// How often the factors are found where what is left of the weight is quantised; see
    /// [`SpectrumInit::loftq_iter`]. Default: 1.
    #[serde(skip_serializing_if = "is_one")]
    pub loftq_iter: usize,
}

impl Default for PrincipalConfig {
    fn default() -> Self {
        Self { rho: None, init_cof: None, svd: SvdMethod::default(), loftq_iter: 1 }
    }
}

/// Whether a number of rounds is the default.
pub(crate) fn is_one(rounds: &usize) -> bool {
    *rounds == 1
}

impl PrincipalConfig {
    /// The start on `slice` of the spectrum.
    pub fn init(&self, slice: SpectrumSlice) -> SpectrumInit {
        SpectrumInit {
            slice,
            rho: self.rho,
            init_cof: self.init_cof,
            expert_scaling: false,
            svd: self.svd,
            loftq_iter: self.loftq_iter,
        }
    }
}
