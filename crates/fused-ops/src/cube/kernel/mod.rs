//! Kernels in CubeCL, for f32. Their names do not meet Burn's here.

// What a kernel reads are its arguments, and what the macro makes of it is not ours to write.
#![allow(clippy::all)]

mod activation;
mod dropout;
mod experts;
mod norm;
mod optimizer;
mod reduce;
mod rope;
mod rows;

pub(super) use activation::{silu_mul, silu_mul_backward};
pub(super) use dropout::dropped;
pub(super) use experts::{gate, gate_backward, scaled_up};
pub(super) use norm::{rms_norm, rms_norm_backward, rms_norm_weight_terms};
pub(super) use optimizer::{adamw, add_squares};
pub(super) use rope::{rope_heads, rope_heads_backward};
pub(super) use rows::{exp_less, log_sum_exp, softmax, softmax_backward};
