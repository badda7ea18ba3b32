use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::simd::{LANES, fold, multiply_add, multiversioned, sum_of_pairs};

/// Rows that are multiplied together, so that what they meet is read once for them.
const ROWS: usize = 4;

/// Columns of the right factor must be a multiple of this.
pub(crate) const COLUMNS: usize = LANES;

/// `out[m, n] += sum_k x[m, k] w[k, n]` for the first `width` columns of `w`, whose rows begin
/// `stride` apart.
///
/// Memory is read in the order in which it lies; sums stay in the cache, and are read and written
/// once for several rows of `w`.
#[inline(always)]
fn columns_of_f32<const FMA: bool>(
    x: &[f32],
    depth: usize,
    w: &[f32],
    stride: usize,
    width: usize,
    out: &mut [f32],
) {
    let whole = depth - depth % ROWS;
    let row = |k: usize| &w[k * stride..][..width];
    for k in (0..whole).step_by(ROWS) {
        add_rows::<FMA, ROWS>(x, depth, k, std::array::from_fn(|i| row(k + i)), width, out);
    }
    for k in whole..depth {
        add_rows::<FMA, 1>(x, depth, k, [row(k)], width, out);
    }
}

/// As [`columns_of_f32`]: several rows are widened, and then meet all rows of `x`.
#[inline(always)]
fn columns_of_halves<const FMA: bool>(
    x: &[f32],
    depth: usize,
    w: &[impl Half],
    stride: usize,
    width: usize,
    out: &mut [f32],
) {
    let whole = depth - depth % ROWS;
    let mut wide = vec![0.0f32; ROWS * width];
    for k in (0..whole).step_by(ROWS) {
        for (i, wide) in wide.chunks_exact_mut(width).enumerate() {
            Half::widen(&w[(k + i) * stride..][..width], wide);
        }
        let rows = std::array::from_fn(|i| &wide[i * width..][..width]);
        add_rows::<FMA, ROWS>(x, depth, k, rows, width, out);
    }
    for k in whole..depth {
        Half::widen(&w[k * stride..][..width], &mut wide[..width]);
        add_rows::<FMA, 1>(x, depth, k, [&wide[..width]], width, out);
    }
}

/// `out[m, n] += sum_i x[m, k + i] w[i][n]`.
#[inline(always)]
fn add_rows<const FMA: bool, const N: usize>(
    x: &[f32],
    depth: usize,
    k: usize,
    w: [&[f32]; N],
    width: usize,
    out: &mut [f32],
) {
    let w = w.map(|row| row.as_chunks::<LANES>().0);
    for (x, out) in x.chunks_exact(depth).zip(out.chunks_exact_mut(width)) {
        for (at, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let mut sums = *out;
            for (i, w) in w.iter().enumerate() {
                let (x, w) = (x[k + i], &w[at]);
                for (sum, w) in sums.iter_mut().zip(w) {
                    *sum = multiply_add::<FMA>(x, *w, *sum);
                }
            }
            *out = sums;
        }
    }
}

/// `out[m, n] = sum_k x[m, k] w[n, k]` for the first `width` rows of `w`, `[width, depth]`.
#[inline(always)]
fn rows_of_f32<const FMA: bool>(x: &[f32], depth: usize, w: &[f32], width: usize, out: &mut [f32]) {
    for (n, w) in w.chunks_exact(depth).take(width).enumerate() {
        dots_with_row::<FMA>(x, depth, w, n, width, out);
    }
}

/// As [`rows_of_f32`]: a row is widened, and then meets all rows of `x`.
#[inline(always)]
fn rows_of_halves<const FMA: bool>(
    x: &[f32],
    depth: usize,
    w: &[impl Half],
    width: usize,
    out: &mut [f32],
) {
    let mut wide = vec![0.0f32; depth];
    for (n, w) in w.chunks_exact(depth).take(width).enumerate() {
        Half::widen(w, &mut wide);
        dots_with_row::<FMA>(x, depth, &wide, n, width, out);
    }
}

/// The products of all rows of `x` with one row, into column `n`.
#[inline(always)]
fn dots_with_row<const FMA: bool>(
    x: &[f32],
    depth: usize,
    w: &[f32],
    n: usize,
    width: usize,
    out: &mut [f32],
) {
    for (x, out) in x.chunks(ROWS * depth).zip(out.chunks_mut(ROWS * width)) {
        if let (Some(x), true) = (rows(x, depth), out.len() == ROWS * width) {
            for (out, sum) in out.iter_mut().skip(n).step_by(width).zip(dots::<FMA>(x, w)) {
                *out = sum;
            }
            continue;
        }
        for (x, out) in x.chunks_exact(depth).zip(out.chunks_mut(width)) {
            out[n] = sum_of_pairs(x, w, multiply_add::<FMA>);
        }
    }
}

/// A type of 16 bits.
trait Half: Copy {
    /// The f32 that halves stand for.
    fn widen(halves: &[Self], out: &mut [f32]);
}

impl Half for bf16 {
    /// Their bits, and zeros.
    #[inline(always)]
    fn widen(halves: &[Self], out: &mut [f32]) {
        for (out, half) in out.iter_mut().zip(halves) {
            *out = f32::from_bits(u32::from(half.to_bits()) << 16);
        }
    }
}

