use cubecl::prelude::*;

use super::super::attention::Form;

/// Units of a cube, each of which has a query, or in the backward pass of keys and values a key.
pub(in crate::cube) const UNITS: usize = 64;

/// Keys whose scores a unit has at once.
const SOME: usize = 4;

/// The score of a key that is not seen.
const HIDDEN: f32 = -1e30;

/// The sizes of an attention, and its mask.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(in crate::cube) struct Sizes {
    heads: usize,
    groups: usize,
    queries: usize,
    keys: usize,
    /// The keys before that of the first query.
    offset: usize,
    /// How many keys a query sees at most.
    window: usize,
    soft_cap: f32,
}

/// Which keys some queries see, the first of them and those after the last included.
#[cube]
fn first_key(query: usize, sizes: &Sizes, #[comptime] form: Form) -> usize {
    let mut first = 0usize.runtime();
    if form.windowed {
        let behind = sizes.offset + query + 1;
        if behind > sizes.window {
            first = behind - sizes.window;
        }
    }
    first
}

/// See [`first_key`].
#[cube]
fn end_of_keys(query: usize, sizes: &Sizes, #[comptime] form: Form) -> usize {
    let mut end = sizes.keys;
    if form.causal {
        end = min(sizes.offset + query + 1, sizes.keys);
    }
    end
}

/// Whether a query sees a key; `start` is the first of its sequence.
#[cube]
fn sees(query: usize, key: usize, start: usize, sizes: &Sizes, #[comptime] form: Form) -> bool {
    let first = first_key(query, sizes, form);
    let end = end_of_keys(query, sizes, form);
    let mut seen = key >= first && key < end;
    if form.documents {
        seen = seen && key >= start;
    }
    seen
}

/// The start of the sequence of a query.
#[cube]
fn start_of(
    starts: &Tensor<f32>,
    batch: usize,
    query: usize,
    sizes: &Sizes,
    #[comptime] form: Form,
) -> usize {
    let mut start = 0usize.runtime();
    if form.documents {
        start = starts[batch * sizes.queries + query] as usize;
    }
    start
}

/// A score of a product of a query and a key.
#[cube]
fn score(
    product: f32,
    padding: &Tensor<f32>,
    at: usize,
    sizes: &Sizes,
    #[comptime] form: Form,
) -> f32 {
    let mut score = product;
    if form.capped {
        score = product.tanh() * sizes.soft_cap;
    }
    if form.padded {
        score += padding[at];
    }
    score
}

/// Reads `count` rows of `depth` numbers to memory that the units share, from a first one on.
#[cube]
fn shared_rows(
    from: &Tensor<f32>,
    start: usize,
    stride: usize,
    first: usize,
    rows: usize,
    to: &mut Shared<[f32]>,
    #[comptime] count: usize,
    #[comptime] depth: usize,
) {
    let mut i = UNIT_POS as usize;
    while i < count * depth {
        let row = min(first + i / depth, rows - 1);
        to[i] = from[start + row * stride + i % depth];
        i += UNITS;
    }
}

