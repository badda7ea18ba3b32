//! Which experts a token selects, from its scores: pure functions of tensors `[T, E]`.
//!
//! None of them sorts on a GPU, because that waits for the host. [`top_p`] and [`sparsegen`] compare
//! each expert with each other one there, which takes `T * E * E` comparisons and as much memory:
//! little for the numbers of experts in use (up to 64 or so). On a CPU they sort each row. Of
//! experts with equal scores the first is ahead. The masks are decided without gradients.

mod host;

use burn::tensor::{Bool, DType, Int, Tensor};
use fused_ops::{TopKShares, kept_shares, runs_kernels, softmax_rows};

/// Whether an expert is ahead of another one: `[T, E, E]`, true at `[t, e, j]` where `j` has a
/// larger score than `e`, or an equal one and a smaller index.
fn ahead(scores: Tensor<2>) -> Tensor<3, Bool> {
    let scores = scores.without_autodiff();
    let [tokens, experts] = scores.dims();
    let device = scores.device();
    let shape = [tokens, experts, experts];
    let of_e = scores.clone().unsqueeze_dim::<3>(2).expand(shape);
    let of_j = scores.unsqueeze_dim::<3>(1).expand(shape);
    let index = Tensor::<1, Int>::arange(0..experts as i64, &device);
    let earlier = index
        .clone()
        .unsqueeze_dim::<2>(0)
        .expand([experts, experts])
        .lower(index.unsqueeze_dim::<2>(1).expand([experts, experts]));
    let earlier = earlier.unsqueeze_dim::<3>(0).expand(shape);
    of_j.clone().greater(of_e.clone()).bool_or(of_j.equal(of_e).bool_and(earlier))
}

/// The `k` experts with the largest scores, found one after the other: `k` times an argmax and two
/// element-wise operations on `[T, E]`.
pub fn top_k(scores: Tensor<2>, k: usize) -> Tensor<2, Bool> {
    let scores = scores.without_autodiff();
    let shape = scores.dims();
    let index = Tensor::<1, Int>::arange(0..shape[1] as i64, &scores.device());
    let index = index.unsqueeze_dim::<2>(0).expand(shape);
    let mut left = scores;
    let mut selected: Option<Tensor<2, Bool>> = None;
    for _ in 0..k {
        let best = left.clone().argmax(1).expand(shape).equal(index.clone());
        left = left.mask_fill(best.clone(), f32::MIN);
        selected = Some(match selected {
            Some(selected) => selected.bool_or(best),
            None => best,
        });
    }
    selected.unwrap_or_else(|| index.lower_scalar(0))
}

/// Which experts were selected, as 1 and 0 in f32, without a gradient.
pub fn as_mask(selected: Tensor<2, Bool>) -> Tensor<2> {
    selected.float().cast(DType::F32).without_autodiff()
}

/// [`top_k`] as 1 and 0, without a gradient: one kernel on GPUs.
pub fn top_k_mask(scores: Tensor<2>, k: usize) -> Tensor<2> {
    let scores = scores.without_autodiff();
    match fused_ops::top_k_mask(&scores, k) {
        Some(mask) => mask,
        None => as_mask(top_k(scores, k)),
    }
}

/// The probabilities of logits, which experts have the `k` largest, and how the selected ones share 1 by their
/// probabilities.
pub fn top_k_shares(logits: &Tensor<2>, k: usize) -> TopKShares {
    fused_ops::top_k_shares(logits, k).unwrap_or_else(|| {
        let probabilities = softmax_rows(logits.clone());
        let mask = top_k_mask(logits.clone(), k);
        let weights = kept_shares(probabilities.clone(), mask.clone());
        TopKShares { probabilities, mask, weights }
    })
}

/// What [`top_p`] does with the expert at which the sum of probabilities exceeds `p`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crossing {
    /// It is selected, as in MixLoRA's dynamic routing.
    Kept,
    /// It is not, as in DynMoLE.
    Dropped,
}

/// The experts with the largest probabilities while their sum is at most `p`, the one at which it
/// exceeds `p` kept or dropped, and the first `min_experts` in any case. All for `p` of 1.
pub fn top_p(
    probabilities: Tensor<2>,
    p: f64,
    crossing: Crossing,
    min_experts: usize,
) -> Tensor<2, Bool> {
    // A sum of probabilities may be rounded to more than 1.
    let p = if p >= 1.0 { f64::from(f32::MAX) } else { p };
    let probabilities = probabilities.without_autodiff();
    match runs_kernels(&probabilities) {
        true => host::top_p(&probabilities, p, crossing, min_experts).greater_scalar(0.5),
        false => top_p_compared(probabilities, p, crossing, min_experts),
    }
}

