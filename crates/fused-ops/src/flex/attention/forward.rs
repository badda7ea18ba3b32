//! The forward pass, with a running maximum and sum of each row of scores.

use burn::tensor::{Shape, TensorData};
use rayon::prelude::*;

use super::super::buffer::{Floats, contiguous};
use super::inputs::{Inputs, Queries, Sizes};
use super::packed::Packed;
use super::plain::Plain;
use super::products::Products;
use super::{KEYS, QUERIES, fill_scores, reset, tiles};
use crate::kernel;
use crate::ops::AttentionKind;

/// The memory of a task.
#[derive(Default)]
struct Scratch {
    scores: Vec<f32>,
    slopes: Vec<f32>,
    sums: Vec<f32>,
    tops: Vec<f32>,
    scales: Vec<f32>,
    out: Vec<f32>,
}

/// The result `[B, S, H, D]`, and the logarithms of the sums of exponentials `[B, S, H]`, which are
/// infinite where nothing is seen.
pub(in super::super) fn forward(
    [q, k, v]: [Floats; 3],
    padding: Option<Floats>,
    kind: AttentionKind,
) -> (Floats, Floats) {
    let [q, k, v] = [q, k, v].map(contiguous);
    let padding = padding.map(contiguous);
    let sizes = Sizes::of(&q, &k);
    let padding = padding.as_ref().map(|padding| padding.storage::<f32>());
    let [q, k, v] = [&q, &k, &v].map(|tensor| tensor.storage::<f32>());
    let inputs = Inputs { sizes, q, k, v, padding, kind: &kind };
    let (out, log_sums) = match tiles() {
        None => results(inputs, || Plain::new(inputs, &[])),
        Some(tiles) => {
            let packed = Packed::new(tiles, inputs, false);
            results(inputs, || packed.products(&[]))
        }
    };
    let Sizes { batch, heads, queries, depth, .. } = sizes;
    let out = TensorData::new(out, Shape::from([batch, queries, heads, depth]));
    let log_sums = TensorData::new(log_sums, Shape::from([batch, queries, heads]));
    (Floats::from_data(out), Floats::from_data(log_sums))
}

/// Result and logarithms of sums, by products of each thread's own.
pub(super) fn results<P: Products>(
    inputs: Inputs<'_>,
    products: impl Fn() -> P + Send + Sync,
) -> (Vec<f32>, Vec<f32>) {
    let Sizes { batch, heads, queries, depth, .. } = inputs.sizes;
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
        || (Scratch::default(), products()),
        |(scratch, products), (part, (out, log_sums))| {
            let (batch, start) = (part / blocks, part % blocks * QUERIES);
            let rows = start..(start + QUERIES).min(queries);
            for head in 0..heads {
                let queries = Queries { batch, head, rows: rows.clone() };
                products.begin(&queries);
                block_of_queries(scratch, products, inputs, &queries);
                let columns = products.columns();
                for (i, row) in scratch.out.chunks_exact(columns).take(rows.len()).enumerate() {
                    out[(i * heads + head) * depth..][..depth].copy_from_slice(&row[..depth]);
                    log_sums[i * heads + head] = match scratch.tops[i] {
                        f32::NEG_INFINITY => f32::INFINITY,
                        top => top + scratch.sums[i].ln(),
                    };
                }
            }
        },
    );
    (out, log_sums)
}

/// Fills the result of a head for some of its queries, and the maxima and sums of their scores.
fn block_of_queries(
    scratch: &mut Scratch,
    products: &mut impl Products,
    inputs: Inputs<'_>,
    queries: &Queries,
) {
    let (rows, columns) = (queries.rows.len(), products.columns());
    let Scratch { scores, slopes, sums, tops, scales, out } = scratch;
    reset(sums, rows, 0.0);
    reset(tops, rows, f32::NEG_INFINITY);
    reset(scales, rows, 1.0);
    reset(out, products.rows(rows) * columns, 0.0);
    for keys in inputs.blocks(queries, KEYS, products.unit()) {
        let width = keys.len();
        let of_queries = fill_scores(products, inputs, queries, &keys, scores, slopes);
        kernel::online_softmax(of_queries, width, tops, sums, scales);
        kernel::scale_rows(out, columns, scales);
        products.add_values(scores, keys, out);
    }
    for (scale, sum) in scales.iter_mut().zip(sums.iter()) {
        *scale = if *sum == 0.0 { 0.0 } else { 1.0 / sum };
    }
    kernel::scale_rows(out, columns, scales);
}
