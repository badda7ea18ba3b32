use std::sync::Arc;

use burn::tensor::{Bool, DType, Int, Tensor, TensorData};

use crate::{AttentionMask, HIDDEN, attention_composed};

/// The tokens of a block of keys and values.
pub const BLOCK: usize = 16;

/// New tokens of a sequence whose keys and values lie in blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagedRow {
    /// The tokens before them.
    pub past: usize,
    /// How many they are.
    pub new: usize,
    /// The blocks of the sequence in its order, at least as many as it needs with the new tokens.
    pub blocks: Vec<u32>,
}

/// A pass of new tokens over a pool of blocks.
#[derive(Debug, Clone)]
pub struct PagedPass {
    /// Whose tokens they are, one row after the other. No two rows write into one block.
    pub rows: Arc<[PagedRow]>,
    /// How many keys a token sees at most, its own included.
    pub window: Option<usize>,
    /// As in [`attention`](crate::attention).
    pub soft_cap: Option<f64>,
}

/// Attention of new tokens over their own sequences, whose keys and values lie in blocks of
/// [`BLOCK`] tokens of one pool: `softmax(cap(Q K^T)) V` with the keys up to the own one.
///
/// The new keys and values are written into the pool first, which is changed in place where nothing
/// else holds it. On CPUs a new token goes through the blocks of its row as they lie, and nothing is
/// gathered or padded; many new tokens of a row, as of a prompt, have its blocks put in order.
/// Not differentiable there.
///
/// Source: Kwon et al., arXiv 2309.06180, section 4.
///
/// # Shapes
///
/// - `q`: `[T, H, D]`; head `h` uses the keys of group `h * G / H`
/// - `k`, `v`: `[T, G, D]`
/// - the pool: keys `[N, G, D, BLOCK]` and values `[N, G, BLOCK, D]`
/// - result: `[T, H, D]`, and the pool
pub fn paged_attention(
    q: Tensor<3>,
    [k, v]: [Tensor<3>; 2],
    [keys, values]: [Tensor<4>; 2],
    pass: &PagedPass,
) -> (Tensor<3>, [Tensor<4>; 2]) {
    #[cfg(feature = "flex")]
    {
        use crate::flex::{PagedOps, pages};
        use burn::backend::Dispatch;
        let [_, heads, depth] = q.dims();
        let groups = k.dims()[1];
        let fits = groups > 0 && heads.is_multiple_of(groups) && depth.is_multiple_of(BLOCK);
        let [q, k, v] = [q, k, v].map(Tensor::into_dispatch);
        let [keys, values] = [keys, values].map(Tensor::into_dispatch);
        if fits && depth > 0 && pages(&[&q, &k, &v, &keys, &values]) {
            let (y, keys, values) = Dispatch::paged_attention(q, k, v, keys, values, pass.clone());
            return (Tensor::from_dispatch(y), [keys, values].map(Tensor::from_dispatch));
        }
        let [q, k, v] = [q, k, v].map(Tensor::from_dispatch);
        paged_attention_composed(q, [k, v], [keys, values].map(Tensor::from_dispatch), pass)
    }
    #[cfg(not(feature = "flex"))]
    paged_attention_composed(q, [k, v], [keys, values], pass)
}

/// [`paged_attention`] composed of other operations: the blocks of rows are gathered, and padded to
/// the longest of those with as many new tokens.
pub fn paged_attention_composed(
    q: Tensor<3>,
    [k, v]: [Tensor<3>; 2],
    [keys, values]: [Tensor<4>; 2],
    pass: &PagedPass,
) -> (Tensor<3>, [Tensor<4>; 2]) {
    let [keys, values] = written([k, v], [keys, values], &pass.rows);
    let mut first = 0;
    let parts = pass.rows.chunk_by(|a, b| a.new == b.new).map(|rows| {
        let tokens: usize = rows.iter().map(|row| row.new).sum();
        let own = q.clone().narrow(0, first, tokens);
        first += tokens;
        attended(own, [&keys, &values], rows, pass)
    });
    let parts: Vec<Tensor<3>> = parts.collect();
    let y = if parts.is_empty() { q } else { Tensor::cat(parts, 0) };
    (y, [keys, values])
}

