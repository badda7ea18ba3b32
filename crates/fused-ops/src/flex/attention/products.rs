//! What the passes of an attention leave to those who multiply.

use std::ops::Range;

use super::inputs::Queries;

/// The products of an attention on one thread, for one block of queries after the other.
///
/// Scores and weights are rows of as many as there are keys in a block, [`rows`](Self::rows) for so many
/// queries, of which those beyond the queries mean nothing.
pub(super) trait Products {
    /// Blocks of keys begin and end at whole multiples of it.
    fn unit(&self) -> usize;

    /// The rows of the scores of so many queries.
    fn rows(&self, queries: usize) -> usize;

    /// The columns of rows of results and of gradients of queries.
    fn columns(&self) -> usize;

    /// Turns to these queries.
    fn begin(&mut self, queries: &Queries);

    /// `scores = Q K^T`.
    fn scores(&mut self, keys: Range<usize>, scores: &mut [f32]);

    /// `out += P V`, `out` being [`rows`](Self::rows) of [`columns`](Self::columns).
    fn add_values(&mut self, weights: &[f32], keys: Range<usize>, out: &mut [f32]);
}

/// The products of the backward pass, for one head after the other. Gradients of its keys and values are summed
/// over the blocks of queries.
pub(super) trait GradientProducts: Products {
    /// Turns to another head.
    fn begin_head(&mut self);

    /// `grads = dO V^T`.
    fn weight_grads(&mut self, keys: Range<usize>, grads: &mut [f32]);

    /// `dV += P^T dO`.
    fn add_value_grads(&mut self, weights: &[f32], keys: Range<usize>);

    /// `dQ += dS K` and `dK += dS^T Q`, `dQ` being rows as [`add_values`](Products::add_values) has.
    fn add_grads(&mut self, score_grads: &[f32], keys: Range<usize>, q_grad: &mut [f32]);

    /// Writes what was summed of a head: the gradients of keys and of values, `[T, D]`.
    fn finish_head(&mut self, k_grad: &mut [f32], v_grad: &mut [f32]);
}