fn top_p_compared(
    probabilities: Tensor<2>,
    p: f64,
    crossing: Crossing,
    min_experts: usize,
) -> Tensor<2, Bool> {
    let [tokens, experts] = probabilities.dims();
    let ahead = ahead(probabilities.clone()).float();
    let of_j = probabilities.clone().unsqueeze_dim::<3>(1).expand([tokens, experts, experts]);
    let before: Tensor<2> = (of_j * ahead.clone()).sum_dim(2).squeeze_dim(2);
    let sums = match crossing {
        Crossing::Kept => before,
        Crossing::Dropped => before + probabilities,
    };
    let ranks: Tensor<2> = ahead.sum_dim(2).squeeze_dim(2);
    sums.lower_equal_scalar(p).bool_or(ranks.lower_scalar(min_experts as f64))
}

/// Sparsegen: the projection of the logits onto the simplex, with sparsity `lambda < 1`.
///
/// `w = relu(z - tau) / (1 - lambda)`, `tau = (sum of the k largest z - 1 + lambda) / k`, with `k`
/// the largest number for which `1 - lambda + k z_(k) > sum of the k largest z`. Sources: Laha et
/// al., arXiv 1810.11975; LD-MoLE, arXiv 2509.25684, proposition 1. An expert is in the support
/// exactly where `sum_j relu(z_j - z_e) < 1 - lambda`, which needs no sorting and does not lose
/// digits where logits are large.
///
/// # Shapes
///
/// - `logits`: `[T, E]`
/// - `lambda`: `[T, 1]`
/// - the weights: `[T, E]`; each row sums to 1
pub fn sparsegen(logits: Tensor<2>, lambda: Tensor<2>) -> Tensor<2> {
    // The weights do not change with a constant added to all logits.
    let largest = logits.clone().without_autodiff().max_dim(1);
    let logits = logits - largest;
    let room = lambda.neg().add_scalar(1.0);
    let [fixed, limit] = [&logits, &room].map(|tensor| tensor.clone().without_autodiff());
    let support = match runs_kernels(&fixed) {
        true => host::support(&fixed, &limit),
        false => support_compared(fixed, limit),
    };

    let count = support.clone().sum_dim(1);
    let sum = (logits.clone() * support.clone()).sum_dim(1);
    let tau = (sum - room.clone()) / count;
    // Rounding may leave an expert at the edge of the support a little below 0.
    ((logits - tau) * support).clamp_min(0.0) / room
}

/// The support of [`sparsegen`], `[T, E]` of 1 and 0.
fn support_compared(fixed: Tensor<2>, room: Tensor<2>) -> Tensor<2> {
    let [tokens, experts] = fixed.dims();
    let shape = [tokens, experts, experts];
    let of_j = fixed.clone().unsqueeze_dim::<3>(1).expand(shape);
    let excess = of_j - fixed.unsqueeze_dim::<3>(2).expand(shape);
    let excess: Tensor<2> = excess.clamp_min(0.0).sum_dim(2).squeeze_dim(2);
    excess.lower(room.expand([tokens, experts])).float()
}

/// The values where `mask`, 0 elsewhere.
pub fn keep(values: Tensor<2>, mask: Tensor<2, Bool>) -> Tensor<2> {
    values * mask.float().without_autodiff()
}

/// The values where `mask`, over their sum in each row; a row in which that is 0 stays as it is.
pub fn renormalise(values: Tensor<2>, mask: Tensor<2, Bool>) -> Tensor<2> {
    kept_shares(values, mask.float().without_autodiff())
}

/// The softmax over the experts where `mask`, 0 elsewhere.
pub fn masked_softmax(logits: Tensor<2>, mask: Tensor<2, Bool>) -> Tensor<2> {
    softmax_rows(logits.mask_fill(mask.bool_not(), -1e30))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use crate::random;

    fn floats(tensor: Tensor<2>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    /// Scores with many equal ones among them.
    fn scores(experts: usize, spread: f64, rng: &mut SmallRng) -> Tensor<2> {
        random::normal([300, experts], spread, rng, &Device::flex()).round() / 4.0
    }

    #[test]
    fn sorted_rows_select_what_compared_ones_do() {
        // Of other numbers one in some millions is at a bound to rounding, and either side is right.
        let mut rng = SmallRng::seed_from_u64(0);
        for (experts, spread) in [(1, 1.0), (5, 3.0), (8, 20.0), (64, 2.0), (64, 12.0)] {
            let scores = scores(experts, spread, &mut rng);
            let probabilities = softmax_rows(scores.clone());
            for crossing in [Crossing::Kept, Crossing::Dropped] {
                // Sums of equal scores are at no bound that is reached by rounding.
                for (p, min) in [(0.501, 1), (0.7503, 2.min(experts)), (0.9001, 0)] {
                    let sorted = host::top_p(&probabilities, p, crossing, min);
                    let compared = top_p_compared(probabilities.clone(), p, crossing, min).float();
                    assert_eq!(floats(sorted), floats(compared), "{experts} {p} {crossing:?}");
                }
            }
            let logits = scores.clone() - scores.max_dim(1);
            let room = random::uniform([300, 1], 0.01, 3.0, &mut rng, &Device::flex());
            let sorted = host::support(&logits, &room);
            assert_eq!(floats(sorted), floats(support_compared(logits, room)), "{experts}");
        }
    }
}