impl Half for f16 {
    #[allow(unsafe_code)]
    fn widen(halves: &[Self], out: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("f16c") {
            // SAFETY: the processor has the instruction.
            unsafe { widen_f16(halves, out) };
            return;
        }
        halves.convert_to_f32_slice(out);
    }
}

/// Halves widened eight at a time.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[target_feature(enable = "avx,f16c")]
fn widen_f16(halves: &[f16], out: &mut [f32]) {
    use std::arch::x86_64::{_mm_loadu_si128, _mm256_cvtph_ps, _mm256_storeu_ps};
    let (halves, last) = halves.as_chunks::<8>();
    let (out, last_out) = out[..8 * halves.len() + last.len()].split_at_mut(8 * halves.len());
    for (halves, out) in halves.iter().zip(out.as_chunks_mut::<8>().0) {
        // SAFETY: eight halves are read, and as many numbers written.
        unsafe {
            let wide = _mm256_cvtph_ps(_mm_loadu_si128(halves.as_ptr().cast()));
            _mm256_storeu_ps(out.as_mut_ptr(), wide);
        }
    }
    for (half, out) in last.iter().zip(last_out) {
        *out = half.to_f32();
    }
}

#[inline(always)]
fn widen_body<const FMA: bool>(halves: &[bf16], out: &mut [f32]) {
    Half::widen(halves, out);
}

/// All rows of a block, where it is full.
#[inline(always)]
fn rows(x: &[f32], depth: usize) -> Option<[&[f32]; ROWS]> {
    let (a, rest) = x.split_at_checked(depth)?;
    let (b, rest) = rest.split_at_checked(depth)?;
    let (c, d) = rest.split_at_checked(depth)?;
    (d.len() == depth).then_some([a, b, c, d])
}

/// The products of rows with one row.
#[inline(always)]
fn dots<const FMA: bool>(x: [&[f32]; ROWS], w: &[f32]) -> [f32; ROWS] {
    let mut sums = [[0.0f32; LANES]; ROWS];
    let (w, w_tail) = w.as_chunks::<LANES>();
    let [a, b, c, d] = x.map(|x| x.as_chunks::<LANES>());
    for ((((w, a), b), c), d) in w.iter().zip(a.0).zip(b.0).zip(c.0).zip(d.0) {
        for (sums, x) in sums.iter_mut().zip([a, b, c, d]) {
            for ((sum, x), w) in sums.iter_mut().zip(x).zip(w) {
                *sum = multiply_add::<FMA>(*x, *w, *sum);
            }
        }
    }
    let tail = |x: &[f32]| x.iter().zip(w_tail).fold(0.0, |sum, (x, w)| sum + x * w);
    let mut all = [a.1, b.1, c.1, d.1].map(tail);
    for (all, sums) in all.iter_mut().zip(&sums) {
        *all += fold(sums, |a, b| a + b);
    }
    all
}

multiversioned! {
    /// Adds to `out` a product with few rows on the left, of the first `width` columns of `w`, whose rows begin
    /// `stride` apart: `[M, depth]` with `[depth, width]`.
    few_rows_by_columns(
        x: &[f32],
        depth: usize,
        w: &[f32],
        stride: usize,
        width: usize,
        out: &mut [f32],
    ) = columns_of_f32
}

multiversioned! {
    /// The f32 that halves stand for.
    widen_bf16(halves: &[bf16], out: &mut [f32]) = widen_body
}

multiversioned! {
    /// [`few_rows_by_columns`] with halves.
    few_rows_by_bf16_columns(
        x: &[f32],
        depth: usize,
        w: &[bf16],
        stride: usize,
        width: usize,
        out: &mut [f32],
    ) = columns_of_halves
}

multiversioned! {
    /// [`few_rows_by_columns`] with halves.
    few_rows_by_f16_columns(
        x: &[f32],
        depth: usize,
        w: &[f16],
        stride: usize,
        width: usize,
        out: &mut [f32],
    ) = columns_of_halves
}

multiversioned! {
    /// A product with few rows on the left, of a matrix whose transpose is `w`, `[width, depth]`.
    few_rows_by_rows(x: &[f32], depth: usize, w: &[f32], width: usize, out: &mut [f32]) = rows_of_f32
}

multiversioned! {
    /// The products of all rows of `x` with one row `w`, into column `n` of `out`, `[M, width]`.
    few_rows_by_row(
        x: &[f32],
        depth: usize,
        w: &[f32],
        n: usize,
        width: usize,
        out: &mut [f32],
    ) = dots_with_row
}

multiversioned! {
    /// [`few_rows_by_rows`] with halves.
    few_rows_by_bf16_rows(x: &[f32], depth: usize, w: &[bf16], width: usize, out: &mut [f32]) = rows_of_halves
}

multiversioned! {
    /// [`few_rows_by_rows`] with halves.
    few_rows_by_f16_rows(x: &[f32], depth: usize, w: &[f16], width: usize, out: &mut [f32]) = rows_of_halves
}
