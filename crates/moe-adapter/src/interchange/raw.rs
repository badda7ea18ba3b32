use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tensor_files::{TensorTable, write_atomically};

use super::{AdapterFormat, Source, WeightsFile};
use crate::{ADAPTER_CONFIG_FILE, AdapterError};

/// The keys and tensors of an adapter folder, not yet understood.
#[derive(Debug, Clone)]
pub(super) struct RawAdapter {
    /// The folder, for messages.
    pub(super) folder: PathBuf,
    /// The file of the tensors, for messages.
    pub(super) weights: PathBuf,
    pub(super) config: Map<String, Value>,
    pub(super) table: TensorTable,
}

impl RawAdapter {
    /// An adapter that is in no folder yet.
    pub(super) fn new(config: Map<String, Value>, table: TensorTable) -> Self {
        let folder = PathBuf::from("the adapter");
        Self { weights: folder.clone(), folder, config, table }
    }

    pub(super) fn read(folder: &Path) -> Result<Self, AdapterError> {
        let path = folder.join(ADAPTER_CONFIG_FILE);
        let text = std::fs::read_to_string(&path)
            .map_err(|source| AdapterError::Io { path: path.clone(), source })?;
        let config = serde_json::from_str(&text)
            .map_err(|source| AdapterError::Config { path: path.clone(), source })?;
        let candidates = WeightsFile::ALL.map(|file| folder.join(file.file_name()));
        let Some(weights) = candidates.iter().find(|path| path.is_file()) else {
            return Err(AdapterError::NoWeights { folder: folder.into() });
        };
        let table = TensorTable::read(weights)?;
        Ok(Self { folder: folder.into(), weights: weights.clone(), config, table })
    }

    /// Writes the folder; Python's projects end the configuration without a newline.
    pub(super) fn write(
        &self,
        folder: &Path,
        file: WeightsFile,
        end: &str,
    ) -> Result<(), AdapterError> {
        self.table.write(&folder.join(file.file_name()))?;
        let path = folder.join(ADAPTER_CONFIG_FILE);
        let mut text = serde_json::to_string_pretty(&self.config)
            .map_err(|source| AdapterError::Config { path: path.clone(), source })?;
        text.push_str(end);
        write_atomically(&path, text.as_bytes()).map_err(|source| AdapterError::Io { path, source })
    }

    /// What is kept of it, to write it again as it was.
    pub(super) fn source(&self, format: AdapterFormat) -> Source {
        let (config, metadata) = (self.config.clone(), self.table.metadata.clone());
        Source { format, config, metadata }
    }

    pub(super) fn config_path(&self) -> PathBuf {
        self.folder.join(ADAPTER_CONFIG_FILE)
    }
}
