//! Products of few rows with the factors of low-rank experts, as they lie in memory.

use super::few_rows::few_rows_by_rows;
use super::simd::{multiply_add, multiversioned, sum_of_pairs};

/// `out = x A^T`: rows `[T, depth]` with the rows of `A`, `[R, depth]`, to `[T, R]`.
#[allow(unsafe_code)]
pub(crate) fn low_rank_down(x: &[f32], depth: usize, a: &[f32], out: &mut [f32]) {
    let rank = a.len() / depth;
    assert!(out.len() * depth == x.len() * rank, "low rank: factors that fit");
    #[cfg(target_arch = "x86_64")]
    if super::few_rows_runs() {
        // SAFETY: the instructions are there, and `out` has `rank` columns for each row of `x`.
        unsafe {
            super::few_rows_wide(x, depth, a, false, rank, 0..rank, out.as_mut_ptr());
        }
        return;
    }
    few_rows_by_rows(x, depth, a, rank, out);
}

/// `out[o] += sum_j h[j] b[o, j]`: a row `[r]` with rows of `B`, `[n, r]`.
#[allow(unsafe_code)]
pub(crate) fn low_rank_up(h: &[f32], b: &[f32], out: &mut [f32]) {
    assert!(b.len() == h.len() * out.len(), "low rank: factors that fit");
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the instructions are there.
        let done = unsafe { x86::up(h, b, out) };
        up_one_by_one(h, &b[done * h.len()..], &mut out[done..]);
        return;
    }
    up_one_by_one(h, b, out);
}

#[inline(always)]
fn up_body<const FMA: bool>(h: &[f32], b: &[f32], out: &mut [f32]) {
    if h.is_empty() {
        return;
    }
    for (out, b) in out.iter_mut().zip(b.chunks_exact(h.len())) {
        *out += match h.len() {
            // Short sums are done before vectors are.
            ..16 => h.iter().zip(b).fold(0.0, |sum, (h, b)| multiply_add::<FMA>(*h, *b, sum)),
            _ => sum_of_pairs(h, b, multiply_add::<FMA>),
        };
    }
}

multiversioned! {
    /// [`low_rank_up`] for every rank.
    up_one_by_one(h: &[f32], b: &[f32], out: &mut [f32]) = up_body
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #![allow(unsafe_code)]

    use std::arch::x86_64::*;

    const LANES: usize = 8;

    /// [`low_rank_up`](super::low_rank_up) of as many outputs as make whole vectors, whose number it
    /// gives; none where the rank is neither 4 nor a multiple of 8.
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn up(h: &[f32], b: &[f32], out: &mut [f32]) -> usize {
        let blocks = out.as_chunks_mut::<LANES>().0;
        let done = blocks.len() * LANES;
        match h.len() {
            4 => up_of_4(h, b, blocks),
            rank if rank > 0 && rank.is_multiple_of(LANES) => up_of_8s(h, b, blocks),
            _ => return 0,
        }
        done
    }

    /// Ranks that are multiples of 8: a vector of partial sums for each of eight outputs.
    #[target_feature(enable = "avx2,fma")]
    fn up_of_8s(h: &[f32], b: &[f32], out: &mut [[f32; LANES]]) {
        let rank = h.len();
        for (out, b) in out.iter_mut().zip(b.chunks_exact(LANES * rank)) {
            let mut sums = [_mm256_setzero_ps(); LANES];
            for at in (0..rank).step_by(LANES) {
                let h = load(&h[at..]);
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm256_fmadd_ps(h, load(&b[i * rank + at..]), *sum);
                }
            }
            let [a, b, c, d, e, f, g, h] = sums;
            let first = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
            let last = _mm256_hadd_ps(_mm256_hadd_ps(e, f), _mm256_hadd_ps(g, h));
            // Halves of the sums of the first four and of the last four.
            let low = _mm256_permute2f128_ps::<0x20>(first, last);
            let high = _mm256_permute2f128_ps::<0x31>(first, last);
            add(_mm256_add_ps(low, high), out);
        }
    }

    /// Rank 4: two outputs a vector.
    #[target_feature(enable = "avx2,fma")]
    fn up_of_4(h: &[f32], b: &[f32], out: &mut [[f32; LANES]]) {
        let h: [f32; LANES] = std::array::from_fn(|i| h[i % 4]);
        let h = load(&h);
        let in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        for (out, b) in out.iter_mut().zip(b.as_chunks::<{ 4 * LANES }>().0) {
            let products = |i: usize| _mm256_mul_ps(h, load(&b[i * LANES..]));
            let first = _mm256_hadd_ps(products(0), products(1));
            let last = _mm256_hadd_ps(products(2), products(3));
            // The even outputs and then the odd ones.
            let sums = _mm256_hadd_ps(first, last);
            add(_mm256_permutevar8x32_ps(sums, in_order), out);
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn load(from: &[f32]) -> __m256 {
        let from: &[f32; LANES] = from.first_chunk().expect("a whole vector");
        // SAFETY: there are as many.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn add(sums: __m256, out: &mut [f32; LANES]) {
        // SAFETY: there are as many.
        unsafe {
            let before = _mm256_loadu_ps(out.as_ptr());
            _mm256_storeu_ps(out.as_mut_ptr(), _mm256_add_ps(before, sums));
        }
    }
}
