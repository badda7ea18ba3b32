use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file of rows that cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordFileError {
    /// The file system refused, or a compressed file is damaged.
    #[error("cannot read {}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that should be text is not.
    #[error("{}: not UTF-8 at byte {offset}", file.display())]
    NotUtf8 {
        /// The file.
        file: PathBuf,
        /// The first byte that is wrong.
        offset: usize,
    },
    /// Neither the extension nor the first character says what the file is.
    #[error("{}: not JSON, which begins with `[` or `{{`, but `{found}`; a table's name ends in \
        .csv or .tsv, text's in .txt, Parquet's in .parquet, Arrow's in .arrow or .feather", file.display())]
    UnknownForm {
        /// The file.
        file: PathBuf,
        /// What it begins with.
        found: String,
    },
    /// Text that is not JSON.
    #[error("{}, line {line}: {source}", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says; its line counts from where the row begins.
        source: serde_json::Error,
    },
    /// A row that is no object.
    #[error("{}, {place}: a row is an object of named values, not `{found}`", file.display())]
    NotARow {
        /// The file.
        file: PathBuf,
        /// The line or the index.
        place: String,
        /// What stands there.
        found: String,
    },
    /// A JSON object without the field of rows.
    #[error("{}: no list of rows under `{field}`; the keys are {keys}", file.display())]
    NoField {
        /// The file.
        file: PathBuf,
        /// The key that was looked for.
        field: String,
        /// What there is.
        keys: String,
    },
    /// An object over several lines, which is not JSON Lines.
    #[error("{}: one JSON object over several lines, with the keys {keys}, where a list of rows or a row a \
        line is read; a task names the key that holds its rows by `field`", file.display())]
    OneObject {
        /// The file.
        file: PathBuf,
        /// What there is.
        keys: String,
    },
    /// A table with a line of another length, or with no or equal names.
    #[error("{}{}: {message}", file.display(), line.map(|l| format!(", line {l}")).unwrap_or_default())]
    Table {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: Option<u64>,
        /// What is wrong.
        message: String,
    },
    /// Not a complete Parquet file, or a value that a row cannot hold.
    #[error("{}: Parquet: {message}", file.display())]
    Parquet {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Not a complete Arrow file or stream, or a column that a row cannot hold.
    #[error("{}: Arrow: {message}", file.display())]
    Arrow {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A form that was not compiled in.
    #[error("{}: reading it needs the feature `{feature}`; build with `--features {feature}`", file.display())]
    NeedsFeature {
        /// The file.
        file: PathBuf,
        /// The feature of Cargo.
        feature: &'static str,
    },
}

impl RecordFileError {
    pub(crate) fn io(file: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |source| Self::Io { file: file.to_owned(), source }
    }
}
