//! Kernels and packing by AVX2, AVX-512 and AVX512-BF16.
//!
//! A function for given instructions is called only where [`Tiles::runs`] says that the processor has
//! them.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::pack::rounded_bits;
use super::{Columns, Tiles};

/// The rows and vectors of columns of a tile.
const ROWS: usize = 12;
const VECTORS: usize = 2;
const LANES: usize = 16;
const COLUMNS: usize = VECTORS * LANES;

/// See [`Tiles::multiply`].
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

/// [`Tiles::pack_rows`] for tiles of AVX-512.
pub(super) fn pack_rows(
    dot: bool,
    x: &[f32],
    stride: usize,
    rows: usize,
    depth: usize,
    round: bool,
    out: &mut [u32],
) {
    let x = x.as_ptr();
    // SAFETY: `Tiles::pack_rows` checked that the rows are within `x`, and `out` is `[words, ROWS]`.
    unsafe {
        match dot {
            true => rows_of_pairs(x, stride, rows, depth, out.as_mut_ptr()),
            false => rows_of_words(x, stride, rows, depth, round, out.as_mut_ptr()),
        }
    }
}

/// [`Tiles::pack_columns`] for tiles of AVX-512.
pub(super) fn pack_columns(dot: bool, w: Columns, columns: usize, depth: usize, out: &mut [u32]) {
    for first in (0..COLUMNS).step_by(LANES) {
        let strip = columns.saturating_sub(first).min(LANES);
        let out = out[first..].as_mut_ptr();
        // SAFETY: `Tiles::pack_columns` checked that the columns are within `w`, and `out` is
        // `[words, COLUMNS]` of which these are 16 columns. A pointer to no columns is not read.
        unsafe {
            match (w, dot) {
                (Columns::F32(w, stride), false) => {
                    let w = w.as_ptr().wrapping_add(first * stride);
                    columns_of_words(w, stride, strip, depth, out);
                }
                (Columns::BF16(w, stride), false) => {
                    let w = w.as_ptr().wrapping_add(first * stride).cast();
                    columns_of_halves(w, stride, strip, depth, out);
                }
                (Columns::BF16(w, stride), true) => {
                    let w = w.as_ptr().wrapping_add(first * stride).cast();
                    columns_of_pairs(w, stride, strip, depth, out);
                }
                (Columns::F32(w, stride), true) => {
                    let w = w.as_ptr().wrapping_add(first * stride);
                    strip_of_pairs(w, stride, strip, depth, COLUMNS, LANES, out);
                }
            }
        }
    }
}

/// # Safety
///
/// `x` must be valid for `rows` rows of `depth`, `out` for `[depth, ROWS]`, and there must be AVX-512.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn rows_of_words(
    x: *const f32,
    stride: usize,
    rows: usize,
    depth: usize,
    round: bool,
    out: *mut u32,
) {
    let lanes = (1u16 << ROWS) - 1;
    for k in (0..depth).step_by(LANES) {
        let block = transposed(|row| match row < rows {
            false => _mm512_setzero_si512(),
            true => {
                // SAFETY: masked to what is left of the row.
                let x = unsafe {
                    _mm512_maskz_loadu_epi32(left_of(depth - k), x.add(row * stride + k).cast())
                };
                if round { round_words(x) } else { x }
            }
        });
        for (i, words) in block.iter().enumerate().take(depth - k) {
            // SAFETY: masked to the rows of the tile.
            unsafe { _mm512_mask_storeu_epi32(out.add((k + i) * ROWS).cast(), lanes, *words) };
        }
    }
}

/// # Safety
///
/// As [`rows_of_words`], with AVX512-BF16 and `out` valid for `[depth / 2, ROWS]`, rounded up.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn rows_of_pairs(x: *const f32, stride: usize, rows: usize, depth: usize, out: *mut u32) {
    // SAFETY: as the caller promises.
    unsafe { strip_of_pairs(x, stride, rows, depth, ROWS, ROWS, out) };
}

/// Rows or columns of f32, rounded, as `lanes` words of each `[words, width]`.
///
/// # Safety
///
/// `x` must be valid for `count` rows of `depth`, and `out` for `lanes` words, `width` apart, for each
/// pair; there must be AVX512-BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn strip_of_pairs(
    x: *const f32,
    stride: usize,
    count: usize,
    depth: usize,
    width: usize,
    lanes: usize,
    out: *mut u32,
) {
    let lanes = left_of(lanes);
    for k in (0..depth).step_by(2 * LANES) {
        let left = depth - k;
        let block = transposed(|row| match row < count {
            false => _mm512_setzero_si512(),
            true => {
                let x = x.wrapping_add(row * stride + k);
                // SAFETY: masked to what is left of the row.
                let halves = unsafe {
                    let low = _mm512_maskz_loadu_ps(left_of(left), x);
                    let high = left_of(left.saturating_sub(LANES));
                    _mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(high, x.wrapping_add(LANES)), low)
                };
                // SAFETY: vectors of pairs are those of words.
                unsafe { std::mem::transmute::<__m512bh, __m512i>(halves) }
            }
        });
        for (i, words) in block.iter().enumerate().take(left.div_ceil(2)) {
            // SAFETY: masked to the lanes that the caller allows.
            unsafe { _mm512_mask_storeu_epi32(out.add((k / 2 + i) * width).cast(), lanes, *words) };
        }
    }
}

