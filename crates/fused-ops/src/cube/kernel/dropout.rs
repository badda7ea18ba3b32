use cubecl::prelude::*;

/// The mixing of the CPU's kernel, so that a seed drops the same elements everywhere.
#[cube]
fn mix(x: u32) -> u32 {
    let x = (x ^ (x >> 16u32)) * 0x7feb_352du32;
    let x = (x ^ (x >> 15u32)) * 0x846c_a68bu32;
    x ^ (x >> 16u32)
}

/// What an element counts, 0 where it is dropped: the mask of the keys at its index.
#[cube]
pub(super) fn kept(index: u32, first_key: u32, second_key: u32, threshold: u32, scale: f32) -> f32 {
    let mixed = mix(mix(index ^ first_key) ^ second_key);
    select(mixed >= threshold, scale, 0.0f32)
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
