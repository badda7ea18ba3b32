//! Products of few rows by AVX-512: sums stay in registers, and each element of the right factor is read
//! once for up to eight rows, in the order in which it lies.

#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::ops::Range;

use half::{bf16, f16};

const LANES: usize = 16;

/// The rows of a right factor in rows that are read side by side.
const ABREAST: usize = 8;

/// An element that is widened as it is loaded.
pub(crate) trait Element: Copy + Sync {
    /// Vectors of `count` elements, at most 16, and zeros.
    ///
    /// # Safety
    ///
    /// There must be AVX-512, and `count` elements at `from`.
    unsafe fn load(from: *const Self, count: usize) -> __m512;
}

fn mask(count: usize) -> u16 {
    u16::MAX >> (LANES - count.min(LANES))
}

impl Element for f32 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn load(from: *const Self, count: usize) -> __m512 {
        // SAFETY: masked to what there is.
        unsafe { _mm512_maskz_loadu_ps(mask(count), from) }
    }
}

impl Element for bf16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn load(from: *const Self, count: usize) -> __m512 {
        // SAFETY: masked to what there is.
        let halves = unsafe { _mm256_maskz_loadu_epi16(mask(count), from.cast()) };
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
    }
}

impl Element for f16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn load(from: *const Self, count: usize) -> __m512 {
        // SAFETY: masked to what there is.
        _mm512_cvtph_ps(unsafe { _mm256_maskz_loadu_epi16(mask(count), from.cast()) })
    }
}

/// Whether this processor has the instructions.
pub(crate) fn few_rows_runs() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
}

/// Some columns of the product of rows `x`, `[m, depth]`, with `w`: `[depth, n]` with `in_rows`, or else
/// its transpose `[n, depth]`. `out` is the whole result, `[m, n]`.
///
/// # Safety
///
/// [`few_rows_runs`] must hold, and `out` must be valid for the columns of all rows, which are initialised
/// afterwards.
pub(crate) unsafe fn few_rows_wide<T: Element>(
    x: &[f32],
    depth: usize,
    w: &[T],
    in_rows: bool,
    n: usize,
    columns: Range<usize>,
    out: *mut f32,
) {
    assert!(depth > 0 && w.len() >= depth * n && columns.end <= n);
    let width = columns.len();
    let mut rows = 0..x.len() / depth;
    while let left @ 1.. = rows.len() {
        let first = rows.start;
        let x = x[first * depth..].as_ptr();
        // SAFETY: the rows, the columns and the right factor are within what there is, by the assertion
        // and the caller's promise.
        unsafe {
            let out = out.add(first * n + columns.start);
            let w = match in_rows {
                true => w.as_ptr().add(columns.start),
                false => w.as_ptr().add(columns.start * depth),
            };
            let done = match (left, in_rows) {
                (8.., true) => from_rows::<T, 8>(x, depth, w, n, width, out),
                (4.., true) => from_rows::<T, 4>(x, depth, w, n, width, out),
                (2.., true) => from_rows::<T, 2>(x, depth, w, n, width, out),
                (_, true) => from_rows::<T, 1>(x, depth, w, n, width, out),
                (8.., false) => from_columns::<T, 8, 3>(x, depth, w, n, width, out),
                (4.., false) => from_columns::<T, 4, 4>(x, depth, w, n, width, out),
                (2.., false) => from_columns::<T, 2, 8>(x, depth, w, n, width, out),
                (_, false) => from_columns::<T, 1, 8>(x, depth, w, n, width, out),
            };
            rows.start += done;
        }
    }
}

