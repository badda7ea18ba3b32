use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Columns, Shape, Tags};

/// One data file or several of one kind, with what its records do not say themselves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFile {
    /// JSON, JSON Lines, CSV, TSV, Parquet (feature `parquet`) or Arrow (feature `arrow`), also packed
    /// as `.gz` (feature `gzip`) or `.zst` (feature `parquet`); or a folder of such files or of
    /// `save_to_disk`, a pattern with `*`, or `hf://datasets/organisation/name` (feature `hub`).
    pub path: PathBuf,
    /// Task type of the records that carry none (for LoRAMoE: 1 world knowledge, 0 other tasks).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_type: Option<u32>,
    /// How much of an epoch this entry gets, relative to the others, as [`Mixture`](super::Mixture)
    /// says. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// What the columns are; otherwise the first row tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    /// The names of columns where they are not the usual ones.
    #[serde(default, skip_serializing_if = "Columns::is_empty")]
    pub columns: Columns,
    /// How turns of conversations are written where that is not usual.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
}

impl DataFile {
    /// A file without a default task type.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
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
