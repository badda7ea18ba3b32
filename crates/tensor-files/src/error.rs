use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file of tensors that cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TensorFileError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not safetensors, or not all of it.
    #[error("{}: not a complete safetensors file: {source}", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// Why.
        source: safetensors::SafeTensorError,
    },
    /// The file is not a dictionary of tensors as PyTorch saves it, or holds more than that.
    #[error("{}: as a file of torch.save: {message}", path.display())]
    PyTorch {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, or not allowed.
        message: String,
    },
}

impl TensorFileError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }
}
