use std::path::Path;

use super::WeightError;
use super::pytorch::PyTorchFile;
use super::safetensors_file::SafetensorsFile;
use super::stored_tensor::StoredTensor;

/// A file of weights in one of the formats.
#[derive(Debug)]
pub(super) enum WeightFile {
    Safetensors(SafetensorsFile),
    PyTorch(PyTorchFile),
}

impl WeightFile {
    /// Opens a file; the end of its name decides the format.
    pub(super) fn open(path: &Path) -> Result<Self, WeightError> {
        if path.extension().is_some_and(|extension| extension == "bin") {
            PyTorchFile::open(path).map(Self::PyTorch)
        } else {
            SafetensorsFile::open(path).map(Self::Safetensors)
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Self::Safetensors(file) => file.names(),
            Self::PyTorch(file) => file.names(),
        }
    }

    pub(super) fn tensor(&self, name: &str) -> Option<StoredTensor<'_>> {
        match self {
            Self::Safetensors(file) => file.tensor(name),
            Self::PyTorch(file) => file.tensor(name),
        }
    }

    /// Says that a tensor is not needed any more.
    pub(super) fn release(&self, name: &str) {
        match self {
            Self::Safetensors(file) => file.release(name),
            Self::PyTorch(file) => file.release(name),
        }
    }
}
