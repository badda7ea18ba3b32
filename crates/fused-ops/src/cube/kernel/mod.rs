//! Kernels in CubeCL, for f32. Their names do not meet Burn's here.

// What a kernel reads are its arguments, and what the macro makes of it is not ours to write.
#![allow(clippy::all)]

mod activation;
mod attention;
mod clusters;
mod downward;
mod dropout;
mod experts;
mod gathering;
mod magnitude;
mod norm;
mod optimizer;
mod reduce;
mod rope;
mod rows;
mod select;
mod up;
mod widen;

pub(super) use activation::{silu_mul, silu_mul_backward};
pub(super) use attention::{
    SizesLaunch, UNITS as ATTENTION_UNITS, attend, attend_key_grad, attend_query_grad,
};
pub(super) use clusters::{ASSIGNED, assign, begin, slide, yielded, yielded_points_grad};
pub(super) use downward::{Masks, down, down_factors_grad, down_input_grad};
pub(super) use dropout::{dropped, kept_or_not, normal, uniform};
pub(super) use experts::{gate, gate_backward, scaled_up};
pub(super) use gathering::{add_all, gather, space_out};
pub(super) use magnitude::{add_magnitudes, magnitude_grads};
pub(super) use norm::{rms_norm, rms_norm_backward, rms_norm_weight_terms};
pub(super) use optimizer::{adamw, add_squares};
pub(super) use rope::{rope_heads, rope_heads_backward};
pub(super) use rows::{exp_less, log_sum_exp, softmax, softmax_backward};
pub(super) use select::{
    kept_shares, kept_shares_backward, one_by_one, top_k, top_k_shares, top_k_shares_backward,
};
pub(super) use up::{
    ROWS, add_experts, add_experts_factors_grad, add_experts_gate_backward, add_experts_gated_grad,
};
pub(super) use widen::widened_halves;
