//! The kernels for GPUs, on every backend of CubeCL: CUDA, ROCm, Vulkan, Metal, WebGPU.

mod activations;
mod adamw;
mod attention;
pub(crate) mod flat;
mod kernel;
mod launch;
mod mixture;
mod operations;
mod product;
mod reductions;
mod stack;

pub(crate) use adamw::{adamw_steps, squared_sums};
pub(crate) use attention::DEEPEST;
use burn::backend::TensorMetadata;
use burn_cubecl::tensor::CubeTensor;
pub(crate) use stack::stack;

/// Rows of the last axis, and its size.
fn rows(tensor: &CubeTensor) -> (usize, usize) {
    let shape = tensor.shape();
    let width = shape[shape.num_dims() - 1];
    (shape.num_elements() / width.max(1), width)
}

fn is_empty(tensor: &CubeTensor) -> bool {
    tensor.shape().num_elements() == 0
}
