use half::bf16;

use super::simd::{LANES, fold, multiply_add, multiversioned};

/// Rows that are multiplied together, so that what they meet is read once for them.
const ROWS: usize = 4;

/// Columns of the right factor must be a multiple of this.
pub(crate) const COLUMNS: usize = LANES;

/// An element of a matrix that is multiplied in f32.
trait Widened: Copy {
    fn wide(self) -> f32;
}

impl Widened for f32 {
    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }
}

impl Widened for bf16 {
    #[inline(always)]
    fn wide(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

/// `out[m, n] += sum_k x[m, k] w[k, n]` for the first `width` columns of `w`, whose rows begin
/// `stride` apart.
///
/// Memory is read in the order in which it lies; sums stay in the cache, and are read and written
/// once for several rows of `w`.
#[inline(always)]
fn along_columns<const FMA: bool, W: Widened>(
    x: &[f32],
    depth: usize,
    w: &[W],
    stride: usize,
    width: usize,
    out: &mut [f32],
) {
    let add = |a: &[W; LANES], x: f32, mut sums: [f32; LANES]| {
        for i in 0..LANES {
            sums[i] = multiply_add::<FMA>(x, a[i].wide(), sums[i]);
        }
        sums
    };
    let row = |k: usize| w[k * stride..][..width].as_chunks::<LANES>().0;
    let whole = depth - depth % ROWS;
    for k in (0..whole).step_by(ROWS) {
        let [a, b, c, d] = [row(k), row(k + 1), row(k + 2), row(k + 3)];
        for (x, out) in x.chunks_exact(depth).zip(out.chunks_exact_mut(width)) {
            let out = out.as_chunks_mut::<LANES>().0;
            for ((((out, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                let sums = add(b, x[k + 1], add(a, x[k], *out));
                *out = add(d, x[k + 3], add(c, x[k + 2], sums));
            }
        }
    }
    for k in whole..depth {
        for (x, out) in x.chunks_exact(depth).zip(out.chunks_exact_mut(width)) {
            for (out, w) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(row(k)) {
                *out = add(w, x[k], *out);
            }
        }
    }
}

/// `out[m, n] = sum_k x[m, k] w[n, k]` for the first `width` rows of `w`, `[width, depth]`.
#[inline(always)]
fn along_rows<const FMA: bool, W: Widened>(
    x: &[f32],
    depth: usize,
    w: &[W],
    width: usize,
    out: &mut [f32],
) {
    for (n, w) in w.chunks_exact(depth).take(width).enumerate() {
        for (x, out) in x.chunks(ROWS * depth).zip(out.chunks_mut(ROWS * width)) {
            if let (Some(x), true) = (rows(x, depth), out.len() == ROWS * width) {
                for (out, sum) in
                    out.iter_mut().skip(n).step_by(width).zip(dots::<FMA, W, ROWS>(x, w))
                {
                    *out = sum;
                }
                continue;
            }
            for (x, out) in x.chunks_exact(depth).zip(out.chunks_mut(width)) {
                [out[n]] = dots::<FMA, W, 1>([x], w);
            }
        }
    }
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
fn dots<const FMA: bool, W: Widened, const N: usize>(x: [&[f32]; N], w: &[W]) -> [f32; N] {
    let mut sums = [[0.0f32; LANES]; N];
    let (w, w_tail) = w.as_chunks::<LANES>();
    let x = x.map(|x| {
        let (chunks, tail) = x.as_chunks::<LANES>();
        (&chunks[..w.len()], tail)
    });
    for (at, w) in w.iter().enumerate() {
        let w = w.map(W::wide);
        for (sums, x) in sums.iter_mut().zip(&x) {
            for ((sum, x), w) in sums.iter_mut().zip(&x.0[at]).zip(w) {
                *sum = multiply_add::<FMA>(*x, w, *sum);
            }
        }
    }
    let tail = |x: &[f32]| x.iter().zip(w_tail).fold(0.0, |sum, (x, w)| sum + x * w.wide());
    let mut all = x.map(|x| tail(x.1));
    for (all, sums) in all.iter_mut().zip(&sums) {
        *all += fold(sums, |a, b| a + b);
    }
    all
}

#[inline(always)]
fn columns_of_f32<const FMA: bool>(
    x: &[f32],
    depth: usize,
    w: &[f32],
    stride: usize,
    width: usize,
    out: &mut [f32],
) {
    along_columns::<FMA, f32>(x, depth, w, stride, width, out);
}

#[inline(always)]
fn rows_of_f32<const FMA: bool>(x: &[f32], depth: usize, w: &[f32], width: usize, out: &mut [f32]) {
    along_rows::<FMA, f32>(x, depth, w, width, out);
}

#[inline(always)]
fn columns_of_bf16<const FMA: bool>(
    x: &[f32],
    depth: usize,
    w: &[bf16],
    stride: usize,
    width: usize,
    out: &mut [f32],
) {
    along_columns::<FMA, bf16>(x, depth, w, stride, width, out);
}

#[inline(always)]
fn rows_of_bf16<const FMA: bool>(
    x: &[f32],
    depth: usize,
    w: &[bf16],
    width: usize,
    out: &mut [f32],
) {
    along_rows::<FMA, bf16>(x, depth, w, width, out);
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
    /// [`few_rows_by_columns`] with halves.
    few_rows_by_bf16_columns(
        x: &[f32],
        depth: usize,
        w: &[bf16],
        stride: usize,
        width: usize,
        out: &mut [f32],
    ) = columns_of_bf16
}

multiversioned! {
    /// A product with few rows on the left, of a matrix whose transpose is `w`, `[width, depth]`.
    few_rows_by_rows(x: &[f32], depth: usize, w: &[f32], width: usize, out: &mut [f32]) = rows_of_f32
}

multiversioned! {
    /// [`few_rows_by_rows`] with halves.
    few_rows_by_bf16_rows(x: &[f32], depth: usize, w: &[bf16], width: usize, out: &mut [f32]) = rows_of_bf16
}
