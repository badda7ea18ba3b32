use std::path::{Path, PathBuf};

use moe_adapter::write_atomically;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StudyConfig;
use crate::train::TrainError;

const CONFIG_FILE: &str = "study.json";

/// The folder of a study: its configuration, and one file for each thing that was measured, so
/// that a study that was interrupted goes on where it was.
pub(super) struct Store {
    folder: PathBuf,
}

impl Store {
    /// Opens the folder of a study, or makes it.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when the folder holds another study or cannot be used.
    pub(super) fn open(folder: &Path, config: &StudyConfig) -> Result<Self, TrainError> {
        let path = folder.join(CONFIG_FILE);
        let state = |message: String| TrainError::State { path: path.clone(), message };
        let text =
            serde_json::to_string_pretty(config).map_err(|error| state(error.to_string()))?;
        if path.exists() {
            let found = std::fs::read_to_string(&path).map_err(TrainError::io(&path))?;
            if found != text {
                return Err(state(
                    "the folder holds a study of another configuration; restore it, or choose \
                     another --output"
                        .into(),
                ));
            }
        } else {
            write_atomically(&path, text.as_bytes()).map_err(TrainError::io(&path))?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// What was measured before, where it was.
    pub(super) fn get<T: DeserializeOwned>(
        &self,
        kind: &str,
        name: &str,
    ) -> Result<Option<T>, TrainError> {
        let path = self.path(kind, name);
        if !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(TrainError::io(&path))?;
        serde_json::from_str(&text).map(Some).map_err(|error| TrainError::State {
            path,
            message: format!("{error}; delete the file to measure it again"),
        })
    }

    /// Keeps what was measured.
    pub(super) fn put<T: Serialize>(
        &self,
        kind: &str,
        name: &str,
        value: &T,
    ) -> Result<(), TrainError> {
        let path = self.path(kind, name);
        let text = serde_json::to_string(value).map_err(|error| TrainError::State {
            path: path.clone(),
            message: error.to_string(),
        })?;
        write_atomically(&path, text.as_bytes()).map_err(TrainError::io(&path))
    }

    /// A folder for what can be made again.
    pub(super) fn cache(&self) -> PathBuf {
        self.folder.join("cache")
    }

    fn path(&self, kind: &str, name: &str) -> PathBuf {
        let safe = |c: char| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' };
        let name: String = name.chars().map(safe).collect();
        self.folder.join(kind).join(format!("{name}.json"))
    }
}