/// # Safety
///
/// `w` must be valid for `columns` columns of `depth`, `out` for 16 words, `COLUMNS` apart, for each of
/// the depth; there must be AVX-512.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn columns_of_words(
    w: *const f32,
    stride: usize,
    columns: usize,
    depth: usize,
    out: *mut u32,
) {
    for k in (0..depth).step_by(LANES) {
        let block = transposed(|column| match column < columns {
            false => _mm512_setzero_si512(),
            // SAFETY: masked to what is left of the column.
            true => unsafe {
                _mm512_maskz_loadu_epi32(left_of(depth - k), w.add(column * stride + k).cast())
            },
        });
        for (i, words) in block.iter().enumerate().take(depth - k) {
            // SAFETY: 16 words of the panel.
            unsafe { _mm512_storeu_si512(out.add((k + i) * COLUMNS).cast(), *words) };
        }
    }
}

/// As [`columns_of_words`], of halves, which are widened.
///
/// # Safety
///
/// As there.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn columns_of_halves(
    w: *const u16,
    stride: usize,
    columns: usize,
    depth: usize,
    out: *mut u32,
) {
    for k in (0..depth).step_by(2 * LANES) {
        // SAFETY: as the caller promises.
        let block = unsafe { pairs(w, stride, columns, depth, k) };
        for (i, words) in block.iter().enumerate().take((depth - k).div_ceil(2)) {
            let (k, low) = (k + 2 * i, _mm512_slli_epi32::<16>(*words));
            let high = _mm512_and_si512(*words, _mm512_set1_epi32(0xffff_0000_u32.cast_signed()));
            // SAFETY: 16 words of the panel each.
            unsafe {
                _mm512_storeu_si512(out.add(k * COLUMNS).cast(), low);
                if k + 1 < depth {
                    _mm512_storeu_si512(out.add((k + 1) * COLUMNS).cast(), high);
                }
            }
        }
    }
}

/// As [`columns_of_words`], of halves in pairs.
///
/// # Safety
///
/// As there, with half of the depth, rounded up.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn columns_of_pairs(
    w: *const u16,
    stride: usize,
    columns: usize,
    depth: usize,
    out: *mut u32,
) {
    for k in (0..depth).step_by(2 * LANES) {
        // SAFETY: as the caller promises.
        let block = unsafe { pairs(w, stride, columns, depth, k) };
        for (i, words) in block.iter().enumerate().take((depth - k).div_ceil(2)) {
            // SAFETY: 16 words of the panel.
            unsafe { _mm512_storeu_si512(out.add((k / 2 + i) * COLUMNS).cast(), *words) };
        }
    }
}

/// 16 pairs of halves from `k` on of up to 16 columns; a vector for each pair.
///
/// # Safety
///
/// `w` must be valid for `columns` columns of `depth`, and there must be AVX-512.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn pairs(
    w: *const u16,
    stride: usize,
    columns: usize,
    depth: usize,
    k: usize,
) -> [__m512i; 16] {
    let left = (depth - k).min(2 * LANES);
    let mask = u32::MAX >> (2 * LANES - left);
    transposed(|column| match column < columns {
        false => _mm512_setzero_si512(),
        // SAFETY: masked to what is left of the column.
        true => unsafe { _mm512_maskz_loadu_epi16(mask, w.add(column * stride + k).cast()) },
    })
}

/// A mask of as many lanes, at most all.
fn left_of(count: usize) -> u16 {
    u16::MAX.checked_shr((LANES - count.min(LANES)) as u32).unwrap_or(0)
}

/// See [`rounded_bits`].
#[inline]
#[target_feature(enable = "avx512f")]
fn round_words(x: __m512i) -> __m512i {
    let floats = _mm512_castsi512_ps(x);
    let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(floats, floats);
    let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(x), _mm512_set1_epi32(1));
    let up = _mm512_add_epi32(x, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    let quiet = _mm512_set1_epi32(rounded_bits(f32::NAN).cast_signed());
    let up = _mm512_mask_mov_epi32(up, nan, quiet);
    _mm512_and_si512(up, _mm512_set1_epi32(0xffff_0000_u32.cast_signed()))
}

/// 16 rows of 16 words, turned.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed(row: impl Fn(usize) -> __m512i) -> [__m512i; 16] {
    let zero = _mm512_setzero_si512();
    let (mut twos, mut fours, mut out) = ([zero; 16], [zero; 16], [zero; 16]);
    for i in 0..8 {
        let (a, b) = (row(2 * i), row(2 * i + 1));
        twos[2 * i] = _mm512_unpacklo_epi32(a, b);
        twos[2 * i + 1] = _mm512_unpackhi_epi32(a, b);
    }
    for i in 0..4 {
        for half in 0..2 {
            let (a, b) = (twos[4 * i + half], twos[4 * i + 2 + half]);
            fours[4 * i + 2 * half] = _mm512_unpacklo_epi64(a, b);
            fours[4 * i + 2 * half + 1] = _mm512_unpackhi_epi64(a, b);
        }
    }
    // `fours[4 g + c]` has the words c, c + 4, c + 8 and c + 12 of four rows, each in 128 bits.
    for c in 0..4 {
        let [a, b, d, e] = [fours[c], fours[4 + c], fours[8 + c], fours[12 + c]];
        let even = [_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0x88>(d, e)];
        let odd = [_mm512_shuffle_i32x4::<0xdd>(a, b), _mm512_shuffle_i32x4::<0xdd>(d, e)];
        out[c] = _mm512_shuffle_i32x4::<0x88>(even[0], even[1]);
        out[c + 4] = _mm512_shuffle_i32x4::<0x88>(odd[0], odd[1]);
        out[c + 8] = _mm512_shuffle_i32x4::<0xdd>(even[0], even[1]);
        out[c + 12] = _mm512_shuffle_i32x4::<0xdd>(odd[0], odd[1]);
    }
    out
}
