use std::path::{Path, PathBuf};

use thiserror::Error;

/// A folder of results that cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResultsError {
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that holds something else.
    #[error("{}, line {line}: {message}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
}

impl ResultsError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.into(), source }
    }

    pub(crate) fn content(path: &Path, error: &serde_json::Error, lines_before: usize) -> Self {
        let line = lines_before + error.line().max(1);
        Self::Content { path: path.into(), line, message: error.to_string() }
    }
}
