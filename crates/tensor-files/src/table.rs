use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::pytorch::pytorch_bytes;
use crate::{TensorFileError, pytorch_index, write_atomically};

/// A tensor as files hold it: row-major, little-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor {
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements.
    pub bytes: Vec<u8>,
}

/// All tensors of a file, in memory: for adapters and references, not for large models.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TensorTable {
    /// The tensors by name.
    pub tensors: BTreeMap<String, StoredTensor>,
    /// What a safetensors file says of itself; `None` where it has no such part, as in files of
    /// `torch.save`.
    pub metadata: Option<BTreeMap<String, String>>,
}

impl TensorTable {
    /// Reads a file: of `torch.save` where its name ends in `.bin`, `.pt` or `.pth`, else
    /// safetensors.
    ///
    /// # Errors
    ///
    /// [`TensorFileError`] naming the file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, TensorFileError> {
        let bytes = std::fs::read(path).map_err(TensorFileError::io(path))?;
        if is_pytorch(path) { read_pytorch(path, &bytes) } else { read_safetensors(path, &bytes) }
    }

    /// Writes a file in the format that its name says, as [`read`](Self::read) does; a reader sees
    /// the old file or the new.
    ///
    /// # Errors
    ///
    /// [`TensorFileError`] naming the file and what cannot be written to it.
    pub fn write(&self, path: &Path) -> Result<(), TensorFileError> {
        let bytes = if is_pytorch(path) {
            pytorch_bytes(&self.tensors)
                .map_err(|message| TensorFileError::PyTorch { path: path.into(), message })?
        } else {
            self.safetensors_bytes(path)?
        };
        write_atomically(path, &bytes).map_err(TensorFileError::io(path))
    }

    fn safetensors_bytes(&self, path: &Path) -> Result<Vec<u8>, TensorFileError> {
        let failed = |source| TensorFileError::Safetensors { path: path.into(), source };
        let views = self
            .tensors
            .iter()
            .map(|(name, tensor)| {
                let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
                view.map(|view| (name, view))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        let metadata = self.metadata.clone().map(HashMap::from_iter);
        safetensors::serialize(views, metadata).map_err(failed)
    }
}

/// Tensors of a file of `torch.save` may share storages, as tied weights do, but take at most so many
/// times the size of the file: each gets a copy here, and a name costs a few bytes only.
const MAX_SHARING: usize = 16;

fn is_pytorch(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("bin" | "pt" | "pth"))
}

fn read_safetensors(path: &Path, bytes: &[u8]) -> Result<TensorTable, TensorFileError> {
    let failed = |source| TensorFileError::Safetensors { path: path.into(), source };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(failed)?;
    let file = SafeTensors::deserialize(bytes).map_err(failed)?;
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        let (shape, bytes) = (view.shape().to_vec(), view.data().to_vec());
        (name, StoredTensor { dtype: view.dtype(), shape, bytes })
    });
    let metadata = header.metadata().clone().map(BTreeMap::from_iter);
    Ok(TensorTable { tensors: tensors.collect(), metadata })
}

fn read_pytorch(path: &Path, bytes: &[u8]) -> Result<TensorTable, TensorFileError> {
    let failed = |message| TensorFileError::PyTorch { path: path.into(), message };
    let index = pytorch_index(bytes).map_err(failed)?;
    let size = index.values().try_fold(0usize, |size, found| size.checked_add(found.range.len()));
    if size.is_none_or(|size| size > bytes.len().saturating_mul(MAX_SHARING)) {
        return Err(failed(format!(
            "its {} tensors share storages, and would take more than {MAX_SHARING} times the size \
             of the file",
            index.len()
        )));
    }
    let tensors = index.into_iter().map(|(name, found)| {
        let bytes = bytes[found.range].to_vec();
        (name, StoredTensor { dtype: found.dtype, shape: found.shape, bytes })
    });
    Ok(TensorTable { tensors: tensors.collect(), metadata: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> TensorTable {
        let tensor = |dtype, bytes: Vec<u8>| StoredTensor { dtype, shape: vec![2, 1], bytes };
        let tensors = [
            ("b.weight", tensor(Dtype::F32, (0..8).collect())),
            ("a.weight", tensor(Dtype::BF16, vec![1, 2, 3, 4])),
        ];
        TensorTable {
            tensors: tensors.map(|(name, t)| (name.to_owned(), t)).into(),
            metadata: None,
        }
    }

    #[test]
    fn both_formats_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let described = TensorTable {
            metadata: Some(BTreeMap::from([("format".to_owned(), "pt".to_owned())])),
            ..table()
        };
        for (name, table) in
            [("x.safetensors", table()), ("y.safetensors", described), ("x.bin", table())]
        {
            let path = folder.path().join(name);
            table.write(&path).unwrap();
            assert_eq!(TensorTable::read(&path).unwrap(), table, "{name}");
        }
    }

    #[test]
    fn what_is_no_such_file_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["x.safetensors", "x.bin"] {
            let path = folder.path().join(name);
            assert!(matches!(TensorTable::read(&path), Err(TensorFileError::Io { .. })));
            std::fs::write(&path, b"PKnothing").unwrap();
            let error = TensorTable::read(&path).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
