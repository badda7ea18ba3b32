//! Attention by blocks of queries and keys.

mod backward;
mod forward;
mod inputs;
mod packed;
mod plain;
mod products;
#[cfg(test)]
mod tests;

pub(super) use backward::backward;
pub(super) use forward::forward;

use crate::kernel::Tiles;
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

fn reset(values: &mut Vec<f32>, len: usize, value: f32) {
    values.clear();
    values.resize(len, value);
}
