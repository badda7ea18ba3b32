use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use burn::nn::Linear;
use burn::tensor::{DType, Tensor};
use safetensors::tensor::{Dtype, View, serialize_to_file};

use super::WeightError;
use crate::files::replace_file;

/// Collects a model's tensors, then writes them as one safetensors file.
///
/// A tensor is converted when its turn to be written comes, so that no second copy of the model
/// is in memory.
#[derive(Debug, Default)]
pub struct WeightWriter {
    tensors: Vec<(String, StoredTensor)>,
}

impl WeightWriter {
    /// A writer with no tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor as it is.
    pub fn push<const D: usize>(&mut self, name: impl Into<String>, tensor: Tensor<D>) {
        let shape = tensor.dims().to_vec();
        let count = shape.iter().product::<usize>();
        let tensor = tensor.reshape([1, count]);
        self.tensors.push((name.into(), StoredTensor { tensor, shape, transposed: false }));
    }

    /// Adds a linear as `<path>.weight`, `[out, in]`, and `<path>.bias`, both in the
    /// element type of the weight.
    pub fn push_linear(&mut self, path: &str, linear: &Linear) {
        let tensor = linear.weight.val();
        let [inputs, outputs] = tensor.dims();
        let (shape, dtype) = (vec![outputs, inputs], tensor.dtype());
        let stored = StoredTensor { tensor, shape, transposed: true };
        self.tensors.push((format!("{path}.weight"), stored));
        if let Some(bias) = &linear.bias {
            self.push(format!("{path}.bias"), bias.val().cast(dtype));
        }
    }

    /// Writes `path`: under a temporary name that then replaces it.
    ///
    /// # Errors
    ///
    /// [`WeightError`] when the file cannot be written.
    pub fn write(self, path: &Path) -> Result<(), WeightError> {
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        replace_file(
            path,
            |temporary| {
                serialize_to_file(self.tensors, Some(metadata), temporary)
                    .map_err(|source| WeightError::Write { path: path.to_owned(), source })
            },
            |source| WeightError::Io { path: path.to_owned(), source },
        )
    }
}

#[derive(Debug)]
struct StoredTensor {
    tensor: Tensor<2>,
    shape: Vec<usize>,
    transposed: bool,
}

impl View for StoredTensor {
    fn dtype(&self) -> Dtype {
        match self.tensor.dtype() {
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            _ => Dtype::F32,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut tensor = self.tensor.clone();
        if self.transposed {
            tensor = tensor.transpose();
        }
        if self.dtype() == Dtype::F32 {
            tensor = tensor.cast(DType::F32);
        }
        Cow::Owned(tensor.into_data().as_bytes().to_vec())
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * (self.dtype().bitsize() / 8)
    }
}
