use std::mem::MaybeUninit;

use super::simd::multiversioned;
use crate::ops::DropoutMask as Mask;

/// 0 for a dropped element, else the scale.
#[inline(always)]
fn factor(mask: Mask, index: u32) -> f32 {
    let mixed = mix(mix(index ^ mask.keys[0]) ^ mask.keys[1]);
    if mixed >= mask.threshold { mask.scale } else { 0.0 }
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
        out.write(x * factor(mask, index));
        index = index.wrapping_add(1);
    }
}

#[inline(always)]
fn in_place<const FMA: bool>(values: &mut [f32], first: u32, mask: Mask) {
    let mut index = first;
    for value in values {
        *value *= factor(mask, index);
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
