//! The kernels for GPUs, on every backend of CubeCL: CUDA, ROCm, Vulkan, Metal, WebGPU.

mod activations;
mod adamw;
mod attention;
pub(crate) mod clusters;
mod device_memory;
mod down;
mod draw;
mod fan_out;
pub(crate) mod flat;
mod kernel;
mod launch;
mod magnitude;
mod mixture;
mod operations;
mod outputs;
mod product;
mod reductions;
mod shares;
mod stack;
mod widen;

pub(crate) use adamw::{adamw_steps, squared_sums};
pub(crate) use attention::DEEPEST;
pub(crate) use device_memory::device_memory;
pub(crate) use down::{Rows, TOGETHER, down};
pub(crate) use draw::draw;
pub(crate) use fan_out::fan_out;
pub(crate) use magnitude::abs_sums;
pub(crate) use shares::top_k_shares;
pub(crate) use stack::stack;
pub(crate) use widen::widened;

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

/// Rows of the last axis, and its size.
fn rows(tensor: &CubeTensor) -> (usize, usize) {
    let shape = tensor.shape();
    let width = shape[shape.num_dims() - 1];
    (shape.num_elements() / width.max(1), width)
}

/// The tensor of a kernel, f32 and contiguous, without its autodiff; `None` where it is another, or empty.
fn plain<const D: usize>(tensor: &Tensor<D>) -> Option<CubeTensor> {
    let tensor = tensor.clone().without_autodiff().try_into_primitive::<CubeBackend>().ok()?;
    (tensor.dtype == DType::F32 && !is_empty(&tensor)).then(|| into_contiguous(tensor))
}

fn tensor<const D: usize>(tensor: CubeTensor) -> Tensor<D> {
    Tensor::from_primitive::<CubeBackend>(tensor)
}

fn is_empty(tensor: &CubeTensor) -> bool {
    tensor.shape().num_elements() == 0
}
