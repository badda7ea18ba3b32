use cubecl::prelude::*;

/// The mixing of the CPU's kernel, so that a seed drops the same elements everywhere.
#[cube]
fn mix(x: u32) -> u32 {
    let x = (x ^ (x >> 16u32)) * 0x7feb_352du32;
    let x = (x ^ (x >> 15u32)) * 0x846c_a68bu32;
    x ^ (x >> 16u32)
}

#[cube]
fn hash(index: u32, first_key: u32, second_key: u32) -> u32 {
    mix(mix(index ^ first_key) ^ second_key)
}

/// The upper 24 bits of a hash as a number of [0, 1).
#[cube]
fn unit(hash: u32) -> f32 {
    (hash >> 8u32) as f32 / 16_777_216.0f32
}

/// What an element counts, 0 where it is dropped: the mask of the keys at its index.
#[cube]
pub(super) fn kept(index: u32, first_key: u32, second_key: u32, threshold: u32, scale: f32) -> f32 {
    select(hash(index, first_key, second_key) >= threshold, scale, 0.0f32)
}

/// `out = x * mask`.
#[cube(launch)]
pub(in crate::cube) fn dropped(
    x: &Tensor<f32>,
    out: &mut Tensor<f32>,
    first_key: u32,
    second_key: u32,
    threshold: u32,
    scale: f32,
) {
    let i = ABSOLUTE_POS;
    if i >= out.len() {
        terminate!();
    }
    out[i] = x[i] * kept(i as u32, first_key, second_key, threshold, scale);
}

/// `low + (high - low) u`, with `u` in [0, 1) from the hash of the keys at the index.
#[cube(launch)]
pub(in crate::cube) fn uniform(
    out: &mut Tensor<f32>,
    first_key: u32,
    second_key: u32,
    low: f32,
    high: f32,
) {
    let i = ABSOLUTE_POS;
    if i >= out.len() {
        terminate!();
    }
    out[i] = low + (high - low) * unit(hash(i as u32, first_key, second_key));
}

/// Numbers of `N(0, std^2)`, by Box and Muller's method.
#[cube(launch)]
pub(in crate::cube) fn normal(out: &mut Tensor<f32>, first_key: u32, second_key: u32, std: f32) {
    let i = ABSOLUTE_POS;
    if i >= out.len() {
        terminate!();
    }
    let first = hash(i as u32, first_key, second_key);
    // In (0, 1], so that the logarithm is finite.
    let radius = (-2.0f32 * (1.0f32 - unit(first)).ln()).sqrt();
    let angle = 6.283_185_3f32 * unit(hash(first, second_key, first_key));
    out[i] = std * radius * angle.cos();
}

/// `value` where an element is kept, 0 elsewhere.
#[cube(launch)]
pub(in crate::cube) fn kept_or_not(
    out: &mut Tensor<f32>,
    first_key: u32,
    second_key: u32,
    threshold: u32,
    value: f32,
) {
    let i = ABSOLUTE_POS;
    if i >= out.len() {
        terminate!();
    }
    out[i] = kept(i as u32, first_key, second_key, threshold, value);
}
