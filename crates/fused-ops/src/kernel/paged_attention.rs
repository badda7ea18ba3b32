use super::simd::{LANES, multiply_add, multiversioned};

/// The tokens of a block of keys and values, over which vectors go.
pub(crate) const BLOCK: usize = LANES;

/// Queries that meet a block together, so that it is read once for them.
const TOGETHER: usize = 4;

/// `scores[n, i] = sum_d q[n, d] k[d, i]`: queries `[N, depth]`, and blocks `[depth, BLOCK]` that
/// begin at `blocks`.
#[inline(always)]
fn scores_of<const FMA: bool, const N: usize>(
    q: &[f32],
    depth: usize,
    keys: &[f32],
    blocks: &[usize],
    scores: &mut [f32],
) {
    let width = blocks.len() * BLOCK;
    let q: [&[f32]; N] = std::array::from_fn(|n| &q[n * depth..][..depth]);
    for (at, first) in blocks.iter().enumerate() {
        let keys = keys[*first..][..depth * BLOCK].as_chunks::<BLOCK>().0;
        let mut sums = [[0.0f32; BLOCK]; N];
        for (i, keys) in keys.iter().enumerate() {
            for (sums, q) in sums.iter_mut().zip(q) {
                for (sum, key) in sums.iter_mut().zip(keys) {
                    *sum = multiply_add::<FMA>(q[i], *key, *sum);
                }
            }
        }
        for (n, sums) in sums.iter().enumerate() {
            scores[n * width + at * BLOCK..][..BLOCK].copy_from_slice(sums);
        }
    }
}

#[inline(always)]
fn scores_body<const FMA: bool>(
    q: &[f32],
    depth: usize,
    keys: &[f32],
    blocks: &[usize],
    scores: &mut [f32],
) {
    let width = blocks.len() * BLOCK;
    let parts = q.chunks(TOGETHER * depth).zip(scores.chunks_mut(TOGETHER * width));
    for (q, scores) in parts {
        match q.len() / depth {
            1 => scores_of::<FMA, 1>(q, depth, keys, blocks, scores),
            2 => scores_of::<FMA, 2>(q, depth, keys, blocks, scores),
            3 => scores_of::<FMA, 3>(q, depth, keys, blocks, scores),
            _ => scores_of::<FMA, TOGETHER>(q, depth, keys, blocks, scores),
        }
    }
}

/// `out[n, d] += sum_i w[n, i] v[i, d]` over the first `seen` positions of blocks `[BLOCK, depth]`.
#[inline(always)]
fn values_of<const FMA: bool, const N: usize>(
    weights: &[f32],
    depth: usize,
    values: &[f32],
    blocks: &[usize],
    seen: usize,
    out: &mut [f32],
) {
    let width = blocks.len() * BLOCK;
    for (at, first) in blocks.iter().enumerate() {
        let values = values[*first..][..depth * BLOCK].chunks_exact(depth);
        let count = BLOCK.min(seen.saturating_sub(at * BLOCK));
        let weights: [&[f32]; N] =
            std::array::from_fn(|n| &weights[n * width + at * BLOCK..][..count]);
        for part in 0..depth / LANES {
            let place = |n: usize| n * depth + part * LANES;
            let mut sums: [[f32; LANES]; N] = std::array::from_fn(|n| {
                let mut sums = [0.0; LANES];
                sums.copy_from_slice(&out[place(n)..][..LANES]);
                sums
            });
            for (i, row) in values.clone().take(count).enumerate() {
                let row = &row[part * LANES..][..LANES];
                for (sums, weights) in sums.iter_mut().zip(weights) {
                    for (sum, value) in sums.iter_mut().zip(row) {
                        *sum = multiply_add::<FMA>(weights[i], *value, *sum);
                    }
                }
            }
            for (n, sums) in sums.iter().enumerate() {
                out[place(n)..][..LANES].copy_from_slice(sums);
            }
        }
    }
}

#[inline(always)]
fn values_body<const FMA: bool>(
    weights: &[f32],
    depth: usize,
    values: &[f32],
    blocks: &[usize],
    seen: usize,
    out: &mut [f32],
) {
    let width = blocks.len() * BLOCK;
    let parts = weights.chunks(TOGETHER * width).zip(out.chunks_mut(TOGETHER * depth));
    for (weights, out) in parts {
        match out.len() / depth {
            1 => values_of::<FMA, 1>(weights, depth, values, blocks, seen, out),
            2 => values_of::<FMA, 2>(weights, depth, values, blocks, seen, out),
            3 => values_of::<FMA, 3>(weights, depth, values, blocks, seen, out),
            _ => values_of::<FMA, TOGETHER>(weights, depth, values, blocks, seen, out),
        }
    }
}

multiversioned! {
    /// The products of queries `[n, depth]` with the keys of blocks, each `[depth, BLOCK]` from where
    /// `blocks` says, into `[n, blocks * BLOCK]`.
    paged_scores(q: &[f32], depth: usize, keys: &[f32], blocks: &[usize], scores: &mut [f32]) = scores_body
}

multiversioned! {
    /// Adds to `out`, `[n, depth]`, the values of the first `seen` positions of blocks, each
    /// `[BLOCK, depth]`, by weights `[n, blocks * BLOCK]`; `depth` is a multiple of [`BLOCK`].
    paged_values(
        weights: &[f32],
        depth: usize,
        values: &[f32],
        blocks: &[usize],
        seen: usize,
        out: &mut [f32],
    ) = values_body
}
