use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One data file, with what its records do not say themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFile {
    /// JSON, JSON Lines, CSV, TSV, or Parquet (feature `parquet`).
    pub path: PathBuf,
    /// Task type of the records that carry none (for LoRAMoE: 1 world knowledge, 0 other tasks).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_type: Option<u32>,
}

impl DataFile {
    /// A file without a default task type.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), task_type: None }
    }

    /// The same file with a default task type.
    pub fn with_task_type(mut self, task_type: u32) -> Self {
        self.task_type = Some(task_type);
        self
    }
}

impl<P: Into<PathBuf>> From<P> for DataFile {
    fn from(path: P) -> Self {
        Self::new(path)
    }
}
