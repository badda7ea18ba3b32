//! The operations of a Llama decoder, each as one operation with a hand-written backward pass.
//!
//! Composed of elementwise operations they are bound by memory: each step reads and writes whole
//! activations, and the backward pass keeps all of them. Here a pass reads its inputs once, writes
//! its outputs once and keeps the least it can. Matrix products are those of Burn's Flex, but
//! written straight into the memory of the result, where a second product can be added.
//!
//! # Where the kernels run
//!
//! For f32 activations: on the Flex backend (CPUs) with the feature `flex`, and on every backend of CubeCL
//! (CUDA, ROCm, Vulkan, Metal, WebGPU) with the feature `cube`. There norms, rotary embeddings,
//! softmax, gated activation, dropout, the experts' weights and AdamW are one launch each, and
//! products are in f32, or in the [`Precision`] that was chosen for frozen weights; products of few
//! rows, attention by blocks and routed experts are kernels of CPUs alone.
//!
//! Whether they apply is decided for each call from the tensors themselves; everything else (other
//! element types, a build without the feature, Burn's `fusion`) takes the composed formula, whose
//! values and gradients are equal up to rounding. So no combination of features and devices fails.

mod adamw;
mod attention;
mod attention_mask;
mod clusters;
mod cross_entropy;
mod dequantize;
mod device_memory;
mod documents;
mod down;
mod draw;
mod dropout;
mod experts;
mod fan_out;
mod host_values;
mod launches;
mod linear;
mod low_rank;
mod matmul;
mod norm;
mod ops;
mod paged;
mod parts;
mod precision;
mod reductions;
mod rope;
mod routed;
mod select;
mod silu;
mod softmax;
mod stack;
mod transfers;
mod weight;
mod widen;
mod with_gradient;

#[cfg(device_kernels)]
mod cube;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "flex")]
mod kernel;

pub use adamw::{AdamWStep, adamw_steps, squared_sum};
pub use attention::{attention, attention_composed};
pub use attention_mask::{AttentionMask, Causal, HIDDEN};
pub use clusters::{Assigned, ClusterShift, ClusterState, begun_clusters};
pub use cross_entropy::{cross_entropy, cross_entropy_composed};
pub use dequantize::dequantize;
pub use device_memory::{DeviceMemory, device_memory};
pub use documents::Documents;
pub use down::{DownPart, ExpertDropout, down_experts, down_experts_composed, down_together};
pub use draw::{Draw, draw};
pub use dropout::{dropout, dropout_composed, dropout_linear, dropout_linear_composed};
pub use experts::{
    ExpertSum, add_experts, add_experts_composed, gate_experts, gate_experts_composed,
    linear_add_experts, scale_up, scale_up_composed,
};
pub use fan_out::fan_out;
pub use host_values::HostValues;
pub use launches::{COUNTS_LAUNCHES, count_launches};
pub use linear::{linear, linear_add, linear_add_composed, linear_composed, reads_columns};
pub use low_rank::{add_low_rank, add_low_rank_composed, few_rows};
pub use matmul::{matmul, matmul_few_rows};
pub use norm::{rms_norm, rms_norm_composed};
pub use paged::{BLOCK, PagedPass, PagedRow, paged_attention, paged_attention_composed};
pub use parts::each_part;
pub use precision::{Precision, UnknownPrecision, precision, set_precision};
pub use reductions::{
    abs_sum, abs_sum_composed, abs_sums, entropy, entropy_composed, gram, gram_composed,
    log_sum_exp, log_sum_exp_composed, mean_squared_cosine, mean_squared_cosine_composed,
};
pub use rope::{RotaryTables, rope_heads, rope_heads_composed};
pub use routed::{linear_routed, linear_routed_composed};
pub use select::{
    TopKShares, kept_shares, kept_shares_composed, one_by_one, one_by_one_composed, top_k_mask,
    top_k_shares,
};
pub use silu::{silu_mul, silu_mul_composed};
pub use softmax::{softmax_masked, softmax_masked_composed, softmax_rows};
pub use stack::stack;
pub use transfers::{Transfers, count_transfers, host_read, sent};
pub use weight::Weight;
pub use widen::{StoredHalves, widened};
pub use with_gradient::{with_gradient, with_gradient_composed};

/// Whether the operations run as the kernels for CPUs, for tensors of this backend and element type.
pub fn runs_kernels<const D: usize>(tensor: &burn::tensor::Tensor<D>) -> bool {
    #[cfg(feature = "flex")]
    return flex::applies(&[&tensor.clone().into_dispatch()]);
    #[cfg(not(feature = "flex"))]
    {
        let _ = tensor;
        false
    }
}

/// Whether the operations run as the kernels for GPUs, for tensors of this backend and element type.
pub fn runs_device_kernels<const D: usize>(tensor: &burn::tensor::Tensor<D>) -> bool {
    ops::kernels(&[&tensor.clone().into_dispatch()]) == Some(ops::Kernels::Device)
}