/// Attention with a running maximum and sum; a cube for [`UNITS`] queries of a head. `sums` are the
/// logarithms of the sums of exponentials, `[B, S, H]`, and the result is `[B, S, H, D]`.
#[cube(launch)]
pub(in crate::cube) fn attend(
    q: &Tensor<f32>,
    k: &Tensor<f32>,
    v: &Tensor<f32>,
    padding: &Tensor<f32>,
    starts: &Tensor<f32>,
    out: &mut Tensor<f32>,
    sums: &mut Tensor<f32>,
    sizes: Sizes,
    #[comptime] form: Form,
) {
    let depth = comptime!(form.depth);
    let tile = comptime!(form.tile);
    let tiles = (sizes.queries + UNITS - 1) / UNITS;
    let (block, row) = (CUBE_POS as usize % tiles, CUBE_POS as usize / tiles);
    let (head, batch) = (row % sizes.heads, row / sizes.heads);
    if batch >= q.shape(0) {
        terminate!();
    }
    let group = head * sizes.groups / sizes.heads;
    let query = block * UNITS + UNIT_POS as usize;
    let own = min(query, sizes.queries - 1);
    let q_at = batch * q.stride(0) + head * q.stride(1) + own * q.stride(2);
    let k_at = batch * k.stride(0) + group * k.stride(1);
    let v_at = batch * v.stride(0) + group * v.stride(1);
    let mut held = Array::<f32>::new(depth);
    let mut sum = Array::<f32>::new(depth);
    #[unroll]
    for c in 0..depth {
        held[c] = q[q_at + c];
        sum[c] = 0.0f32;
    }
    let start = start_of(starts, batch, own, &sizes, form);
    let end = end_of_keys(min(block * UNITS + UNITS - 1, sizes.queries - 1), &sizes, form);
    let mut first = first_key(block * UNITS, &sizes, form);
    let mut top = HIDDEN.runtime();
    let mut total = 0.0f32;
    let mut key_rows = Shared::<[f32]>::new_slice(tile * depth);
    let mut value_rows = Shared::<[f32]>::new_slice(tile * depth);
    while first < end {
        shared_rows(k, k_at, k.stride(2), first, sizes.keys, &mut key_rows, tile, depth);
        shared_rows(v, v_at, v.stride(2), first, sizes.keys, &mut value_rows, tile, depth);
        sync_cube();
        for some in 0..tile / SOME {
            let mut scores = Array::<f32>::new(SOME);
            let mut largest = top;
            #[unroll]
            for j in 0..SOME {
                let row = some * SOME + j;
                let mut product = 0.0f32;
                #[unroll]
                for c in 0..depth {
                    product += held[c] * key_rows[row * depth + c];
                }
                let key = first + row;
                let at = batch * sizes.keys + min(key, sizes.keys - 1);
                let value = score(product, padding, at, &sizes, form);
                scores[j] = select(sees(own, key, start, &sizes, form), value, HIDDEN);
                largest = max(largest, scores[j]);
            }
            let less = (top - largest).exp();
            total *= less;
            #[unroll]
            for c in 0..depth {
                sum[c] = sum[c] * less;
            }
            #[unroll]
            for j in 0..SOME {
                let row = some * SOME + j;
                let weight = (scores[j] - largest).exp();
                total += weight;
                #[unroll]
                for c in 0..depth {
                    sum[c] = sum[c] + weight * value_rows[row * depth + c];
                }
            }
            top = largest;
        }
        sync_cube();
        first += tile;
    }
    if query < sizes.queries {
        let to = (batch * sizes.queries + query) * sizes.heads + head;
        #[unroll]
        for c in 0..depth {
            out[to * depth + c] = sum[c] / total;
        }
        sums[to] = top + total.ln();
    }
}

/// The weight of a pair and the gradient of the product of its query and key, from the gradient of the
/// weight less the mean of those of the row.
#[cube]
fn pair(
    product: f32,
    bias_at: usize,
    log_sum: f32,
    slope: f32,
    seen: bool,
    padding: &Tensor<f32>,
    sizes: &Sizes,
    #[comptime] form: Form,
) -> (f32, f32) {
    let value = score(product, padding, bias_at, sizes, form);
    let weight = select(seen, (value - log_sum).exp(), 0.0f32);
    let mut of_product = weight * slope;
    if form.capped {
        let bent = product.tanh();
        of_product *= sizes.soft_cap * (1.0f32 - bent * bent);
    }
    (weight, of_product)
}

