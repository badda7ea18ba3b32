use serde::{Deserialize, Serialize};

use crate::{BalanceLoss, BalanceLossError, LocalizedBalancingConfig};

/// A balance loss as configuration files name it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BalanceLossConfig {
    /// See [`LocalizedBalancing`](crate::LocalizedBalancing).
    LocalizedBalancing(LocalizedBalancingConfig),
}

impl BalanceLossConfig {
    /// Checks the configuration and makes the loss.
    ///
    /// # Errors
    ///
    /// [`BalanceLossError`] naming the field that cannot work.
    pub fn init(&self) -> Result<Box<dyn BalanceLoss>, BalanceLossError> {
        match self {
            Self::LocalizedBalancing(config) => Ok(Box::new(config.init()?)),
        }
    }

    /// Whether every sample must have a task type.
    pub fn needs_task_types(&self) -> bool {
        match self {
            Self::LocalizedBalancing(config) => config.blc_weight > 0.0,
        }
    }
}
