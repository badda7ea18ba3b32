//! The backward pass, which computes the weights again from the logarithms of their sums.

use burn::tensor::{Shape, TensorData};
use rayon::prelude::*;

use super::super::buffer::{Floats, contiguous};
use super::inputs::{Inputs, Queries, Sizes};
use super::packed::Packed;
use super::plain::Plain;
use super::products::GradientProducts;
use super::{KEYS, QUERIES, fill_scores, reset, tiles};
use crate::kernel;
use crate::ops::Attended;

/// What the forward pass gave, and the gradient of it.
#[derive(Clone, Copy)]
pub(super) struct Results<'a> {
    pub(super) out: &'a [f32],
    pub(super) log_sums: &'a [f32],
    pub(super) grad: &'a [f32],
}

/// The memory of a task.
#[derive(Default)]
struct Scratch {
    scores: Vec<f32>,
    grads: Vec<f32>,
    slopes: Vec<f32>,
    log_sums: Vec<f32>,
    /// The products of result and gradient.
    deltas: Vec<f32>,
    q_grad: Vec<f32>,
}

/// The gradients of queries, keys and values.
pub(in super::super) fn backward(attended: Attended<Floats>, grad: Floats) -> [Floats; 3] {
    let Attended { q, k, v, padding, out, log_sums, kind } = attended;
    let sizes = Sizes::of(&q, &k);
    let [q, k, v, out, log_sums, grad] = [q, k, v, out, log_sums, grad].map(contiguous);
    let padding = padding.map(contiguous);
    let padding = padding.as_ref().map(|padding| padding.storage::<f32>());
    let [q, k, v, out, log_sums, grad] =
        [&q, &k, &v, &out, &log_sums, &grad].map(|tensor| tensor.storage::<f32>());
    let inputs = Inputs { sizes, q, k, v, padding, kind: &kind };
    let attended = Results { out, log_sums, grad };
    let [q_grad, k_grad, v_grad] = match tiles() {
        None => gradients(inputs, attended, || Plain::new(inputs, grad)),
        Some(tiles) => {
            let packed = Packed::new(tiles, inputs, true);
            gradients(inputs, attended, || packed.products(grad))
        }
    };
    let Sizes { batch, heads, groups, queries, keys, depth } = sizes;
    let per_group = heads / groups;
    let grouped = |grads: Vec<f32>| {
        let grads = if per_group == 1 { grads } else { summed(&grads, per_group, keys * depth) };
        Floats::from_data(TensorData::new(grads, Shape::from([batch, groups, keys, depth])))
    };
    let q_shape = Shape::from([batch, heads, queries, depth]);
    [Floats::from_data(TensorData::new(q_grad, q_shape)), grouped(k_grad), grouped(v_grad)]
}

/// The gradients of queries, and of each head those of keys and values.
pub(super) fn gradients<P: GradientProducts>(
    inputs: Inputs<'_>,
    result: Results<'_>,
    products: impl Fn() -> P + Send + Sync,
) -> [Vec<f32>; 3] {
    let Sizes { batch, heads, queries, keys, depth, .. } = inputs.sizes;
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
        || (Scratch::default(), products()),
        |(scratch, products), (place, (q_grad, k_grad, v_grad))| {
            let (batch, head) = (place / heads, place % heads);
            products.begin_head();
            for start in (0..queries).step_by(QUERIES) {
                let rows = start..(start + QUERIES).min(queries);
                let q_grad = &mut q_grad[start * depth..][..rows.len() * depth];
                let queries = Queries { batch, head, rows };
                products.begin(&queries);
                block_backward(scratch, products, inputs, result, &queries);
                let found = scratch.q_grad.chunks_exact(products.columns());
                for (row, out) in found.zip(q_grad.chunks_exact_mut(depth)) {
                    out.copy_from_slice(&row[..depth]);
                }
            }
            products.finish_head(k_grad, v_grad);
        },
    );
    [q_grad, k_grad, v_grad]
}

/// Fills the gradients of some queries of a head, and adds what they give to those of its keys and values.
fn block_backward(
    scratch: &mut Scratch,
    products: &mut impl GradientProducts,
    inputs: Inputs<'_>,
    result: Results<'_>,
    queries: &Queries,
) {
    let (rows, sizes) = (queries.rows.len(), inputs.sizes);
    let Scratch { scores, grads, slopes, log_sums, deltas, q_grad } = scratch;
    log_sums.clear();
    let first = sizes.log_sums(queries);
    log_sums.extend(result.log_sums[first..].iter().step_by(sizes.heads).take(rows));
    reset(deltas, rows, 0.0);
    let [of_result, grad] = [result.out, result.grad].map(|all| &all[sizes.result(queries)..]);
    kernel::row_dots(of_result, grad, sizes.depth, sizes.heads * sizes.depth, deltas);
    reset(q_grad, products.rows(rows) * products.columns(), 0.0);
    for keys in inputs.blocks(queries, KEYS, products.unit()) {
        let width = keys.len();
        grads.resize(products.rows(rows) * width, 0.0);
        let of_queries = fill_scores(products, inputs, queries, &keys, scores, slopes);
        kernel::exp_less(of_queries, width, log_sums);
        products.add_value_grads(scores, keys.clone());
        products.weight_grads(keys.clone(), grads);
        kernel::score_gradients(&scores[..rows * width], &mut grads[..rows * width], width, deltas);
        if inputs.kind.soft_cap.is_some() {
            grads.iter_mut().zip(slopes.iter()).for_each(|(grad, slope)| *grad *= slope);
        }
        products.add_grads(grads, keys, q_grad);
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
