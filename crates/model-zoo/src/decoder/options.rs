use std::path::Path;

use quantization::Quantization;

use crate::{WeightDType, WeightError, WeightSource};

/// How a model is loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The element type of the weights in memory. Default: [`WeightDType::AsStored`].
    pub dtype: WeightDType,
    /// Loads `qkv_proj` and `gate_up_proj` (Phi 3) as the linears that they are made of, so that
    /// adapters target `q_proj`, `gate_proj` and so on, and blocks can have one router.
    pub split_fused: bool,
    /// Quantises the linears that adapters can be put on while they are loaded. Norms, embeddings,
    /// the output head and biases stay floats. Default: as they are stored.
    pub quantization: Option<Quantization>,
}

impl LoadOptions {
    /// The weights of a folder, as they are to be held where products do not widen halves.
    pub(crate) fn open(&self, folder: impl AsRef<Path>) -> Result<WeightSource, WeightError> {
        let dtype = self.dtype.computed();
        WeightSource::open(folder, dtype)?.with_quantization(self.quantization)
    }

    /// As [`open`](Self::open), where products do.
    pub(crate) fn open_widened(
        &self,
        folder: impl AsRef<Path>,
    ) -> Result<WeightSource, WeightError> {
        WeightSource::open(folder, self.dtype)?.with_quantization(self.quantization)
    }
}
