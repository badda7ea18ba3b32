//! Packing by AVX-512 and AVX512-BF16.
//!
//! As with the kernels, a function for given instructions is called only where [`Tiles::runs`] says that
//! the processor has them.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use half::bf16;

use super::pack::rounded_bits;
use super::x86::{COLUMNS, LANES, ROWS};
use super::{Columns, Tiles, amx};

/// The rows of a right factor that memory is asked for ahead, and the halves of a column. What lies far apart is
/// not foreseen by the processor: with them few rows take two thirds of the time.
const ROWS_AHEAD: usize = 16;
const HALVES_AHEAD: usize = 64;

/// [`Tiles::pack_rows`] for tiles of AVX-512 and AMX.
pub(super) fn pack_rows(
    tiles: Tiles,
    x: &[f32],
    stride: usize,
    rows: usize,
    depth: usize,
    round: bool,
    out: &mut [u32],
) {
    let x = x.as_ptr();
    // SAFETY: `Tiles::pack_rows` checked that the rows are within `x`, and `out` has their words.
    unsafe {
        match tiles {
            Tiles::Amx => amx::pack_rows::<1>(x, stride, rows, depth, out.as_mut_ptr()),
            Tiles::AmxExact => amx::pack_rows::<3>(x, stride, rows, depth, out.as_mut_ptr()),
            Tiles::Dot => rows_of_pairs(x, stride, rows, depth, out.as_mut_ptr()),
            _ => rows_of_words(x, stride, rows, depth, round, out.as_mut_ptr()),
        }
    }
}

