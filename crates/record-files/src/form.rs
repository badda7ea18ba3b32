use std::path::Path;

use crate::packing;

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileForm {
    /// A JSON array of objects, JSON Lines, or an object with a field of rows: the content tells.
    Json,
    /// Values separated by commas, or by tabs in `.tsv`.
    Table,
    /// Plain text.
    Text,
    /// Parquet.
    Parquet,
    /// Arrow IPC: a file (Feather's second version) or a stream, which the content tells.
    Arrow,
}

impl FileForm {
    /// The form that the extension stands for (before `.gz` or `.zst`); JSON is known by its content
    /// too.
    pub fn of_extension(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        match packing::unpacked(&name).rsplit_once('.')?.1 {
            "json" | "jsonl" | "ndjson" => Some(Self::Json),
            "csv" | "tsv" => Some(Self::Table),
            "txt" | "raw" => Some(Self::Text),
            "parquet" => Some(Self::Parquet),
            "arrow" | "feather" | "ipc" => Some(Self::Arrow),
            _ => None,
        }
    }
}
