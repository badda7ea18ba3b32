use std::collections::BTreeMap;
use std::ops::Range;

use safetensors::Dtype;

use super::pickle::{self, TensorRef};
use super::zip;

/// Where a tensor is in a file of `torch.save`: row-major, little-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorLocation {
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its bytes in the file.
    pub range: Range<usize>,
}

/// Finds the tensors of a file of `torch.save`, which holds a flat dictionary of them.
///
/// # Errors
///
/// What is wrong with the file, or not allowed in it.
pub fn pytorch_index(bytes: &[u8]) -> Result<BTreeMap<String, TensorLocation>, String> {
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
            Ok((name, TensorLocation { dtype: tensor.dtype, shape: tensor.shape, range }))
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
