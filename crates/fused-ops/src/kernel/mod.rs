//! Loops over f32 slices, each on one thread, written so that the compiler vectorises them.

mod dropout;
mod few_rows;
mod norm;
mod rope;
mod sigmoid;
mod simd;
mod softmax;

pub(crate) use dropout::{Mask as DropoutMask, dropout, dropout_in_place};
pub(crate) use few_rows::{COLUMNS, few_rows_by_columns, few_rows_by_rows};
pub(crate) use norm::{rms_norm, rms_norm_backward};
pub(crate) use rope::{turn, turn_back};
pub(crate) use sigmoid::{silu_mul, silu_mul_backward};
pub(crate) use softmax::{softmax_backward, softmax_row};
