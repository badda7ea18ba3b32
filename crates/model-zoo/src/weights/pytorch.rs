use std::collections::BTreeMap;
use std::path::Path;

use tensor_files::{TensorLocation, pytorch_index};

use super::WeightError;
use super::mapped::MappedFile;
use super::stored_tensor::StoredTensor;

/// One `pytorch_model.bin`.
#[derive(Debug)]
pub(super) struct PyTorchFile {
    file: MappedFile,
    tensors: BTreeMap<String, TensorLocation>,
}

impl PyTorchFile {
    pub(super) fn open(path: &Path) -> Result<Self, WeightError> {
        let file = MappedFile::open(path)?;
        let tensors = pytorch_index(file.bytes())
            .map_err(|message| WeightError::PyTorch { path: path.to_owned(), message })?;
        Ok(Self { file, tensors })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    pub(super) fn tensor(&self, name: &str) -> Option<StoredTensor<'_>> {
        let tensor = self.tensors.get(name)?;
        let bytes = self.file.bytes().get(tensor.range.clone())?;
        Some(StoredTensor { dtype: tensor.dtype, shape: &tensor.shape, bytes })
    }

    pub(super) fn release(&self, name: &str) {
        if let Some(tensor) = self.tensors.get(name) {
            self.file.release(tensor.range.clone());
        }
    }
}
