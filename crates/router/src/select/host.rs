//! Selections on a CPU, where a row can be sorted: `T E log E` steps instead of `T E E`.

use burn::tensor::{DType, Tensor, TensorData};
use fused_ops::HostValues;
use rayon::prelude::*;

use super::Crossing;

/// Rows that one task takes.
const ROWS: usize = 64;

/// A mask `[T, E]` of 1 and 0, row by row: `select` is given the experts of a row from the largest
/// score on, each with its score, and says which are in the mask.
fn masked(
    scores: &Tensor<2>,
    select: impl Fn(usize, &[(f32, u32)], &mut [f32]) + Sync,
) -> Tensor<2> {
    let [tokens, experts] = scores.dims();
    let device = scores.device();
    let values = HostValues::of(scores);
    let mut mask = vec![0.0f32; tokens * experts];
    let width = experts.max(1);
    let blocks = mask.par_chunks_mut(ROWS * width).zip(values.par_chunks(ROWS * width));
    blocks.enumerate().for_each(|(block, (mask, values))| {
        let mut order = Vec::with_capacity(experts);
        let rows = mask.chunks_exact_mut(width).zip(values.chunks_exact(width));
        for (row, (mask, values)) in rows.enumerate() {
            order.clear();
            order.extend(values.iter().copied().zip(0..));
            // Of experts with equal scores the first is ahead.
            order.sort_unstable_by(|(a, i), (b, j)| b.total_cmp(a).then(i.cmp(j)));
            select(block * ROWS + row, &order, mask);
        }
    });
    let mask = TensorData::new(mask, [tokens, experts]);
    Tensor::from_data(mask, (&device, DType::F32)).without_autodiff()
}

/// See [`top_p`](super::top_p).
pub(super) fn top_p(
    probabilities: &Tensor<2>,
    p: f64,
    crossing: Crossing,
    min_experts: usize,
) -> Tensor<2> {
    masked(probabilities, |_, order, mask| {
        let mut before = 0.0f64;
        for (rank, &(probability, expert)) in order.iter().enumerate() {
            let with = before + f64::from(probability);
            let sum = if crossing == Crossing::Kept { before } else { with };
            if sum > p && rank >= min_experts {
                break;
            }
            mask[expert as usize] = 1.0;
            before = with;
        }
    })
}

/// The experts in the support of [`sparsegen`](super::sparsegen): those with
/// `sum_j relu(z_j - z_e) < room`; `room` is `[T, 1]`.
pub(super) fn support(logits: &Tensor<2>, room: &Tensor<2>) -> Tensor<2> {
    let room = HostValues::of(room);
    masked(logits, |row, order, mask| {
        let room = f64::from(room[row]);
        let mut sum = 0.0f64;
        for (ahead, &(logit, expert)) in order.iter().enumerate() {
            // What is ahead exceeds this by its sum, less as many times this.
            let logit = f64::from(logit);
            if sum - ahead as f64 * logit >= room {
                break;
            }
            mask[expert as usize] = 1.0;
            sum += logit;
        }
    })
}
