//! Products of blocks: rows and columns are packed into the order in which a kernel reads them, and a
//! kernel keeps a tile of the result in registers.
//!
//! What is packed are words of 32 bits, [`Tiles::words`] for a depth: an f32 each, or a pair of
//! bfloat16 that are neighbours in depth. A tile of rows is `[words, rows]`, a panel of columns
//! `[words, columns]`, both padded with zeros.

mod pack;
#[cfg(target_arch = "x86_64")]
mod x86;

use half::bf16;

pub(crate) use pack::{interleave, rounded};

/// How blocks are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(crate) enum Tiles {
    /// f32 by AVX2.
    Avx2,
    /// f32 by AVX-512.
    Avx512,
    /// bfloat16 by AVX512-BF16: both factors are rounded, and sums are in f32.
    Dot,
}

/// A strip of a right factor, the elements of each column one after the other in depth.
#[derive(Clone, Copy)]
pub(crate) enum Columns<'a> {
    /// Columns begin so many elements apart.
    F32(&'a [f32], usize),
    BF16(&'a [bf16], usize),
}

impl Tiles {
    /// What this processor is fastest with, where there are kernels for it; `rounded` allows rounding
    /// both factors to bfloat16.
    ///
    /// Dot products of bfloat16 are twice as fast as fused multiply-adds on AMD's processors. Intel's
    /// take one every other cycle, and have other units for it: there they are half as fast (measured
    /// on the fifth generation of Xeon, 84 against 173 GFLOP/s a core).
    pub(crate) fn fastest(rounded: bool) -> Option<Self> {
        if rounded && Self::Dot.runs() && is_amd() {
            return Some(Self::Dot);
        }
        [Self::Avx512, Self::Avx2].into_iter().find(|tiles| tiles.runs())
    }

    /// Whether this processor has the instructions.
    pub(crate) fn runs(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            let avx512 =
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            match self {
                Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
                Self::Avx512 => avx512,
                Self::Dot => avx512 && is_x86_feature_detected!("avx512bf16"),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// The rows of a tile.
    pub(crate) fn rows(self) -> usize {
        match self {
            Self::Avx2 => 6,
            Self::Avx512 | Self::Dot => 12,
        }
    }

    /// The columns of a tile, and of a panel.
    pub(crate) fn columns(self) -> usize {
        match self {
            Self::Avx2 => 16,
            Self::Avx512 | Self::Dot => 32,
        }
    }

    /// The words of a row or a column of this depth.
    pub(crate) fn words(self, depth: usize) -> usize {
        match self {
            Self::Avx2 | Self::Avx512 => depth,
            Self::Dot => depth.div_ceil(2),
        }
    }

    /// Packs rows, at most those of a tile, which begin `stride` apart; `round` rounds them to bfloat16,
    /// as [`Dot`](Self::Dot) always does.
    pub(crate) fn pack_rows(
        self,
        x: &[f32],
        stride: usize,
        rows: usize,
        depth: usize,
        round: bool,
        out: &mut [u32],
    ) {
        assert!(rows <= self.rows() && (rows == 0 || (rows - 1) * stride + depth <= x.len()));
        let out = &mut out[..self.words(depth) * self.rows()];
        #[cfg(target_arch = "x86_64")]
        if self != Self::Avx2 {
            return x86::pack_rows(self == Self::Dot, x, stride, rows, depth, round, out);
        }
        pack::rows::<6>(x, stride, rows, depth, round, out);
    }

    /// Packs columns, at most those of a panel.
    pub(crate) fn pack_columns(self, w: Columns, columns: usize, depth: usize, out: &mut [u32]) {
        let (len, stride) = match w {
            Columns::F32(w, stride) => (w.len(), stride),
            Columns::BF16(w, stride) => (w.len(), stride),
        };
        let fits = columns == 0 || (columns - 1) * stride + depth <= len;
        assert!(columns <= self.columns() && fits);
        let out = &mut out[..self.words(depth) * self.columns()];
        #[cfg(target_arch = "x86_64")]
        if self != Self::Avx2 {
            return x86::pack_columns(self == Self::Dot, w, columns, depth, out);
        }
        match w {
            Columns::F32(w, stride) => pack::columns::<16, f32>(w, stride, columns, depth, out),
            Columns::BF16(w, stride) => pack::columns::<16, bf16>(w, stride, columns, depth, out),
        }
    }

    /// Multiplies a tile of rows with a panel of columns, each of so many words, into rows that begin
    /// `stride` apart, or with `add` adds to what is there.
    ///
    /// # Safety
    ///
    /// [`runs`](Self::runs) must hold. `out` must be valid for [`rows`](Self::rows) rows of
    /// [`columns`](Self::columns), and with `add` initialised; it is so afterwards.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn multiply(
        self,
        left: &[u32],
        right: &[u32],
        words: usize,
        out: *mut f32,
        stride: usize,
        add: bool,
    ) {
        assert!(words * self.rows() <= left.len() && words * self.columns() <= right.len());
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the packed factors are long enough, and the caller promises the rest.
        unsafe {
            x86::multiply(self, left.as_ptr(), right.as_ptr(), words, out, stride, add);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (out, stride, add);
    }
}

fn is_amd() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let vendor = std::arch::x86_64::__cpuid(0);
        let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
        name.as_flattened() == b"AuthenticAMD"
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}
