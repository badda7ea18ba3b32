//! What an attention is of, and what is seen of it.

use std::ops::Range;

use burn::backend::TensorMetadata;

use super::super::buffer::Floats;
use crate::ops::AttentionKind;

/// A key is hidden by a bias below this.
const HIDDEN: f32 = -1e29;

/// The sizes of an attention.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) heads: usize,
    pub(super) groups: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) depth: usize,
}

impl Sizes {
    pub(super) fn of(q: &Floats, k: &Floats) -> Self {
        let (q, k) = (q.shape(), k.shape());
        Self { batch: q[0], heads: q[1], groups: k[1], queries: q[2], keys: k[2], depth: q[3] }
    }

    /// The group of keys of a head, counted over the batch.
    pub(super) fn group(&self, batch: usize, head: usize) -> usize {
        batch * self.groups + head * self.groups / self.heads
    }

    /// Where some queries begin in a result `[B, S, H, D]`, whose rows are `H D` apart.
    pub(super) fn result(&self, queries: &Queries) -> usize {
        self.log_sums(queries) * self.depth
    }

    /// The same in `[B, S, H]`.
    pub(super) fn log_sums(&self, Queries { batch, head, rows }: &Queries) -> usize {
        (batch * self.queries + rows.start) * self.heads + head
    }
}

/// The tensors of an attention, in order.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) sizes: Sizes,
    pub(super) q: &'a [f32],
    pub(super) k: &'a [f32],
    pub(super) v: &'a [f32],
    /// What is added to the scores of all keys, `[B, T]`.
    pub(super) padding: Option<&'a [f32]>,
    pub(super) kind: &'a AttentionKind,
}

/// Some queries of a head.
#[derive(Clone)]
pub(super) struct Queries {
    pub(super) batch: usize,
    pub(super) head: usize,
    pub(super) rows: Range<usize>,
}

impl<'a> Inputs<'a> {
    /// The rows of some queries.
    pub(super) fn queries(&self, queries: &Queries) -> &'a [f32] {
        let Sizes { heads, queries: count, depth, .. } = self.sizes;
        let start = (queries.batch * heads + queries.head) * count + queries.rows.start;
        &self.q[start * depth..][..queries.rows.len() * depth]
    }

    /// The rows of the keys of a group, or of its values.
    pub(super) fn of_group(&self, all: &'a [f32], group: usize) -> &'a [f32] {
        let len = self.sizes.keys * self.sizes.depth;
        &all[group * len..][..len]
    }

    /// What a query sees.
    fn visible(&self, batch: usize, query: usize) -> Range<usize> {
        let keys = self.sizes.keys;
        let Range { start, end } =
            self.kind.causal.map_or(0..keys, |causal| causal.visible(query, keys));
        let documents = self.kind.documents.as_ref();
        let own = documents.map_or(0, |documents| documents.start(batch, query));
        start.max(own).min(end)..end
    }

    /// The blocks of at most `len` keys of which some of these queries see some. They begin and end at whole
    /// multiples of `unit`, the last beyond the keys where need be.
    pub(super) fn blocks(
        &self,
        queries: &Queries,
        len: usize,
        unit: usize,
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        // The first key that is seen, and the last, grow with the query.
        let first = self.visible(queries.batch, queries.rows.start).start / unit * unit;
        let end = self.visible(queries.batch, queries.rows.end - 1).end.next_multiple_of(unit);
        (first..end).step_by(len).map(move |start| start..(start + len).min(end))
    }

    /// Takes what is not to be seen out of the scores of a block, whose keys may be more than there are.
    pub(super) fn hide(&self, scores: &mut [f32], queries: &Queries, keys: Range<usize>) {
        let seen = |query| {
            let Range { start, end } = self.visible(queries.batch, query);
            let start = start.clamp(keys.start, keys.end);
            start..end.clamp(start, keys.end)
        };
        let there = keys.start..keys.end.min(self.sizes.keys);
        let padding =
            self.padding.map(|bias| &bias[queries.batch * self.sizes.keys..][there.clone()]);
        let padding = padding.filter(|bias| bias.iter().any(|&bias| bias != 0.0));
        let ends = [queries.rows.start, queries.rows.end - 1];
        if ends.into_iter().all(|query| seen(query) == keys) && padding.is_none() {
            return;
        }
        for (row, query) in scores.chunks_exact_mut(keys.len()).zip(queries.rows.clone()) {
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
