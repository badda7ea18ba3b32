use burn::backend::{Dispatch, DispatchTensor};
use burn::tensor::{DType, Tensor};

use crate::ops::{AttentionKind, AttentionOps, Kernels, kernels};
use crate::{AttentionMask, matmul_few_rows, softmax_masked};

/// Up to so many queries a product with all keys is the fastest, and small.
const FEW_QUERIES: usize = 16;

/// Attention, `softmax(cap(Q K^T) + mask) V`, with `cap(x) = soft_cap * tanh(x)` or `x`.
///
/// The kernel never holds the scores of all pairs: it goes through blocks of queries and keys with
/// a running maximum and sum of each row, keeps the logarithms of the sums, and computes the weights
/// again from them in the backward pass. Memory grows with the length and not with its square, and
/// blocks that a mask hides as a whole are not computed. Queries divide by the root of the head's
/// size beforehand (and by `soft_cap`, where there is one). A query that sees no key gives finite
/// values that mean nothing.
///
/// Source: Dao, arXiv 2307.08691, algorithms 1 and 2.
///
/// # Shapes
///
/// - `q`: `[B, H, S, D]`; head `h` uses the keys of group `h * G / H`
/// - `k`, `v`: `[B, G, T, D]`
/// - result: `[B, S, H, D]`
pub fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    mask: &AttentionMask,
    soft_cap: Option<f64>,
) -> Tensor<4> {
    if let Some((causal, padding, documents)) = mask.parts()
        && q.dims()[2] > FEW_QUERIES
        && fits(&q, &k, &v, padding)
        && documents.is_none_or(|documents| {
            let [b, _, s, _] = q.dims();
            documents.dims() == [b, s] && k.dims()[2] == s
        })
    {
        let depth = q.dims()[3];
        let padding = padding.cloned().map(Tensor::into_dispatch);
        let [q, k, v] = [q, k, v].map(Tensor::into_dispatch);
        let all: Vec<_> = [&q, &k, &v].into_iter().chain(&padding).collect();
        let place = kernels(&all).filter(|place| holds(*place, depth));
        let [q, k, v] = match place {
            None => [q, k, v],
            Some(place) => {
                let documents = documents.cloned();
                let starts = starts(place, mask, &q);
                let kind = AttentionKind { causal, documents, starts, soft_cap };
                return Tensor::from_dispatch(match padding {
                    Some(padding) => Dispatch::attention_padded(q, k, v, padding, kind),
                    None => Dispatch::attention(q, k, v, kind),
                });
            }
        };
        let [q, k, v] = [q, k, v].map(Tensor::from_dispatch);
        return attention_composed(q, k, v, mask, soft_cap);
    }
    attention_composed(q, k, v, mask, soft_cap)
}

/// Whether kernels are for heads of this size.
fn holds(place: Kernels, depth: usize) -> bool {
    match place {
        Kernels::Host => true,
        #[cfg(device_kernels)]
        Kernels::Device => depth <= crate::cube::DEEPEST,
        #[cfg(not(device_kernels))]
        Kernels::Device => depth == 0,
    }
}

/// Where sequences start, for a device that is to read it.
fn starts(place: Kernels, mask: &AttentionMask, q: &DispatchTensor) -> Option<Tensor<2>> {
    #[cfg(device_kernels)]
    if place == Kernels::Device {
        return mask.starts(&Tensor::<4>::from_dispatch(q.clone()).device());
    }
    let _ = (place, mask, q);
    None
}

/// [`attention`] composed of other operations, with the scores of all pairs and the softmax in f32.
pub fn attention_composed(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    mask: &AttentionMask,
    soft_cap: Option<f64>,
) -> Tensor<4> {
    let [b, heads, s, d] = q.dims();
    let [_, groups, keys, _] = k.dims();
    let bias = mask.bias(s, keys, &q.device());
    // The query heads of a group are rows of one product with its keys, so that no key or value is
    // repeated.
    let dtype = q.dtype();
    let rows = heads / groups * s;
    let shared = heads > groups;
    let q = if shared { q.reshape([b, groups, rows, d]) } else { q };
    let scores = matmul_few_rows(q, k.transpose()).cast(DType::F32).reshape([b, heads, s, keys]);
    let scores = match soft_cap {
        Some(cap) => scores.tanh() * cap,
        None => scores,
    };
    let weights = softmax_masked(scores, bias).cast(dtype);
    let y = matmul_few_rows(weights.reshape([b, groups, rows, keys]), v);
    let y = if shared { y.reshape([b, heads, s, d]) } else { y };
    y.swap_dims(1, 2)
}

/// Whether the shapes are those of an attention.
fn fits(q: &Tensor<4>, k: &Tensor<4>, v: &Tensor<4>, padding: Option<&Tensor<2>>) -> bool {
    let [b, heads, s, d] = q.dims();
    let [_, groups, keys, _] = k.dims();
    let full = b > 0 && heads > 0 && groups > 0 && s > 0 && keys > 0 && d > 0;
    let expected = [b, groups, keys, d];
    full && heads.is_multiple_of(groups)
        && k.dims() == expected
        && v.dims() == expected
        && padding.is_none_or(|padding| padding.dims() == [b, keys])
}
