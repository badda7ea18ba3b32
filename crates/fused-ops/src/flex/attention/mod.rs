//! Attention by blocks of queries and keys.

mod backward;
mod forward;
mod inputs;
mod packed;
mod plain;
mod products;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub(super) use self::backward::backward;
pub(super) use self::forward::forward;

use self::inputs::{Inputs, Queries};
use self::products::Products;
use crate::kernel::{self, Tiles};
use crate::{Precision, precision};

/// Queries of a block.
const QUERIES: usize = 64;

/// Keys of a block. The scores of a block stay in the cache of a core.
const KEYS: usize = 256;

/// What multiplies pairs of bfloat16, where the precision allows it and the processor is the faster for it.
fn tiles() -> Option<Tiles> {
    let rounded = precision() == Precision::Bf16;
    Tiles::fastest(rounded, false).filter(|tiles| tiles.has_pairs())
}

/// Fills `scores` with those of some queries and keys, capped and hidden, and with a cap `slopes` with those of
/// the cap. Gives the rows of the queries.
fn fill_scores<'a>(
    products: &mut impl Products,
    inputs: Inputs<'_>,
    queries: &Queries,
    keys: &Range<usize>,
    scores: &'a mut Vec<f32>,
    slopes: &mut Vec<f32>,
) -> &'a mut [f32] {
    let (rows, width) = (queries.rows.len(), keys.len());
    scores.resize(products.rows(rows) * width, 0.0);
    products.scores(keys.clone(), scores);
    let of_queries = &mut scores[..rows * width];
    if let Some(cap) = inputs.kind.soft_cap {
        slopes.resize(rows * width, 0.0);
        kernel::soft_cap(of_queries, cap as f32, slopes);
    }
    inputs.hide(of_queries, queries, keys.clone());
    of_queries
}

fn reset(values: &mut Vec<f32>, len: usize, value: f32) {
    values.clear();
    values.resize(len, value);
}
