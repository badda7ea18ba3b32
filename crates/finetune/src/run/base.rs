use burn::tensor::Device;
use model_zoo::{Decoder, ModelError, TextTokenizer, resolve_model};

use super::ModelConfig;
use super::prepare::{load_base, run_tokenizer};
use crate::train::TrainError;

/// The frozen model of runs, with its tokenizer. Runs on one base share its weights: a
/// [`PreparedRun`](super::PreparedRun) has memory of its own only for what its adapter changes or trains.
#[derive(Debug, Clone)]
pub struct Base {
    pub(super) tokenizer: TextTokenizer,
    pub(super) model: Decoder,
}

impl Base {
    /// Reads a model, downloaded where it is not here, and its tokenizer.
    ///
    /// # Errors
    ///
    /// [`TrainError`] naming the file, key or tensor at fault.
    pub fn load(config: &ModelConfig, device: &Device) -> Result<Self, TrainError> {
        let folder =
            resolve_model(&config.path, config.revision.as_deref()).map_err(ModelError::from)?;
        let tokenizer = run_tokenizer(config, &folder)?;
        let model = load_base(&folder, config, device)?;
        Ok(Self { tokenizer, model })
    }
}
