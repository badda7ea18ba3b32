//! Attention by blocks of queries and keys.

use std::ops::Range;

use burn::backend::TensorMetadata;
use burn::tensor::{Shape, TensorData};
use rayon::prelude::*;

use super::buffer::{Floats, contiguous};
use super::matrix::{Matrix, multiply};
use crate::kernel;
use crate::ops::{Attended, AttentionKind};

/// Queries of a block.
const QUERIES: usize = 64;

/// Keys of a block. The scores of a block stay in the cache of a core.
const KEYS: usize = 256;

/// A key is hidden by a bias below this.
const HIDDEN: f32 = -1e29;

impl AttentionKind {
    /// What a query of a sequence of the batch sees.
    fn visible(&self, batch: usize, query: usize, keys: usize) -> Range<usize> {
        let Range { start, end } =
            self.causal.map_or(0..keys, |causal| causal.visible(query, keys));
        let own = self.documents.as_ref().map_or(0, |documents| documents.start(batch, query));
        start.max(own).min(end)..end
    }

    /// The blocks of keys of which some of these queries see some.
    fn blocks(
        &self,
        batch: usize,
        queries: Range<usize>,
        keys: usize,
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        // The first key that is seen, and the last, grow with the query.
        let first = self.visible(batch, queries.start, keys).start;
        let end = self.visible(batch, queries.end - 1, keys).end;
        (first..end).step_by(KEYS).map(move |start| start..(start + KEYS).min(end))
    }
}

/// The sizes of an attention.
#[derive(Clone, Copy)]
struct Sizes {
    heads: usize,
    groups: usize,
    queries: usize,
    keys: usize,
    depth: usize,
}

impl Sizes {
    fn of(q: &Floats, k: &Floats) -> Self {
        let (q, k) = (q.shape(), k.shape());
        Self { heads: q[1], groups: k[1], queries: q[2], keys: k[2], depth: q[3] }
    }

    /// Where the keys of a head begin.
    fn of_group(&self, batch: usize, head: usize) -> usize {
        (batch * self.groups + head * self.groups / self.heads) * self.keys * self.depth
    }

    /// Where the queries of a head begin.
    fn of_head(&self, batch: usize, head: usize) -> usize {
        (batch * self.heads + head) * self.queries * self.depth
    }
}

/// Which keys are seen in one row of a batch.
#[derive(Clone, Copy)]
struct Seen<'a> {
    kind: &'a AttentionKind,
    batch: usize,
    keys: usize,
    /// What is added to the scores of all its keys.
    padding: Option<&'a [f32]>,
}

impl<'a> Seen<'a> {
    fn of(kind: &'a AttentionKind, padding: Option<&'a [f32]>, batch: usize, keys: usize) -> Self {
        let padding = padding.map(|bias| &bias[batch * keys..][..keys]);
        Self { kind, batch, keys, padding }
    }

    /// The blocks of keys of which some of these queries see some.
    fn blocks(&self, queries: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
        self.kind.blocks(self.batch, queries, self.keys)
    }

    /// Takes what is not to be seen out of the scores of a block.
    fn hide(&self, scores: &mut [f32], queries: Range<usize>, keys: Range<usize>) {
        let seen = |query| {
            let Range { start, end } = self.kind.visible(self.batch, query, self.keys);
            let start = start.clamp(keys.start, keys.end);
            start..end.clamp(start, keys.end)
        };
        let padding = self.padding.map(|bias| &bias[keys.clone()]);
        let padding = padding.filter(|bias| bias.iter().any(|&bias| bias != 0.0));
        let whole = [queries.start, queries.end - 1].into_iter().all(|query| seen(query) == keys);
        if whole && padding.is_none() {
            return;
        }
        for (row, query) in scores.chunks_exact_mut(keys.len()).zip(queries) {
            if let Some(padding) = padding {
                for (score, bias) in row.iter_mut().zip(padding) {
                    *score = if *bias < HIDDEN { f32::NEG_INFINITY } else { *score + bias };
                }
            }
            let seen = seen(query);
            row[..seen.start - keys.start].fill(f32::NEG_INFINITY);
            row[seen.end - keys.start..].fill(f32::NEG_INFINITY);
        }
    }
}

/// The memory of a task.
#[derive(Default)]
struct Scratch {
    scores: Vec<f32>,
    grads: Vec<f32>,
    slopes: Vec<f32>,
    sums: Vec<f32>,
    tops: Vec<f32>,
    scales: Vec<f32>,
    out: Vec<f32>,
}

