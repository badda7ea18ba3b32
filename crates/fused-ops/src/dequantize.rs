use burn::tensor::Tensor;
use quantization::QuantizedMatrix;

/// The whole matrix in f32, `[in_features, out_features]`.
pub fn dequantize(matrix: &QuantizedMatrix) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if let Some(constant) = crate::flex::Constant::of(matrix) {
        let tensor = Tensor::from_data(constant.decoded(), &matrix.device());
        return matrix.of_inputs(tensor.transpose());
    }
    matrix.dequantize_composed()
}
