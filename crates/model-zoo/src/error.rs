use std::path::PathBuf;

use thiserror::Error;

use crate::{ConfigError, HubError, WeightError};

/// A model that cannot be read from its folder, or written to one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The configuration is at fault.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The weights are at fault.
    #[error(transparent)]
    Weights(#[from] WeightError),
    /// The model is not here, and cannot be downloaded.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The folder or a file in it cannot be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