/// The gradient of the queries, `[B, H, S, D]`, and for each the sum of its result times its gradient,
/// `[B, S, H]`; a cube for [`UNITS`] queries of a head.
#[cube(launch)]
pub(in crate::cube) fn attend_query_grad(
    q: &Tensor<f32>,
    k: &Tensor<f32>,
    v: &Tensor<f32>,
    padding: &Tensor<f32>,
    starts: &Tensor<f32>,
    out: &Tensor<f32>,
    sums: &Tensor<f32>,
    grad: &Tensor<f32>,
    q_grad: &mut Tensor<f32>,
    along: &mut Tensor<f32>,
    sizes: Sizes,
    #[comptime] form: Form,
) {
    let depth = comptime!(form.depth);
    let tile = comptime!(form.tile);
    let tiles = (sizes.queries + UNITS - 1) / UNITS;
    let (block, row) = (CUBE_POS as usize % tiles, CUBE_POS as usize / tiles);
    let (head, batch) = (row % sizes.heads, row / sizes.heads);
    if batch >= q.shape(0) {
        terminate!();
    }
    let group = head * sizes.groups / sizes.heads;
    let query = block * UNITS + UNIT_POS as usize;
    let own = min(query, sizes.queries - 1);
    let q_at = batch * q.stride(0) + head * q.stride(1) + own * q.stride(2);
    let k_at = batch * k.stride(0) + group * k.stride(1);
    let v_at = batch * v.stride(0) + group * v.stride(1);
    let result = (batch * sizes.queries + own) * sizes.heads + head;
    let mut held = Array::<f32>::new(depth);
    let mut slopes = Array::<f32>::new(depth);
    let mut sum = Array::<f32>::new(depth);
    let mut mean = 0.0f32;
    #[unroll]
    for c in 0..depth {
        held[c] = q[q_at + c];
        slopes[c] = grad[result * depth + c];
        sum[c] = 0.0f32;
        mean += slopes[c] * out[result * depth + c];
    }
    let log_sum = sums[result];
    let start = start_of(starts, batch, own, &sizes, form);
    let end = end_of_keys(min(block * UNITS + UNITS - 1, sizes.queries - 1), &sizes, form);
    let mut first = first_key(block * UNITS, &sizes, form);
    let mut key_rows = Shared::<[f32]>::new_slice(tile * depth);
    let mut value_rows = Shared::<[f32]>::new_slice(tile * depth);
    while first < end {
        shared_rows(k, k_at, k.stride(2), first, sizes.keys, &mut key_rows, tile, depth);
        shared_rows(v, v_at, v.stride(2), first, sizes.keys, &mut value_rows, tile, depth);
        sync_cube();
        for j in 0..tile {
            let mut product = 0.0f32;
            let mut slope = 0.0f32;
            #[unroll]
            for c in 0..depth {
                product += held[c] * key_rows[j * depth + c];
                slope += slopes[c] * value_rows[j * depth + c];
            }
            let key = first + j;
            let seen = sees(own, key, start, &sizes, form);
            let at = batch * sizes.keys + min(key, sizes.keys - 1);
            let (_, of_product) =
                pair(product, at, log_sum, slope - mean, seen, padding, &sizes, form);
            #[unroll]
            for c in 0..depth {
                sum[c] = sum[c] + of_product * key_rows[j * depth + c];
            }
        }
        sync_cube();
        first += tile;
    }
    if query < sizes.queries {
        let to = ((batch * sizes.heads + head) * sizes.queries + query) * depth;
        #[unroll]
        for c in 0..depth {
            q_grad[to + c] = sum[c];
        }
        along[result] = mean;
    }
}

