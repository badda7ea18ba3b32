//! Kernels of AVX2, AVX-512 and AVX512-BF16.
//!
//! A function for given instructions is called only where [`Tiles::runs`] says that the processor has
//! them.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Tiles, amx};

/// The rows and vectors of columns of a tile.
pub(super) const ROWS: usize = 12;
const VECTORS: usize = 2;
pub(super) const LANES: usize = 16;
pub(super) const COLUMNS: usize = VECTORS * LANES;

/// See [`Unit::multiply`](super::Unit::multiply).
///
/// # Safety
///
/// The packed factors must have `words` words for each row and column; the rest as there.
pub(super) unsafe fn multiply(
    tiles: Tiles,
    left: *const u32,
    right: *const u32,
    words: usize,
    out: *mut f32,
    stride: usize,
    add: bool,
) {
    // SAFETY: as the caller promises.
    unsafe {
        match tiles {
            Tiles::Avx2 => avx2(left.cast(), right.cast(), words, out, stride, add),
            Tiles::Avx512 => avx512(left.cast(), right.cast(), words, out, stride, add),
            Tiles::Dot => dot(left, right, words, out, stride, add),
            Tiles::Amx => amx::multiply::<1>(left, right, words, out, stride, add),
            Tiles::AmxExact => amx::multiply::<3>(left, right, words, out, stride, add),
        }
    }
}

/// # Safety
///
/// As [`multiply`], with AVX-512.
#[target_feature(enable = "avx512f")]
unsafe fn avx512(
    left: *const f32,
    right: *const f32,
    words: usize,
    out: *mut f32,
    stride: usize,
    add: bool,
) {
    // SAFETY: all reads are within `words` words of rows and columns, all writes within the tile.
    unsafe {
        let mut sums = start(out, stride, add);
        for k in 0..words {
            let b: [__m512; VECTORS] =
                std::array::from_fn(|j| _mm512_loadu_ps(right.add(k * COLUMNS + j * LANES)));
            for (row, sums) in sums.iter_mut().enumerate() {
                let a = _mm512_set1_ps(*left.add(k * ROWS + row));
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = _mm512_fmadd_ps(a, b, *sum);
                }
            }
        }
        finish(&sums, out, stride);
    }
}

/// # Safety
///
/// As [`multiply`], with AVX512-BF16.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn dot(
    left: *const u32,
    right: *const u32,
    words: usize,
    out: *mut f32,
    stride: usize,
    add: bool,
) {
    // SAFETY: as in `avx512`; vectors of pairs are those of words.
    unsafe {
        let mut sums = start(out, stride, add);
        for k in 0..words {
            let b: [__m512bh; VECTORS] = std::array::from_fn(|j| {
                let b = _mm512_loadu_si512(right.add(k * COLUMNS + j * LANES).cast());
                std::mem::transmute::<__m512i, __m512bh>(b)
            });
            for (row, sums) in sums.iter_mut().enumerate() {
                let a = _mm512_set1_epi32((*left.add(k * ROWS + row)).cast_signed());
                let a = std::mem::transmute::<__m512i, __m512bh>(a);
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = _mm512_dpbf16_ps(*sum, a, b);
                }
            }
        }
        finish(&sums, out, stride);
    }
}

/// The sums that a tile begins with.
///
/// # Safety
///
/// As [`multiply`], with AVX-512.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn start(out: *mut f32, stride: usize, add: bool) -> [[__m512; VECTORS]; ROWS] {
    if !add {
        return [[_mm512_setzero_ps(); VECTORS]; ROWS];
    }
    // SAFETY: within the tile, which is initialised.
    std::array::from_fn(|row| {
        std::array::from_fn(|j| unsafe { _mm512_loadu_ps(out.add(row * stride + j * LANES)) })
    })
}

/// # Safety
///
/// As [`multiply`], with AVX-512.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn finish(sums: &[[__m512; VECTORS]; ROWS], out: *mut f32, stride: usize) {
    for (row, sums) in sums.iter().enumerate() {
        for (j, sum) in sums.iter().enumerate() {
            // SAFETY: within the tile.
            unsafe { _mm512_storeu_ps(out.add(row * stride + j * LANES), *sum) };
        }
    }
}

/// # Safety
///
/// As [`multiply`], with AVX2 and fused multiply-add.
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(
    left: *const f32,
    right: *const f32,
    words: usize,
    out: *mut f32,
    stride: usize,
    add: bool,
) {
    const ROWS: usize = 6;
    const LANES: usize = 8;
    // SAFETY: all reads are within `words` words of rows and columns, all writes within the tile.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); VECTORS]; ROWS];
        if add {
            for (row, sums) in sums.iter_mut().enumerate() {
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm256_loadu_ps(out.add(row * stride + j * LANES));
                }
            }
        }
        for k in 0..words {
            let b: [__m256; VECTORS] = std::array::from_fn(|j| {
                _mm256_loadu_ps(right.add(k * VECTORS * LANES + j * LANES))
            });
            for (row, sums) in sums.iter_mut().enumerate() {
                let a = _mm256_broadcast_ss(&*left.add(k * ROWS + row));
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = _mm256_fmadd_ps(a, b, *sum);
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (j, sum) in sums.iter().enumerate() {
                _mm256_storeu_ps(out.add(row * stride + j * LANES), *sum);
            }
        }
    }
}
