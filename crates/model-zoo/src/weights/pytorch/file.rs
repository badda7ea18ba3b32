use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use safetensors::Dtype;

use super::pickle::{self, TensorRef};
use super::zip;
use crate::weights::WeightError;
use crate::weights::file::StoredTensor;
use crate::weights::mapped::MappedFile;

/// One `pytorch_model.bin`.
#[derive(Debug)]
pub(crate) struct PyTorchFile {
    file: MappedFile,
    tensors: BTreeMap<String, Tensor>,
}

#[derive(Debug)]
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    range: Range<usize>,
}

impl PyTorchFile {
    pub(crate) fn open(path: &Path) -> Result<Self, WeightError> {
        let file = MappedFile::open(path)?;
        let tensors = read(file.bytes())
            .map_err(|message| WeightError::PyTorch { path: path.to_owned(), message })?;
        Ok(Self { file, tensors })
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<StoredTensor<'_>> {
        let tensor = self.tensors.get(name)?;
        let bytes = self.file.bytes().get(tensor.range.clone())?;
        Some(StoredTensor { dtype: tensor.dtype, shape: &tensor.shape, bytes })
    }

    pub(crate) fn release(&self, name: &str) {
        if let Some(tensor) = self.tensors.get(name) {
            self.file.release(tensor.range.clone());
        }
    }
}

fn read(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    if !bytes.starts_with(b"PK") {
        return Err("it is not a file of `torch.save` since PyTorch 1.6 (a zip archive); \
                    save it again, best as safetensors"
            .to_owned());
    }
    let entries = zip::entries(bytes)
        .map_err(|error| format!("the archive cannot be read: {error}; download the file again"))?;
    let (root, program) = entries
        .iter()
        .find_map(|(name, range)| Some((name.strip_suffix("/data.pkl")?, range.clone())))
        .ok_or("the archive has no `data.pkl`")?;
    if let Some(order) = entries.get(&format!("{root}/byteorder"))
        && &bytes[order.clone()] != b"little"
    {
        return Err("its numbers are big-endian".to_owned());
    }
    pickle::read(&bytes[program])?
        .into_iter()
        .map(|(name, tensor)| {
            let storage = entries.get(&format!("{root}/data/{}", tensor.key));
            let range = storage
                .ok_or_else(|| format!("the storage `{}` is missing", tensor.key))
                .and_then(|storage| locate(&tensor, storage.clone()))
                .map_err(|error| format!("tensor `{name}`: {error}"))?;
            Ok((name, Tensor { dtype: tensor.dtype, shape: tensor.shape, range }))
        })
        .collect()
}

/// The bytes of a tensor in the file.
fn locate(tensor: &TensorRef, storage: Range<usize>) -> Result<Range<usize>, String> {
    let too_large = || format!("its shape {:?} is too large", tensor.shape);
    let mut elements = 1usize;
    for (size, stride) in tensor.shape.iter().zip(&tensor.strides).rev() {
        if *size > 1 && *stride != elements {
            return Err(format!(
                "it is a view with strides {:?} of a shape {:?}; only contiguous tensors are read",
                tensor.strides, tensor.shape
            ));
        }
        elements = elements.checked_mul(*size).ok_or_else(too_large)?;
    }
    let width = tensor.dtype.bitsize() / 8;
    let start = tensor.offset.checked_mul(width).ok_or_else(too_large)?;
    let len = elements.checked_mul(width).ok_or_else(too_large)?;
    let end = start.checked_add(len).ok_or_else(too_large)?;
    if end > storage.len() {
        return Err(format!("its storage has {} bytes, but {end} are expected", storage.len()));
    }
    Ok(storage.start + start..storage.start + end)
}
