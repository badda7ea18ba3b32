use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use burn::tensor::{DType, Tensor};
use fused_ops::Weight;
use moe_adapter::BaseLinear;
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use tensor_files::fill_atomically;

use super::{Rounding, WeightError};

/// Collects a model's tensors, then writes them as one safetensors file.
///
/// A tensor is converted when its turn to be written comes, so that no second copy of the model
/// is in memory.
#[derive(Debug, Default)]
pub struct WeightWriter {
    tensors: Vec<(String, StoredTensor)>,
    dtype: Option<DType>,
}

impl WeightWriter {
    /// A writer with no tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer that rounds every tensor to an element type; `None` leaves each as it is.
    pub fn in_dtype(dtype: Option<DType>) -> Self {
        Self { dtype, ..Self::default() }
    }

    /// Adds a tensor as it is.
    pub fn push<const D: usize>(&mut self, name: impl Into<String>, tensor: Tensor<D>) {
        let shape = tensor.dims().to_vec();
        let count = shape.iter().product::<usize>();
        let tensor = tensor.reshape([1, count]);
        let (dtype, weight) = (self.dtype.unwrap_or(tensor.dtype()), tensor.into());
        self.tensors.push((name.into(), StoredTensor { weight, dtype, shape, transposed: false }));
    }

    /// Adds a linear as `<path>.weight`, `[out, in]`, and `<path>.bias`, both in the element type of
    /// the weight; one that is quantised in `dtype`.
    pub fn push_linear(&mut self, path: &str, linear: &BaseLinear, dtype: DType) {
        let weight = linear.factor();
        let [inputs, outputs] = weight.dims();
        let dtype = match &weight {
            Weight::Dense(weight) | Weight::Frozen(weight) => weight.dtype(),
            Weight::Quantized(_) => dtype,
        };
        let dtype = self.dtype.unwrap_or(dtype);
        let shape = vec![outputs, inputs];
        let stored = StoredTensor { weight, dtype, shape, transposed: true };
        self.tensors.push((format!("{path}.weight"), stored));
        if let Some(bias) = linear.bias() {
            self.push(format!("{path}.bias"), bias.cast(dtype));
        }
    }

    /// Writes `path`: under a temporary name that then replaces it.
    ///
    /// # Errors
    ///
    /// [`WeightError`] when the file cannot be written.
    pub fn write(mut self, path: &Path) -> Result<Rounding, WeightError> {
        let io = |source| WeightError::Io { path: path.to_owned(), source };
        // The order of the safetensors crate, which keeps the tensors aligned.
        self.tensors.sort_by(|(name, tensor), (other_name, other)| {
            other.dtype().cmp(&tensor.dtype()).then_with(|| name.cmp(other_name))
        });
        let header =
            self.header().map_err(|source| WeightError::Write { path: path.to_owned(), source })?;
        let mut rounding = Rounding::default();
        fill_atomically(
            path,
            |file| {
                let mut file = BufWriter::with_capacity(1 << 20, file);
                file.write_all(&header).map_err(io)?;
                for (_, tensor) in &self.tensors {
                    file.write_all(&tensor.bytes(&mut rounding)).map_err(io)?;
                }
                file.flush().map_err(io)
            },
            io,
        )?;
        Ok(rounding)
    }

    /// What a safetensors file begins with: the size of the rest, and where each tensor is.
    fn header(&self) -> Result<Vec<u8>, SafeTensorError> {
        let mut end = 0;
        let tensors = self.tensors.iter().map(|(name, tensor)| {
            let start = end;
            end += tensor.byte_count();
            let (dtype, shape) = (tensor.dtype(), tensor.shape.clone());
            (name.clone(), TensorInfo { dtype, shape, data_offsets: (start, end) })
        });
        let about = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let metadata = Metadata::new(Some(about), tensors.collect())?;
        let mut text = serde_json::to_string(&metadata)?.into_bytes();
        text.resize(text.len().next_multiple_of(8), b' ');
        Ok([&(text.len() as u64).to_le_bytes()[..], &text].concat())
    }
}

#[derive(Debug)]
struct StoredTensor {
    weight: Weight,
    dtype: DType,
    shape: Vec<usize>,
    transposed: bool,
}

impl StoredTensor {
    fn dtype(&self) -> Dtype {
        match self.dtype {
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            _ => Dtype::F32,
        }
    }

    /// Its elements as files have them; what they lose by that is added to `rounding`.
    fn bytes(&self, rounding: &mut Rounding) -> Vec<u8> {
        let mut tensor = self.weight.clone().dense();
        if self.transposed {
            tensor = tensor.transpose();
        }
        let dtype = match self.dtype {
            half @ (DType::F16 | DType::BF16) => half,
            _ => DType::F32,
        };
        if tensor.dtype() == DType::F32 && dtype != DType::F32 {
            let rounded = tensor.clone().cast(dtype).into_data();
            rounding.add(&tensor.into_data(), &rounded);
            return rounded.as_bytes().to_vec();
        }
        tensor.cast(dtype).into_data().as_bytes().to_vec()
    }

    fn byte_count(&self) -> usize {
        self.shape.iter().product::<usize>() * (self.dtype().bitsize() / 8)
    }
}