/// The pool with new keys and values in their blocks.
fn written(
    [k, v]: [Tensor<3>; 2],
    [mut keys, mut values]: [Tensor<4>; 2],
    rows: &[PagedRow],
) -> [Tensor<4>; 2] {
    let [_, groups, depth] = k.dims();
    let mut token = 0;
    for row in rows {
        let (mut position, end) = (row.past, row.past + row.new);
        while position < end {
            let (block, at) = (row.blocks[position / BLOCK] as usize, position % BLOCK);
            let count = (BLOCK - at).min(end - position);
            // `[n, G, D]` to `[1, G, D, n]`, and to `[1, G, n, D]`.
            let new = |tensor: &Tensor<3>| tensor.clone().narrow(0, token, count);
            let k = new(&k).permute([1, 2, 0]).unsqueeze_dim::<4>(0);
            let v = new(&v).permute([1, 0, 2]).unsqueeze_dim::<4>(0);
            let place = [block..block + 1, 0..groups, 0..depth, at..at + count];
            keys = keys.slice_assign(place, k);
            let place = [block..block + 1, 0..groups, at..at + count, 0..depth];
            values = values.slice_assign(place, v);
            position += count;
            token += count;
        }
    }
    [keys, values]
}

/// What the new tokens of rows see, each of which has as many: `[B * S, H, D]`.
fn attended(
    q: Tensor<3>,
    [keys, values]: [&Tensor<4>; 2],
    rows: &[PagedRow],
    pass: &PagedPass,
) -> Tensor<3> {
    let ([_, heads, depth], device) = (q.dims(), q.device());
    let (count, new) = (rows.len(), rows[0].new);
    let blocks = rows.iter().map(|row| (row.past + new).div_ceil(BLOCK)).max().unwrap_or(0);
    let len = blocks * BLOCK;
    let groups = keys.dims()[1];
    let mut places: Vec<i64> = Vec::with_capacity(count * blocks);
    let mut bias = vec![HIDDEN as f32; count * new * len];
    let mut unused = vec![true; count * len];
    for (i, row) in rows.iter().enumerate() {
        let own = row.blocks.iter().take((row.past + new).div_ceil(BLOCK));
        places.extend(own.map(|block| i64::from(*block)));
        // What fills up is hidden.
        places.resize((i + 1) * blocks, places[i * blocks]);
        // Whatever others left there: not even a product with 0 may see it.
        unused[i * len..][..row.past + new].fill(false);
        for token in 0..new {
            let end = row.past + token + 1;
            let first = end.saturating_sub(pass.window.unwrap_or(usize::MAX));
            bias[(i * new + token) * len..][first..end].fill(0.0);
        }
    }
    let shape = [places.len()];
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, shape), &device);
    let unused = TensorData::new(unused, [count, 1, len, 1]);
    let unused = Tensor::<4, Bool>::from_data(unused, &device).expand([count, groups, len, depth]);
    let gathered = |pool: &Tensor<4>, order: [isize; 5], [rows, columns]: [usize; 2]| {
        let all = pool.clone().select(0, places.clone());
        let all = all.reshape([count, blocks, groups, rows, columns]).permute(order);
        all.reshape([count, groups, len, depth]).mask_fill(unused.clone(), 0.0)
    };
    let k = gathered(keys, [0, 2, 1, 4, 3], [depth, BLOCK]);
    let v = gathered(values, [0, 2, 1, 3, 4], [BLOCK, depth]);
    let bias = TensorData::new(bias, [count, 1, new, len]);
    let mask = AttentionMask::from_bias(Some(Tensor::from_data(bias, (&device, DType::F32))));
    let q = q.reshape([count, new, heads, depth]).swap_dims(1, 2);
    attention_composed(q, k, v, &mask, pass.soft_cap).reshape([count * new, heads, depth])
}
