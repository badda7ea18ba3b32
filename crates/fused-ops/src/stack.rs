use burn::tensor::Tensor;

/// Matrices of one shape, `[M, N]`, as `[count, M, N]`. On GPUs fourteen of them are one kernel, and the gradient is
/// taken apart without any.
///
/// # Panics
///
/// Without matrices, or with such of several shapes.
pub fn stack(matrices: Vec<Tensor<2>>) -> Tensor<3> {
    #[cfg(device_kernels)]
    if let Some(stacked) = crate::cube::stack(&matrices) {
        return stacked;
    }
    Tensor::stack(matrices, 0)
}