/// [`Tiles::pack_columns`] for tiles of AVX-512 and AMX, of pairs or of f32.
pub(super) fn pack_columns(pairs: bool, w: Columns, columns: usize, depth: usize, out: &mut [u32]) {
    if pairs {
        // What is more than the depth, which may be a whole block of AMX.
        out[depth.div_ceil(2) * COLUMNS..].fill(0);
    }
    for first in (0..COLUMNS).step_by(LANES) {
        let strip = columns.saturating_sub(first).min(LANES);
        let out = out[first..].as_mut_ptr();
        // SAFETY: `Tiles::pack_columns` checked that the columns are within `w`, and `out` is
        // `[words, COLUMNS]` of which these are 16 columns. A pointer to no columns is not read.
        unsafe {
            match (w, pairs) {
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

/// [`Tiles::pack_pair_of_rows`], whose slices are long enough.
pub(super) fn pack_pair_of_rows(
    first: &[bf16],
    second: &[bf16],
    stride: usize,
    len: usize,
    out: &mut [u32],
) {
    let second = (!second.is_empty()).then_some(second.as_ptr().cast());
    // SAFETY: tiles of pairs run here, so there is AVX-512; the slices are long enough.
    unsafe {
        pair_of_rows(first.as_ptr().cast(), second, first.len(), stride, len, out.as_mut_ptr())
    };
}

/// [`Tiles::narrow`], whose slices are of one length.
pub(super) fn narrow(wide: &[f32], out: &mut [bf16]) {
    // SAFETY: tiles of pairs run here, so there is AVX512-BF16; the slices are of one length.
    unsafe { narrowed(wide.as_ptr(), wide.len(), out.as_mut_ptr().cast()) };
}

/// [`Tiles::pack_wide_rows`], whose slices are long enough.
pub(super) fn pack_wide_rows(
    x: &[f32],
    [rows, columns]: [usize; 2],
    words: usize,
    out: &mut [u32],
) {
    // SAFETY: tiles of pairs run here, so there is AVX512-BF16; the slices are long enough.
    unsafe { wide_rows(x.as_ptr(), rows, columns, words, out.as_mut_ptr()) };
}

/// [`Tiles::turn`], whose slices are long enough.
pub(super) fn turn(x: &[f32], stride: usize, [rows, columns]: [usize; 2], out: &mut [f32]) {
    // SAFETY: tiles of pairs run here, so there is AVX-512; the slices are long enough.
    unsafe { turned(x.as_ptr().cast(), stride, rows, columns, out.as_mut_ptr().cast()) };
}

/// # Safety
///
/// `x` must be valid for rows of `columns`, `out` for panels of `words` words of 32 columns, which are no fewer
/// than the pairs of rows; there must be AVX512-BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn wide_rows(x: *const f32, rows: usize, columns: usize, words: usize, out: *mut u32) {
    // Of the halves 0 to 15 of one row and 16 to 31 of the other.
    let pairs: [u32; LANES] = std::array::from_fn(|i| i as u32 * 0x1_0001 + (16 << 16));
    // SAFETY: 16 words.
    let order = unsafe { _mm512_loadu_si512(pairs.as_ptr().cast()) };
    for (panel, at) in (0..columns).step_by(COLUMNS).enumerate() {
        for word in 0..words {
            for strip in (0..COLUMNS).step_by(LANES) {
                let mask = left_of(columns.saturating_sub(at + strip));
                let row = |row: usize| match row < rows {
                    // SAFETY: masked to the columns that there are.
                    true => unsafe {
                        _mm512_maskz_loadu_ps(mask, x.wrapping_add(row * columns + at + strip))
                    },
                    false => _mm512_setzero_ps(),
                };
                // SAFETY: 16 words of the panel. Vectors of halves are those of words.
                unsafe {
                    let halves = _mm512_cvtne2ps_pbh(row(2 * word + 1), row(2 * word));
                    let halves = std::mem::transmute::<__m512bh, __m512i>(halves);
                    let out = out.add((panel * words + word) * COLUMNS + strip);
                    _mm512_storeu_si512(out.cast(), _mm512_permutexvar_epi16(order, halves));
                }
            }
        }
    }
}

/// # Safety
///
/// `x` must be valid for rows of `columns` words that begin `stride` apart, `out` for `columns` rows of `rows`;
/// there must be AVX-512.
#[target_feature(enable = "avx512f")]
unsafe fn turned(x: *const u32, stride: usize, rows: usize, columns: usize, out: *mut u32) {
    for top in (0..rows).step_by(LANES) {
        for left in (0..columns).step_by(LANES) {
            let block = transposed(|row| match top + row < rows {
                false => _mm512_setzero_si512(),
                // SAFETY: masked to what is left of the row.
                true => unsafe {
                    let x = x.add((top + row) * stride + left);
                    _mm512_maskz_loadu_epi32(left_of(columns - left), x.cast())
                },
            });
            for (column, words) in block.iter().enumerate().take(columns - left) {
                // SAFETY: masked to the rows that there are.
                unsafe {
                    let out = out.add((left + column) * rows + top);
                    _mm512_mask_storeu_epi32(out.cast(), left_of(rows - top), *words);
                }
            }
        }
    }
}

/// # Safety
///
/// Both rows must be valid for `columns` halves, `out` for 32 words of each panel, which begin `len` apart;
/// there must be AVX-512.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn pair_of_rows(
    first: *const u16,
    second: Option<*const u16>,
    columns: usize,
    stride: usize,
    len: usize,
    out: *mut u32,
) {
    // Of the halves 0 to 31 of one row and 32 to 63 of the other.
    let order = |from: u32| {
        let pairs: [u32; LANES] =
            std::array::from_fn(|i| (from + i as u32) * 0x1_0001 + (32 << 16));
        // SAFETY: 16 words.
        unsafe { _mm512_loadu_si512(pairs.as_ptr().cast()) }
    };
    let (low_half, high_half) = (order(0), order(LANES as u32));
    for (panel, at) in (0..columns).step_by(COLUMNS).enumerate() {
        let mask = u32::MAX >> (COLUMNS - (columns - at).min(COLUMNS));
        // SAFETY: masked to the columns that there are, and the words of a panel.
        unsafe {
            let a = _mm512_maskz_loadu_epi16(mask, first.add(at).cast());
            let b = match second {
                Some(second) => _mm512_maskz_loadu_epi16(mask, second.add(at).cast()),
                None => _mm512_setzero_si512(),
            };
            let ahead = first.wrapping_add(at + ROWS_AHEAD * stride);
            _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
            _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(stride).cast());
            let out = out.add(panel * len);
            _mm512_storeu_si512(out.cast(), _mm512_permutex2var_epi16(a, low_half, b));
            _mm512_storeu_si512(out.add(LANES).cast(), _mm512_permutex2var_epi16(a, high_half, b));
        }
    }
}

/// # Safety
///
/// `wide` must be valid for `count` elements, `out` for as many halves; there must be AVX512-BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn narrowed(wide: *const f32, count: usize, out: *mut u16) {
    for at in (0..count).step_by(LANES) {
        let mask = left_of(count - at);
        // SAFETY: masked to what there is. Vectors of halves are those of words.
        unsafe {
            let halves = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, wide.add(at)));
            let halves = std::mem::transmute::<__m256bh, __m256i>(halves);
            _mm256_mask_storeu_epi16(out.add(at).cast(), mask, halves);
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
        true => unsafe {
            let w = w.add(column * stride + k);
            _mm_prefetch::<_MM_HINT_T0>(w.wrapping_add(HALVES_AHEAD).cast());
            _mm512_maskz_loadu_epi16(mask, w.cast())
        },
    })
}

/// A mask of as many lanes, at most all.
pub(super) fn left_of(count: usize) -> u16 {
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
