use std::path::PathBuf;

use record_files::{FileForm, ReadOptions};
use serde::{Deserialize, Serialize};

use super::LabelledColumns;

/// A file of labelled rows, several of one kind, or a folder of images by label.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelledFile {
    /// JSON, JSON Lines, CSV, TSV, Parquet (feature `parquet`) or Arrow IPC (feature `arrow`), also
    /// packed as `.gz` (feature `gzip`) or `.zst` (feature `parquet`); a folder of such files, or a pattern with `*`; or a
    /// folder that holds one folder of images for each label.
    pub path: PathBuf,
    /// What the file is where its name does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<FileFormat>,
    /// The names of a table's columns, where its first line is a row already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column_names: Option<Vec<String>>,
    /// Whether quotation marks in a table enclose values. Default true; the files of GLUE are to be
    /// read without.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub quoting: bool,
    /// Task type of its rows (for LoRAMoE: 1 world knowledge, 0 other tasks).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_type: Option<u32>,
    /// The names of columns where they are not the usual ones.
    #[serde(default, skip_serializing_if = "LabelledColumns::is_empty")]
    pub columns: LabelledColumns,
    /// Rows and columns, or channels, rows and columns, of an image whose pixels are columns.
    /// Default: a square of one channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_shape: Option<Vec<usize>>,
}

fn yes() -> bool {
    true
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileFormat {
    /// Values separated by commas.
    Csv,
    /// Values separated by tabs.
    Tsv,
    /// A JSON array, or JSON Lines.
    Json,
    /// Parquet.
    Parquet,
    /// Arrow IPC.
    Arrow,
}

impl LabelledFile {
    /// A file whose columns have the usual names.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), quoting: true, ..Self::default() }
    }

    /// How its rows are read.
    pub(super) fn options(&self) -> ReadOptions {
        ReadOptions {
            form: self.format.map(|format| match format {
                FileFormat::Csv | FileFormat::Tsv => FileForm::Table,
                FileFormat::Json => FileForm::Json,
                FileFormat::Parquet => FileForm::Parquet,
                FileFormat::Arrow => FileForm::Arrow,
            }),
            delimiter: match self.format {
                Some(FileFormat::Csv) => Some(b','),
                Some(FileFormat::Tsv) => Some(b'\t'),
                _ => None,
            },
            column_names: self.column_names.clone(),
            no_quoting: !self.quoting,
            untyped: true,
            ..ReadOptions::default()
        }
    }
}
