use burn::tensor::{DType, TensorData};
use half::{bf16, f16};
use safetensors::Dtype;
use tensor_files::StoredTensor;

/// A tensor of a file in memory, with floats as f32.
///
/// # Errors
///
/// The name of a dtype that is none of F32, F16, BF16 and I32.
pub fn to_data(tensor: &StoredTensor) -> Result<TensorData, String> {
    let shape = tensor.shape.clone();
    let halves = || tensor.bytes.as_chunks::<2>().0.iter();
    let words = || tensor.bytes.as_chunks::<4>().0.iter();
    Ok(match tensor.dtype {
        Dtype::F32 => TensorData::new(words().map(|b| f32::from_le_bytes(*b)).collect(), shape),
        Dtype::F16 => {
            let values: Vec<f32> = halves().map(|b| f16::from_le_bytes(*b).to_f32()).collect();
            TensorData::new(values, shape)
        }
        Dtype::BF16 => {
            let values: Vec<f32> = halves().map(|b| bf16::from_le_bytes(*b).to_f32()).collect();
            TensorData::new(values, shape)
        }
        Dtype::I32 => TensorData::new(
            words().map(|bytes| i32::from_le_bytes(*bytes)).collect::<Vec<_>>(),
            shape,
        ),
        other => return Err(format!("{other:?}")),
    })
}

/// A tensor of a state as files hold it, floats in F32.
pub fn to_stored(data: &TensorData) -> StoredTensor {
    let dtype = if data.dtype() == DType::I32 { Dtype::I32 } else { Dtype::F32 };
    let shape = data.shape().as_slice().to_vec();
    StoredTensor { dtype, shape, bytes: data.as_bytes().to_vec() }
}