/// The result `[B, S, H, D]`, and the logarithms of the sums of exponentials `[B, S, H]`, which are
/// infinite where nothing is seen.
pub(super) fn forward(
    [q, k, v]: [Floats; 3],
    padding: Option<Floats>,
    kind: AttentionKind,
) -> (Floats, Floats) {
    let [q, k, v] = [q, k, v].map(contiguous);
    let padding = padding.map(contiguous);
    let sizes = Sizes::of(&q, &k);
    let Sizes { heads, queries, keys, depth, .. } = sizes;
    let batch = q.shape()[0];
    let padding = padding.as_ref().map(|padding| padding.storage::<f32>());
    let [q, k, v] = [&q, &k, &v].map(|tensor| tensor.storage::<f32>());
    let mut out = vec![0.0f32; batch * queries * heads * depth];
    let mut log_sums = vec![0.0f32; batch * queries * heads];
    let blocks = queries.div_ceil(QUERIES);
    // Blocks of one sequence do not reach into the next.
    let parts: Vec<(&mut [f32], &mut [f32])> = out
        .chunks_mut(queries * heads * depth)
        .zip(log_sums.chunks_mut(queries * heads))
        .flat_map(|(out, log_sums)| {
            out.chunks_mut(QUERIES * heads * depth).zip(log_sums.chunks_mut(QUERIES * heads))
        })
        .collect();
    parts.into_par_iter().enumerate().for_each_init(
        Scratch::default,
        |scratch, (part, (out, log_sums))| {
            let (batch, start) = (part / blocks, part % blocks * QUERIES);
            let rows = start..(start + QUERIES).min(queries);
            for head in 0..heads {
                let q = &q[sizes.of_head(batch, head) + start * depth..][..rows.len() * depth];
                let group = sizes.of_group(batch, head);
                let [k, v] = [k, v].map(|all| &all[group..][..keys * depth]);
                let seen = Seen::of(&kind, padding, batch, keys);
                block_of_queries(scratch, [q, k, v], depth, rows.clone(), seen);
                for (i, row) in scratch.out.chunks_exact(depth).enumerate() {
                    out[(i * heads + head) * depth..][..depth].copy_from_slice(row);
                    log_sums[i * heads + head] = match scratch.tops[i] {
                        f32::NEG_INFINITY => f32::INFINITY,
                        top => top + scratch.sums[i].ln(),
                    };
                }
            }
        },
    );
    let out = TensorData::new(out, Shape::from([batch, queries, heads, depth]));
    let log_sums = TensorData::new(log_sums, Shape::from([batch, queries, heads]));
    (Floats::from_data(out), Floats::from_data(log_sums))
}

/// Fills the result of a head for some of its queries, and the maxima and sums of their scores.
fn block_of_queries(
    scratch: &mut Scratch,
    [q, k, v]: [&[f32]; 3],
    depth: usize,
    queries: Range<usize>,
    seen: Seen<'_>,
) {
    let rows = queries.len();
    let Scratch { scores, slopes, sums, tops, scales, out, .. } = scratch;
    let reset = |values: &mut Vec<f32>, len: usize, value: f32| {
        values.clear();
        values.resize(len, value);
    };
    reset(sums, rows, 0.0);
    reset(tops, rows, f32::NEG_INFINITY);
    reset(scales, rows, 1.0);
    reset(out, rows * depth, 0.0);
    for keys in seen.blocks(queries.clone()) {
        let width = keys.len();
        scores.resize(rows * width, 0.0);
        let of_keys = keys.start * depth..keys.end * depth;
        let [k, v] = [k, v].map(|all| Matrix::whole(&all[of_keys.clone()], depth));
        multiply(Matrix::whole(q, depth), k.transposed(), scores, false);
        if let Some(cap) = seen.kind.soft_cap {
            slopes.resize(rows * width, 0.0);
            kernel::soft_cap(scores, cap as f32, slopes);
        }
        seen.hide(scores, queries.clone(), keys);
        kernel::online_softmax(scores, width, tops, sums, scales);
        kernel::scale_rows(out, depth, scales);
        multiply(Matrix::whole(scores, width), v, out, true);
    }
    for (scale, sum) in scales.iter_mut().zip(sums.iter()) {
        *scale = if *sum == 0.0 { 0.0 } else { 1.0 / sum };
    }
    kernel::scale_rows(out, depth, scales);
}

