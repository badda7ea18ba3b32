use std::mem::MaybeUninit;

use super::simd::multiversioned;

/// Which elements are dropped: a pure function of a seed and the element's index, so that the
/// backward pass makes the mask again instead of keeping it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mask {
    keys: [u32; 2],
    threshold: u32,
    scale: f32,
}

impl Mask {
    /// Drops with probability `p`, and scales what is kept by `1 / (1 - p)`.
    pub(crate) fn new(p: f64, seed: u64) -> Self {
        // SplitMix64: with keys as they are, near seeds would give one mask in two orders.
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        Self {
            keys: [z as u32, (z >> 32) as u32],
            threshold: (p * 4_294_967_296.0) as u32,
            scale: (1.0 / (1.0 - p)) as f32,
        }
    }

    /// 0 for a dropped element, else the scale.
    #[inline(always)]
    fn factor(self, index: u32) -> f32 {
        let mixed = mix(mix(index ^ self.keys[0]) ^ self.keys[1]);
        if mixed >= self.threshold { self.scale } else { 0.0 }
    }
}

/// A bijection of 32 bits whose outputs look random. Source: Wellons, hash-prospector,
/// `lowbias32`.
#[inline(always)]
fn mix(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

#[inline(always)]
fn copied<const FMA: bool>(x: &[f32], first: u32, mask: Mask, out: &mut [MaybeUninit<f32>]) {
    let mut index = first;
    for (out, x) in out.iter_mut().zip(x) {
        out.write(x * mask.factor(index));
        index = index.wrapping_add(1);
    }
}

#[inline(always)]
fn in_place<const FMA: bool>(values: &mut [f32], first: u32, mask: Mask) {
    let mut index = first;
    for value in values {
        *value *= mask.factor(index);
        index = index.wrapping_add(1);
    }
}

multiversioned! {
    /// `out = x * mask`, for elements from index `first`; writes all of `out` when the lengths are
    /// equal.
    dropout(x: &[f32], first: u32, mask: Mask, out: &mut [MaybeUninit<f32>]) = copied
}

multiversioned! {
    /// `values *= mask`, for elements from index `first`.
    dropout_in_place(values: &mut [f32], first: u32, mask: Mask) = in_place
}
