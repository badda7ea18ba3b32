//! Attention over keys and values that lie in blocks of a pool.

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor;
use burn::backend::{DispatchTensor, DispatchTensorKind, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Shape, TensorData};
use rayon::prelude::*;

use super::attention;
use super::buffer::{Floats, contiguous};
use crate::kernel::{self, BLOCK};
use crate::ops::AttentionKind;
use crate::{Causal, PagedPass, PagedRow};

/// Up to so many new tokens of a row go through its blocks one by one; for more, the blocks are put
/// in order first.
const FEW: usize = 16;

/// The operation over a pool of blocks. Only called for what [`pages`] allows.
#[backend_extension(Flex)]
pub(crate) trait PagedOps: Backend {
    /// See [`paged_attention`](crate::paged_attention).
    fn paged_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        pass: PagedPass,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// Whether all tensors are f32 on Flex, and none is of autodiff.
pub(crate) fn pages(tensors: &[&DispatchTensor]) -> bool {
    let on_flex = |tensor: &&DispatchTensor| {
        matches!(tensor.kind, DispatchTensorKind::Flex(_)) && tensor.kind.dtype() == DType::F32
    };
    tensors.iter().all(on_flex)
}

impl PagedOps for Flex {
    fn paged_attention(
        q: Floats,
        k: Floats,
        v: Floats,
        keys: Floats,
        values: Floats,
        pass: PagedPass,
    ) -> (Floats, Floats, Floats) {
        let [q, k, v, mut keys, mut values] = [q, k, v, keys, values].map(contiguous);
        let (q_shape, k_shape) = (q.shape(), k.shape());
        let sizes = Sizes { heads: q_shape[1], groups: k_shape[1], depth: q_shape[2] };
        write(&k, &v, keys.storage_mut(), values.storage_mut(), sizes, &pass.rows);
        let out = attend(&q, &keys, &values, sizes, &pass);
        (out, keys, values)
    }
}

#[derive(Clone, Copy)]
struct Sizes {
    heads: usize,
    groups: usize,
    depth: usize,
}

impl Sizes {
    /// Where a group of a block begins.
    fn place(self, block: u32, group: usize) -> usize {
        (block as usize * self.groups + group) * self.depth * BLOCK
    }
}

/// Puts new keys and values into their blocks.
fn write(
    k: &Floats,
    v: &Floats,
    keys: &mut [f32],
    values: &mut [f32],
    sizes: Sizes,
    rows: &[PagedRow],
) {
    let Sizes { groups, depth, .. } = sizes;
    let width = groups * depth;
    let (k, v) = (k.storage::<f32>(), v.storage::<f32>());
    let positions =
        rows.iter().flat_map(|row| (row.past..row.past + row.new).map(move |p| (row, p)));
    let new = k.chunks_exact(width).zip(v.chunks_exact(width));
    for ((row, position), (k, v)) in positions.zip(new) {
        let (block, at) = (row.blocks[position / BLOCK], position % BLOCK);
        let each = k.chunks_exact(depth).zip(v.chunks_exact(depth));
        for (group, (k, v)) in each.enumerate() {
            let first = sizes.place(block, group);
            let column = keys[first..][..depth * BLOCK].iter_mut().skip(at).step_by(BLOCK);
            column.zip(k).for_each(|(key, k)| *key = *k);
            values[first + at * depth..][..depth].copy_from_slice(v);
        }
    }
}

/// What the new tokens see of their rows, `[T, H, D]`.
fn attend(q: &Floats, keys: &Floats, values: &Floats, sizes: Sizes, pass: &PagedPass) -> Floats {
    let Sizes { heads, groups, depth } = sizes;
    let per_group = heads / groups;
    let q = q.storage::<f32>();
    let (keys, values) = (keys.storage::<f32>(), values.storage::<f32>());
    let mut out = vec![0.0f32; q.len()];
    // Of each new token of rows that have few, the row and its position.
    let mut places = Vec::new();
    let mut many = Vec::new();
    for row in pass.rows.iter() {
        if row.new > FEW {
            many.push((places.len(), row));
        }
        let few = row.new <= FEW;
        places
            .extend((row.past..row.past + row.new).map(|position| few.then_some((row, position))));
    }
    let (size, soft_cap) = (per_group * depth, pass.soft_cap.map(|cap| cap as f32));
    out.par_chunks_mut(size).zip(q.par_chunks(size)).enumerate().for_each_init(
        Scratch::default,
        |scratch, (task, (out, q))| {
            let Some((row, position)) = places[task / groups] else { return };
            let group = task % groups;
            let first = pass.window.map_or(0, |window| (position + 1).saturating_sub(window));
            let blocks = &row.blocks[first / BLOCK..=position / BLOCK];
            let start = first / BLOCK * BLOCK;
            let seen = [first - start, position + 1 - start];
            scratch.blocks.clear();
            scratch.blocks.extend(blocks.iter().map(|block| sizes.place(*block, group)));
            one_query(scratch, q, [keys, values], depth, seen, soft_cap, out);
        },
    );
    for (first, row) in many {
        let range = first * heads * depth..(first + row.new) * heads * depth;
        let rows = many_queries(&q[range.clone()], [keys, values], sizes, row, pass);
        out[range].copy_from_slice(rows.storage::<f32>());
    }
    Floats::from_data(TensorData::new(out, Shape::from([places.len(), heads, depth])))
}

/// The memory of a task.
#[derive(Default)]
struct Scratch {
    blocks: Vec<usize>,
    scores: Vec<f32>,
    slopes: Vec<f32>,
}

/// One token: the heads of a group `[n, depth]`, over the positions `seen` of the blocks.
fn one_query(
    scratch: &mut Scratch,
    q: &[f32],
    [keys, values]: [&[f32]; 2],
    depth: usize,
    [first, end]: [usize; 2],
    soft_cap: Option<f32>,
    out: &mut [f32],
) {
    let Scratch { blocks, scores, slopes } = scratch;
    let width = blocks.len() * BLOCK;
    scores.resize(q.len() / depth * width, 0.0);
    kernel::paged_scores(q, depth, keys, blocks, scores);
    if let Some(cap) = soft_cap {
        slopes.resize(scores.len(), 0.0);
        kernel::soft_cap(scores, cap, slopes);
    }
    for row in scores.chunks_exact_mut(width) {
        row[..first].fill(f32::NEG_INFINITY);
        kernel::softmax_row(row, &[], end);
    }
    kernel::paged_values(scores, depth, values, blocks, end, out);
}

/// The new tokens of a row, `[S, H, D]`, over its blocks put in order.
fn many_queries(
    q: &[f32],
    [keys, values]: [&[f32]; 2],
    sizes: Sizes,
    row: &PagedRow,
    pass: &PagedPass,
) -> Floats {
    let Sizes { heads, groups, depth } = sizes;
    let len = row.past + row.new;
    let window = pass.window.unwrap_or(usize::MAX);
    let first = (row.past + 1).saturating_sub(window) / BLOCK * BLOCK;
    let count = len - first;
    let mut ordered = [0, 1].map(|_| vec![0.0f32; groups * count * depth]);
    let [k, v] = &mut ordered;
    for group in 0..groups {
        for (at, position) in (first..len).step_by(BLOCK).enumerate() {
            let from = sizes.place(row.blocks[position / BLOCK], group);
            let here = BLOCK.min(len - position);
            let to = (group * count + at * BLOCK) * depth;
            v[to..][..here * depth].copy_from_slice(&values[from..][..here * depth]);
            let columns = keys[from..][..depth * BLOCK].as_chunks::<BLOCK>().0;
            for (token, k) in k[to..][..here * depth].chunks_exact_mut(depth).enumerate() {
                k.iter_mut().zip(columns).for_each(|(k, column)| *k = column[token]);
            }
        }
    }
    let mut by_head = vec![0.0f32; q.len()];
    for (head, out) in by_head.chunks_exact_mut(row.new * depth).enumerate() {
        let from = q.chunks_exact(depth).skip(head).step_by(heads);
        out.chunks_exact_mut(depth).zip(from).for_each(|(out, q)| out.copy_from_slice(q));
    }
    let floats = |values: Vec<f32>, heads: usize, tokens: usize| {
        Floats::from_data(TensorData::new(values, Shape::from([1, heads, tokens, depth])))
    };
    let [k, v] = ordered.map(|ordered| floats(ordered, groups, count));
    let causal = Some(Causal { offset: row.past - first, window: pass.window });
    let kind = AttentionKind { causal, documents: None, starts: None, soft_cap: pass.soft_cap };
    attention::forward([floats(by_head, heads, row.new), k, v], None, kind).0
}