/// The gradients of queries, keys and values.
pub(super) fn backward(attended: Attended<Floats>, grad: Floats) -> [Floats; 3] {
    let Attended { q, k, v, padding, out, log_sums, kind } = attended;
    let sizes = Sizes::of(&q, &k);
    let Sizes { heads, groups, queries, keys, depth } = sizes;
    let batch = q.shape()[0];
    let [q, k, v, out, log_sums, grad] = [q, k, v, out, log_sums, grad].map(contiguous);
    let padding = padding.map(contiguous);
    let padding = padding.as_ref().map(|padding| padding.storage::<f32>());
    let [q, k, v, out, log_sums, grad] =
        [&q, &k, &v, &out, &log_sums, &grad].map(|tensor| tensor.storage::<f32>());
    // A task is a head, which has its own sums for keys and values; heads of a group add theirs.
    let mut q_grad = vec![0.0f32; batch * heads * queries * depth];
    let mut k_grad = vec![0.0f32; batch * heads * keys * depth];
    let mut v_grad = vec![0.0f32; batch * heads * keys * depth];
    let of_heads = (
        q_grad.par_chunks_mut(queries * depth),
        k_grad.par_chunks_mut(keys * depth),
        v_grad.par_chunks_mut(keys * depth),
    );
    of_heads.into_par_iter().enumerate().for_each_init(
        Scratch::default,
        |scratch, (place, (q_grad, k_grad, v_grad))| {
            let (batch, head) = (place / heads, place % heads);
            let group = sizes.of_group(batch, head);
            let [k, v] = [k, v].map(|all| &all[group..][..keys * depth]);
            for start in (0..queries).step_by(QUERIES) {
                let rows = start..(start + QUERIES).min(queries);
                let first = (batch * queries + start) * heads + head;
                let q = &q[sizes.of_head(batch, head) + start * depth..][..rows.len() * depth];
                let [out, grad] = [out, grad].map(|all| &all[first * depth..]);
                let log_sums = log_sums[first..].iter().step_by(heads).take(rows.len());
                scratch.sums.clear();
                scratch.sums.extend(log_sums);
                scratch.scales.resize(rows.len(), 0.0);
                kernel::row_dots(out, grad, depth, heads * depth, &mut scratch.scales);
                let q_grad = &mut q_grad[start * depth..][..rows.len() * depth];
                let seen = Seen::of(&kind, padding, batch, keys);
                let inputs = [q, k, v, grad];
                let grads = [q_grad, k_grad, v_grad];
                block_backward(scratch, inputs, grads, [depth, heads], rows, seen);
            }
        },
    );
    let per_group = heads / groups;
    let grouped = |grads: Vec<f32>| {
        let grads = if per_group == 1 { grads } else { summed(&grads, per_group, keys * depth) };
        Floats::from_data(TensorData::new(grads, Shape::from([batch, groups, keys, depth])))
    };
    let q_shape = Shape::from([batch, heads, queries, depth]);
    [Floats::from_data(TensorData::new(q_grad, q_shape)), grouped(k_grad), grouped(v_grad)]
}

/// Adds what some queries of a head give to the gradients of queries, keys and values. The scratch
/// holds their logarithms of sums, and the products of result and gradient.
fn block_backward(
    scratch: &mut Scratch,
    [q, k, v, grad]: [&[f32]; 4],
    [q_grad, k_grad, v_grad]: [&mut [f32]; 3],
    [depth, heads]: [usize; 2],
    queries: Range<usize>,
    seen: Seen<'_>,
) {
    let rows = queries.len();
    let Scratch { scores, grads, slopes, sums: log_sums, scales: deltas, .. } = scratch;
    let q = Matrix::whole(q, depth);
    let grad = Matrix::strided(grad, heads * depth, [rows, depth]);
    for keys in seen.blocks(queries.clone()) {
        let width = keys.len();
        scores.resize(rows * width, 0.0);
        grads.resize(rows * width, 0.0);
        let of_keys = keys.start * depth..keys.end * depth;
        let [k, v] = [k, v].map(|all| Matrix::whole(&all[of_keys.clone()], depth));
        multiply(q, k.transposed(), scores, false);
        if let Some(cap) = seen.kind.soft_cap {
            slopes.resize(rows * width, 0.0);
            kernel::soft_cap(scores, cap as f32, slopes);
        }
        seen.hide(scores, queries.clone(), keys);
        kernel::exp_less(scores, width, log_sums);
        let weights = Matrix::whole(scores, width);
        multiply(weights.transposed(), grad, &mut v_grad[of_keys.clone()], true);
        multiply(grad, v.transposed(), grads, false);
        kernel::score_gradients(scores, grads, width, deltas);
        if seen.kind.soft_cap.is_some() {
            grads.iter_mut().zip(slopes.iter()).for_each(|(grad, slope)| *grad *= slope);
        }
        let score_grads = Matrix::whole(grads, width);
        multiply(score_grads, k, q_grad, true);
        multiply(score_grads.transposed(), q, &mut k_grad[of_keys], true);
    }
}

/// The sums of every `count` neighbouring parts of `len`.
fn summed(parts: &[f32], count: usize, len: usize) -> Vec<f32> {
    let sums = parts.par_chunks(count * len).map(|parts| {
        let (first, rest) = parts.split_at(len);
        let mut sum = first.to_vec();
        for part in rest.chunks_exact(len) {
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        sum
    });
    sums.collect::<Vec<_>>().concat()
}