/// The gradients of the keys, `[B, G, T, D]`, and of the values, `[B, T, G, D]`; a cube for [`UNITS`] keys
/// of a group.
#[cube(launch)]
pub(in crate::cube) fn attend_key_grad(
    q: &Tensor<f32>,
    k: &Tensor<f32>,
    v: &Tensor<f32>,
    padding: &Tensor<f32>,
    starts: &Tensor<f32>,
    sums: &Tensor<f32>,
    grad: &Tensor<f32>,
    along: &Tensor<f32>,
    k_grad: &mut Tensor<f32>,
    v_grad: &mut Tensor<f32>,
    sizes: Sizes,
    #[comptime] form: Form,
) {
    let depth = comptime!(form.depth);
    let tile = comptime!(form.tile);
    let tiles = (sizes.keys + UNITS - 1) / UNITS;
    let (block, row) = (CUBE_POS as usize % tiles, CUBE_POS as usize / tiles);
    let (group, batch) = (row % sizes.groups, row / sizes.groups);
    if batch >= q.shape(0) {
        terminate!();
    }
    let key = block * UNITS + UNIT_POS as usize;
    let own = min(key, sizes.keys - 1);
    let k_at = batch * k.stride(0) + group * k.stride(1) + own * k.stride(2);
    let v_at = batch * v.stride(0) + group * v.stride(1) + own * v.stride(2);
    let mut key_held = Array::<f32>::new(depth);
    let mut value_held = Array::<f32>::new(depth);
    let mut key_sum = Array::<f32>::new(depth);
    let mut value_sum = Array::<f32>::new(depth);
    #[unroll]
    for c in 0..depth {
        key_held[c] = k[k_at + c];
        value_held[c] = v[v_at + c];
        key_sum[c] = 0.0f32;
        value_sum[c] = 0.0f32;
    }
    let at = batch * sizes.keys + own;
    // The queries of which one may see one of these keys.
    let mut from = 0usize.runtime();
    let mut end = sizes.queries;
    if form.causal && block * UNITS > sizes.offset {
        from = block * UNITS - sizes.offset;
    }
    if form.windowed {
        let last = min(block * UNITS + UNITS - 1, sizes.keys - 1) + sizes.window;
        end = select(last > sizes.offset, min(last - sizes.offset, sizes.queries), 0usize);
    }
    let shared = sizes.heads / sizes.groups;
    let mut query_rows = Shared::<[f32]>::new_slice(tile * depth);
    let mut slope_rows = Shared::<[f32]>::new_slice(tile * depth);
    for of_group in 0..shared {
        let head = group * shared + of_group;
        let q_at = batch * q.stride(0) + head * q.stride(1);
        let grad_at = (batch * sizes.queries * sizes.heads + head) * depth;
        let mut first = from;
        while first < end {
            shared_rows(q, q_at, q.stride(2), first, sizes.queries, &mut query_rows, tile, depth);
            let stride = sizes.heads * depth;
            shared_rows(grad, grad_at, stride, first, sizes.queries, &mut slope_rows, tile, depth);
            sync_cube();
            for i in 0..tile {
                let query = min(first + i, sizes.queries - 1);
                let mut product = 0.0f32;
                let mut slope = 0.0f32;
                #[unroll]
                for c in 0..depth {
                    product += key_held[c] * query_rows[i * depth + c];
                    slope += value_held[c] * slope_rows[i * depth + c];
                }
                let result = (batch * sizes.queries + query) * sizes.heads + head;
                let start = start_of(starts, batch, query, &sizes, form);
                let seen = first + i < sizes.queries && sees(query, key, start, &sizes, form);
                let slope = slope - along[result];
                let (weight, of_product) =
                    pair(product, at, sums[result], slope, seen, padding, &sizes, form);
                #[unroll]
                for c in 0..depth {
                    value_sum[c] = value_sum[c] + weight * slope_rows[i * depth + c];
                    key_sum[c] = key_sum[c] + of_product * query_rows[i * depth + c];
                }
            }
            sync_cube();
            first += tile;
        }
    }
    if key < sizes.keys {
        let key_to = ((batch * sizes.groups + group) * sizes.keys + key) * depth;
        let value_to = ((batch * sizes.keys + key) * sizes.groups + group) * depth;
        #[unroll]
        for c in 0..depth {
            k_grad[key_to + c] = key_sum[c];
            v_grad[value_to + c] = value_sum[c];
        }
    }
}
