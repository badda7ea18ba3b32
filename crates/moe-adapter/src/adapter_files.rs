use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tensor_files::{TensorTable, write_atomically};

use crate::{ADAPTER_CONFIG_FILE, AdapterError, WeightsFile};

/// The keys and tensors of an adapter's folder, not yet understood: what a layout is read from, and
/// written to.
#[derive(Debug, Clone)]
pub struct AdapterFiles {
    /// The folder, for messages.
    pub folder: PathBuf,
    /// The file of the tensors, for messages.
    pub weights: PathBuf,
    /// The keys of `adapter_config.json`.
    pub config: Map<String, Value>,
    /// The tensors, and what their file says of itself.
    pub table: TensorTable,
    /// The adapters that this one is made of, with the names of their folders inside of its own.
    pub parts: Vec<(String, AdapterFiles)>,
}

impl AdapterFiles {
    /// An adapter that is in no folder yet.
    pub fn new(config: Map<String, Value>, table: TensorTable) -> Self {
        let folder = PathBuf::from("the adapter");
        Self { weights: folder.clone(), folder, config, table, parts: Vec::new() }
    }

    /// Reads a folder, without parts.
    ///
    /// # Errors
    ///
    /// [`AdapterError`] naming the file that cannot be read, or the folder that lacks tensors.
    pub fn read(folder: &Path) -> Result<Self, AdapterError> {
        let path = folder.join(ADAPTER_CONFIG_FILE);
        let text = std::fs::read_to_string(&path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => {
                let what = match () {
                    () if !folder.exists() => "there is no such folder",
                    () if folder.join("config.json").is_file() => {
                        "is the folder of a model, not of an adapter"
                    }
                    () => "is not the folder of an adapter: it has no adapter_config.json",
                };
                AdapterError::NoAdapterFolder { folder: folder.into(), what }
            }
            _ => AdapterError::Io { path: path.clone(), source },
        })?;
        let config = serde_json::from_str(&text)
            .map_err(|source| AdapterError::Config { path: path.clone(), source })?;
        let candidates = WeightsFile::ALL.map(|file| folder.join(file.file_name()));
        let Some(weights) = candidates.iter().find(|path| path.is_file()) else {
            return Err(AdapterError::NoWeights { folder: folder.into() });
        };
        let table = TensorTable::read(weights)?;
        let parts = Vec::new();
        Ok(Self { folder: folder.into(), weights: weights.clone(), config, table, parts })
    }

    /// Writes the folder and those of its parts, each file atomically. `end` is what the configuration ends with: Python's
    /// projects write no newline.
    ///
    /// # Errors
    ///
    /// [`AdapterError`] when a file cannot be written.
    pub fn write(&self, folder: &Path, file: WeightsFile, end: &str) -> Result<(), AdapterError> {
        for (name, part) in &self.parts {
            part.write(&folder.join(name), file, end)?;
        }
        self.table.write(&folder.join(file.file_name()))?;
        // One of a folder without a configuration, which a command that was ended has left.
        for other in WeightsFile::ALL.into_iter().filter(|other| *other != file) {
            let path = folder.join(other.file_name());
            if path.is_file() {
                std::fs::remove_file(&path).map_err(|source| AdapterError::Io { path, source })?;
            }
        }
        let path = folder.join(ADAPTER_CONFIG_FILE);
        let mut text = serde_json::to_string_pretty(&self.config)
            .map_err(|source| AdapterError::Config { path: path.clone(), source })?;
        text.push_str(end);
        write_atomically(&path, text.as_bytes()).map_err(|source| AdapterError::Io { path, source })
    }

    /// Its configuration file, for messages.
    pub fn config_path(&self) -> PathBuf {
        self.folder.join(ADAPTER_CONFIG_FILE)
    }
}
