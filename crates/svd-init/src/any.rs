use burn::tensor::Tensor;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::{BankShape, ExpertInit, ExpertStart, InitError, LayerStatistics, LoraInit};

/// A start as configuration files name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum InitConfig {
    /// See [`LoraInit`].
    #[default]
    Lora,
}

impl ExpertInit for InitConfig {
    fn start(
        &self,
        weight: &Tensor<2>,
        shape: &BankShape,
        statistics: &LayerStatistics,
        rng: &mut dyn Rng,
    ) -> Result<ExpertStart, InitError> {
        match self {
            Self::Lora => LoraInit.start(weight, shape, statistics, rng),
        }
    }
}
