use burn::tensor::Tensor;
use quantization::QuantizedMatrix;

/// The right factor of a linear map, `[in_features, out_features]`.
// Passed on once or twice for each product; a pointer would be one more allocation.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone)]
pub enum Weight {
    /// Floats; f32, or a constant in a half type.
    Dense(Tensor<2>),
    /// The same of a frozen base model, which GPUs may multiply in another
    /// [`Precision`](crate::Precision).
    Frozen(Tensor<2>),
    /// A constant of 8 or 4 bits an element.
    Quantized(QuantizedMatrix),
}

impl Weight {
    /// `[in_features, out_features]`.
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Dense(weight) | Self::Frozen(weight) => weight.dims(),
            Self::Quantized(matrix) => matrix.dims(),
        }
    }

    /// The matrix as floats; a quantised one in f32.
    pub fn dense(self) -> Tensor<2> {
        match self {
            Self::Dense(weight) | Self::Frozen(weight) => weight,
            Self::Quantized(matrix) => crate::dequantize(&matrix),
        }
    }
}

impl From<Tensor<2>> for Weight {
    fn from(weight: Tensor<2>) -> Self {
        Self::Dense(weight)
    }
}

impl From<&QuantizedMatrix> for Weight {
    fn from(matrix: &QuantizedMatrix) -> Self {
        Self::Quantized(matrix.clone())
    }
}
