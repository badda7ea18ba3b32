use burn::tensor::Tensor;

/// `count` of a tensor that many read: on GPUs their gradients are added up by one kernel, not two by two.
pub fn fan_out<const D: usize>(x: Tensor<D>, count: usize) -> Vec<Tensor<D>> {
    #[cfg(device_kernels)]
    if let Some(copies) = crate::cube::fan_out(&x, count) {
        return copies;
    }
    vec![x; count]
}