/// `R` rows times columns of a right factor in rows, of which some are read side by side, in the order of
/// memory; sums are in the result meanwhile, in the first-level cache. Gives `R`.
///
/// # Safety
///
/// `x` must be valid for `R` rows of `depth`, `w` for `depth` rows of `width` that begin `n` apart, `out`
/// for `R` of them; there must be AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn from_rows<T: Element, const R: usize>(
    x: *const f32,
    depth: usize,
    w: *const T,
    n: usize,
    width: usize,
    out: *mut f32,
) -> usize {
    let whole = depth - depth % ABREAST;
    // SAFETY: as the caller promises.
    unsafe {
        for k in (0..whole).step_by(ABREAST) {
            add_rows::<T, R, ABREAST>(x.add(k), depth, w.add(k * n), n, width, out, k > 0);
        }
        for k in whole..depth {
            add_rows::<T, R, 1>(x.add(k), depth, w.add(k * n), n, width, out, k > 0);
        }
    }
    R
}

/// `K` rows of the right factor in [`from_rows`]; with `add` they are added to the result.
///
/// # Safety
///
/// As there, with as many rows of `w`; with `add`, `out` must be initialised.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn add_rows<T: Element, const R: usize, const K: usize>(
    x: *const f32,
    depth: usize,
    w: *const T,
    n: usize,
    width: usize,
    out: *mut f32,
    add: bool,
) {
    for at in (0..width).step_by(LANES) {
        let count = LANES.min(width - at);
        // SAFETY: as the caller promises, masked to the columns that there are.
        unsafe {
            let mut sums: [__m512; R] = match add {
                true => std::array::from_fn(|r| f32::load(out.add(r * n + at), count)),
                false => [_mm512_setzero_ps(); R],
            };
            for k in 0..K {
                let b = T::load(w.add(k * n + at), count);
                for (r, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_fmadd_ps(_mm512_set1_ps(*x.add(r * depth + k)), b, *sum);
                }
            }
            for (r, sum) in sums.iter().enumerate() {
                _mm512_mask_storeu_ps(out.add(r * n + at), mask(count), *sum);
            }
        }
    }
}

/// `R` rows times columns that lie one after the other, `C` at a time. Gives `R`.
///
/// # Safety
///
/// `x` must be valid for `R` rows of `depth`, `w` for `width` of them, `out` for `R` rows of `width` that
/// begin `n` apart; there must be AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn from_columns<T: Element, const R: usize, const C: usize>(
    x: *const f32,
    depth: usize,
    w: *const T,
    n: usize,
    width: usize,
    out: *mut f32,
) -> usize {
    let mut at = 0;
    // SAFETY: as the caller promises.
    unsafe {
        while at + C <= width {
            tile_of_columns::<T, R, C>(x, depth, w.add(at * depth), n, out.add(at));
            at += C;
        }
        while at < width {
            tile_of_columns::<T, R, 1>(x, depth, w.add(at * depth), n, out.add(at));
            at += 1;
        }
    }
    R
}

/// One tile of [`from_columns`].
///
/// # Safety
///
/// As there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn tile_of_columns<T: Element, const R: usize, const C: usize>(
    x: *const f32,
    depth: usize,
    w: *const T,
    n: usize,
    out: *mut f32,
) {
    let mut sums = [[_mm512_setzero_ps(); C]; R];
    let whole = depth - depth % LANES;
    // SAFETY: as the caller promises.
    let mut step = |k: usize, count: usize| unsafe {
        let b: [__m512; C] = std::array::from_fn(|c| T::load(w.add(c * depth + k), count));
        for (r, sums) in sums.iter_mut().enumerate() {
            let a = f32::load(x.add(r * depth + k), count);
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = _mm512_fmadd_ps(a, b, *sum);
            }
        }
    };
    for k in (0..whole).step_by(LANES) {
        step(k, LANES);
    }
    if whole < depth {
        step(whole, depth - whole);
    }
    for (r, sums) in sums.iter().enumerate() {
        for (c, sum) in sums.iter().enumerate() {
            // SAFETY: as the caller promises.
            unsafe { out.add(r * n + c).write(_mm512_reduce_add_ps(*sum)) };
        }
    }
}
