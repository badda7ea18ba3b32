//! Loops over f32 slices, each on one thread, written so that the compiler vectorises them.

mod attention;
mod dropout;
mod few_rows;
#[cfg(target_arch = "x86_64")]
mod few_rows_avx512;
mod low_rank;
mod norm;
mod paged_attention;
mod reductions;
mod rope;
mod sigmoid;
mod simd;
mod softmax;
mod tiles;

pub(crate) use attention::{
    exp_less, online_softmax, row_dots, scale_rows, score_gradients, soft_cap,
};
pub(crate) use dropout::{dropout, dropout_in_place};
pub(crate) use few_rows::{
    COLUMNS, few_rows_by_bf16_columns, few_rows_by_bf16_rows, few_rows_by_columns,
    few_rows_by_f16_columns, few_rows_by_f16_rows, few_rows_by_row, few_rows_by_rows, widen_bf16,
};
#[cfg(target_arch = "x86_64")]
pub(crate) use few_rows_avx512::{Element, few_rows_runs, few_rows_wide};
pub(crate) use low_rank::{low_rank_down, low_rank_up};
pub(crate) use norm::{rms_norm, rms_norm_backward};
pub(crate) use paged_attention::{BLOCK, paged_scores, paged_values};
pub(crate) use reductions::{
    abs_sum, abs_sum_backward, entropy, entropy_backward, log_sum_exp, log_sum_exp_backward,
};
pub(crate) use rope::{turn, turn_back};
pub(crate) use sigmoid::{silu_mul, silu_mul_backward};
pub(crate) use softmax::{softmax_backward, softmax_row};
pub(crate) use tiles::{Columns, Sums, Tiles, Unit, Words, cut, rounded};
