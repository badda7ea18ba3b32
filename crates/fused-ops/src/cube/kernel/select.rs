use cubecl::prelude::*;

/// 1 where fewer than `k` experts of the row are ahead, which have a larger score or an equal one and come
/// before; 0 elsewhere.
#[cube(launch)]
pub(in crate::cube) fn top_k(scores: &Tensor<f32>, out: &mut Tensor<f32>, k: u32, experts: usize) {
    let at = ABSOLUTE_POS;
    if at >= out.len() {
        terminate!();
    }
    let (e, first) = (at % experts, at / experts * experts);
    let score = scores[at];
    let mut ahead = 0u32;
    for other in 0..experts {
        let value = scores[first + other];
        if value > score || (value == score && other < e) {
            ahead += 1u32;
        }
    }
    out[at] = select(ahead < k, 1.0f32, 0.0f32);
}

/// What rows select, one after the other: `[T, k, E]`, in which row `s` of `T` has the `s`-th 1 of the mask.
#[cube(launch)]
pub(in crate::cube) fn one_by_one(
    mask: &Tensor<f32>,
    out: &mut Tensor<f32>,
    k: usize,
    experts: usize,
) {
    let at = ABSOLUTE_POS;
    if at >= out.len() {
        terminate!();
    }
    let (e, rest) = (at % experts, at / experts);
    let (slot, first) = (rest % k, rest / k * experts);
    let mut before = 0usize;
    for other in 0..e {
        if mask[first + other] > 0.5f32 {
            before += 1;
        }
    }
    out[at] = select(before == slot, mask[first + e], 0.0f32);
}

/// `p * mask` over its sum in the row, or over 1 where that is 0.
#[cube(launch)]
pub(in crate::cube) fn kept_shares(
    p: &Tensor<f32>,
    mask: &Tensor<f32>,
    out: &mut Tensor<f32>,
    experts: usize,
) {
    let at = ABSOLUTE_POS;
    if at >= out.len() {
        terminate!();
    }
    out[at] = p[at] * mask[at] / kept_sum(p, mask, at / experts * experts, experts);
}

/// Its gradient, `mask * (g - sum(g * shares)) / sum`.
#[cube(launch)]
pub(in crate::cube) fn kept_shares_backward(
    p: &Tensor<f32>,
    mask: &Tensor<f32>,
    grad: &Tensor<f32>,
    out: &mut Tensor<f32>,
    experts: usize,
) {
    let at = ABSOLUTE_POS;
    if at >= out.len() {
        terminate!();
    }
    let first = at / experts * experts;
    let sum = kept_sum(p, mask, first, experts);
    let mut common = 0.0f32;
    for e in 0..experts {
        common += grad[first + e] * p[first + e] * mask[first + e];
    }
    out[at] = mask[at] * (grad[at] - common / sum) / sum;
}

#[cube]
fn kept_sum(p: &Tensor<f32>, mask: &Tensor<f32>, first: usize, experts: usize) -> f32 {
    let mut sum = 0.0f32;
    for e in 0..experts {
        sum += p[first + e] * mask[first + e];
    }
    select(sum == 0.0f32, 1.0f32, sum)
}

/// What a row of scores comes to, a unit for each: its softmax, 1 where one of the `k` largest is, and what of the
/// softmax is there over its sum.
#[cube(launch)]
pub(in crate::cube) fn top_k_shares(
    scores: &Tensor<f32>,
    softmax: &mut Tensor<f32>,
    mask: &mut Tensor<f32>,
    shares: &mut Tensor<f32>,
    k: u32,
    rows: usize,
    experts: usize,
) {
    let row = ABSOLUTE_POS;
    if row >= rows {
        terminate!();
    }
    let first = row * experts;
    let mut largest = scores[first];
    for e in 1..experts {
        largest = max(largest, scores[first + e]);
    }
    let mut sum = 0.0f32;
    for e in 0..experts {
        sum += (scores[first + e] - largest).exp();
    }
    let mut kept = 0.0f32;
    for e in 0..experts {
        let score = scores[first + e];
        let mut ahead = 0u32;
        for other in 0..experts {
            let value = scores[first + other];
            if value > score || (value == score && other < e) {
                ahead += 1u32;
            }
        }
        let selected = select(ahead < k, 1.0f32, 0.0f32);
        let p = (score - largest).exp() / sum;
        softmax[first + e] = p;
        mask[first + e] = selected;
        kept += p * selected;
    }
    let whole = select(kept == 0.0f32, 1.0f32, kept);
    for e in 0..experts {
        shares[first + e] = softmax[first + e] * mask[first + e] / whole;
    }
}

/// The gradient of the scores, from those of the softmax and of the shares, where there are any.
#[cube(launch)]
pub(in crate::cube) fn top_k_shares_backward(
    softmax: &Tensor<f32>,
    mask: &Tensor<f32>,
    softmax_grad: &Tensor<f32>,
    shares_grad: &Tensor<f32>,
    out: &mut Tensor<f32>,
    rows: usize,
    experts: usize,
    #[comptime] of_softmax: bool,
    #[comptime] of_shares: bool,
) {
    let row = ABSOLUTE_POS;
    if row >= rows {
        terminate!();
    }
    let first = row * experts;
    let kept = kept_sum(softmax, mask, first, experts);
    let mut common = 0.0f32;
    if of_shares {
        for e in 0..experts {
            let at = first + e;
            common += shares_grad[at] * softmax[at] * mask[at];
        }
        common /= kept;
    }
    let mut products = 0.0f32;
    for e in 0..experts {
        let at = first + e;
        let mut grad = 0.0f32;
        if of_softmax {
            grad += softmax_grad[at];
        }
        if of_shares {
            grad += mask[at] * (shares_grad[at] - common) / kept;
        }
        products += grad * softmax[at];
        out[at] = grad;
    }
    for e in 0..experts {
        let at = first + e;
        out[at] = softmax[at] * (out[at] - products);
    }
}
