use std::collections::BTreeMap;

use safetensors::Dtype;

use super::archive::Archive;
use crate::StoredTensor;

/// The folder in the archive; PyTorch takes the name of the file, and reads any.
const ROOT: &str = "archive";

/// The bytes that `torch.load` reads as a dictionary of tensors, in the order of their names.
///
/// `Err` says which tensor cannot be written, and why.
pub(crate) fn pytorch_bytes(tensors: &BTreeMap<String, StoredTensor>) -> Result<Vec<u8>, String> {
    let mut program = Program::new();
    for (key, (name, tensor)) in tensors.iter().enumerate() {
        program.tensor(name, key, tensor).map_err(|error| format!("tensor `{name}`: {error}"))?;
    }
    let mut archive = Archive::default();
    let too_large = || "the archive would be larger than 4 GiB; write safetensors".to_owned();
    archive.push(&format!("{ROOT}/data.pkl"), &program.finish()).ok_or_else(too_large)?;
    archive.push(&format!("{ROOT}/byteorder"), b"little").ok_or_else(too_large)?;
    for (key, tensor) in tensors.values().enumerate() {
        archive.push(&format!("{ROOT}/data/{key}"), &tensor.bytes).ok_or_else(too_large)?;
    }
    archive.push(&format!("{ROOT}/version"), b"3\n").ok_or_else(too_large)?;
    archive.finish().ok_or_else(too_large)
}

/// The pickle of a dictionary of tensors, in protocol 2 and without a memo.
struct Program {
    bytes: Vec<u8>,
}

impl Program {
    fn new() -> Self {
        // Protocol 2, an empty dictionary, a mark before its entries.
        Self { bytes: b"\x80\x02}(".to_vec() }
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes.extend(b"u.");
        self.bytes
    }

    fn tensor(&mut self, name: &str, key: usize, tensor: &StoredTensor) -> Result<(), String> {
        let storage = match tensor.dtype {
            Dtype::F64 => "DoubleStorage",
            Dtype::F32 => "FloatStorage",
            Dtype::F16 => "HalfStorage",
            Dtype::BF16 => "BFloat16Storage",
            Dtype::I64 => "LongStorage",
            Dtype::I32 => "IntStorage",
            other => return Err(format!("{other:?} is not written to such files")),
        };
        self.text(name)?;
        self.bytes.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        self.text("storage")?;
        self.bytes.extend(format!("ctorch\n{storage}\n").bytes());
        self.text(&key.to_string())?;
        self.text("cpu")?;
        self.int(tensor.shape.iter().product())?;
        // The end of the storage's tuple, which stands for it; no offset.
        self.bytes.extend(b"tQK\x00");
        self.tuple(&tensor.shape)?;
        self.tuple(&strides(&tensor.shape))?;
        // No gradient, no hooks.
        self.bytes.extend(b"\x89ccollections\nOrderedDict\n)RtR");
        Ok(())
    }

    fn tuple(&mut self, sizes: &[usize]) -> Result<(), String> {
        self.bytes.push(b'(');
        for size in sizes {
            self.int(*size)?;
        }
        self.bytes.push(b't');
        Ok(())
    }

    fn int(&mut self, value: usize) -> Result<(), String> {
        let value = i32::try_from(value).map_err(|_| format!("its size {value} is too large"))?;
        self.bytes.push(b'J');
        self.bytes.extend(value.to_le_bytes());
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        let len = u32::try_from(text.len()).map_err(|error| error.to_string())?;
        self.bytes.push(b'X');
        self.bytes.extend(len.to_le_bytes());
        self.bytes.extend(text.bytes());
        Ok(())
    }
}

fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for at in (1..shape.len()).rev() {
        strides[at - 1] = strides[at] * shape[at].max(1);
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pytorch::pytorch_index;

    #[test]
    fn what_is_written_is_read() {
        let tensor = |dtype, shape: &[usize], bytes: Vec<u8>| StoredTensor {
            dtype,
            shape: shape.to_vec(),
            bytes,
        };
        let tensors = BTreeMap::from([
            ("w".to_owned(), tensor(Dtype::F32, &[2, 3], (0..24).collect())),
            ("scalar".to_owned(), tensor(Dtype::I64, &[], vec![9; 8])),
            ("half".to_owned(), tensor(Dtype::BF16, &[4, 1], (0..8).collect())),
        ]);
        let bytes = pytorch_bytes(&tensors).unwrap();
        let index = pytorch_index(&bytes).unwrap();
        assert_eq!(index.len(), 3);
        for (name, tensor) in &tensors {
            let found = &index[name];
            assert_eq!((found.dtype, &found.shape), (tensor.dtype, &tensor.shape), "{name}");
            assert_eq!(&bytes[found.range.clone()], &tensor.bytes[..], "{name}");
        }
    }

    #[test]
    fn types_without_a_storage_are_refused() {
        let tensor = StoredTensor { dtype: Dtype::F8_E4M3, shape: vec![1], bytes: vec![0] };
        let error = pytorch_bytes(&BTreeMap::from([("w".to_owned(), tensor)])).unwrap_err();
        assert!(error.contains("tensor `w`: F8_E4M3"), "{error}");
    }
}
