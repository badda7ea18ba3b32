//! Products of blocks: rows and columns are packed into the order in which a kernel reads them, and a
//! kernel keeps a tile of the result in registers.
//!
//! What is packed are words of 32 bits, [`Tiles::words`] for a depth: an f32 each, or a pair of
//! bfloat16 that are neighbours in depth. A tile of rows is `[words, rows]` (of AMX blocks of `[rows, 16
//! words]`), a panel of columns `[words, columns]`, both padded with zeros.

#[cfg(target_arch = "x86_64")]
mod amx;
mod pack;
mod words;
#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod x86_pack;

use std::marker::PhantomData;

use half::bf16;

pub(crate) use pack::{cut, rounded};
pub(crate) use words::Words;

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
    /// The same by AMX.
    Amx,
    /// f32 with bfloat16 by AMX: of the left factor three products, of the 8 + 8 + 8 bits of its mantissa,
    /// so that nothing is rounded.
    AmxExact,
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
    /// both factors to bfloat16, and `bf16` says that the right one is that already.
    ///
    /// Dot products of bfloat16 are twice as fast as fused multiply-adds on AMD's processors. Intel's
    /// take one every other cycle, for AMX is there for it: they are half as fast (measured on the
    /// fifth generation of Xeon, 84 against 173 GFLOP/s a core).
    pub(crate) fn fastest(rounded: bool, bf16: bool) -> Option<Self> {
        if (rounded || bf16) && Self::Amx.runs() {
            return Some(if rounded { Self::Amx } else { Self::AmxExact });
        }
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
                Self::Dot => {
                    avx512
                        && is_x86_feature_detected!("avx512vl")
                        && is_x86_feature_detected!("avx512bf16")
                }
                Self::Amx | Self::AmxExact => Self::Dot.runs() && amx::runs(),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    pub(crate) fn is_amx(self) -> bool {
        matches!(self, Self::Amx | Self::AmxExact)
    }

    /// The rows of a tile.
    pub(crate) fn rows(self) -> usize {
        match self {
            Self::Avx2 => 6,
            Self::Avx512 | Self::Dot => 12,
            Self::Amx | Self::AmxExact => 32,
        }
    }

    /// The columns of a tile, and of a panel.
    pub(crate) fn columns(self) -> usize {
        match self {
            Self::Avx2 => 16,
            Self::Avx512 | Self::Dot | Self::Amx | Self::AmxExact => 32,
        }
    }

    /// The words of a column of this depth.
    pub(crate) fn words(self, depth: usize) -> usize {
        match self {
            Self::Avx2 | Self::Avx512 => depth,
            Self::Dot => depth.div_ceil(2),
            Self::Amx | Self::AmxExact => depth.div_ceil(2).next_multiple_of(16),
        }
    }

    /// The words of a row for so many of a column.
    pub(crate) fn words_of_row(self, words: usize) -> usize {
        if self == Self::AmxExact { 3 * words } else { words }
    }

    /// The depth of so many words.
    pub(crate) fn depth(self, words: usize) -> usize {
        if self.has_pairs() { 2 * words } else { words }
    }

    /// Whether words are pairs, so that the right factor is rounded.
    pub(crate) fn has_pairs(self) -> bool {
        matches!(self, Self::Dot | Self::Amx | Self::AmxExact)
    }

    /// Packs rows, at most those of a tile, which begin `stride` apart; `round` rounds them to bfloat16,
    /// as [`Dot`](Self::Dot) and [`Amx`](Self::Amx) always do.
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
        let out = &mut out[..self.words_of_row(self.words(depth)) * self.rows()];
        #[cfg(target_arch = "x86_64")]
        if self != Self::Avx2 {
            return x86_pack::pack_rows(self, x, stride, rows, depth, round, out);
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
            return x86_pack::pack_columns(self.has_pairs(), w, columns, depth, out);
        }
        match w {
            Columns::F32(w, stride) => pack::columns::<16, f32>(w, stride, columns, depth, out),
            Columns::BF16(w, stride) => pack::columns::<16, bf16>(w, stride, columns, depth, out),
        }
    }

    /// Packs two rows of a right factor that are neighbours in depth as a word of each column, of panels that
    /// begin `len` words apart. A second row that is empty counts as zeros. The rows that follow begin
    /// `stride` apart.
    ///
    /// # Panics
    ///
    /// Where words are not [pairs](Self::has_pairs).
    pub(crate) fn pack_pair_of_rows(
        self,
        first: &[bf16],
        second: &[bf16],
        stride: usize,
        len: usize,
        out: &mut [u32],
    ) {
        let panels = first.len().div_ceil(self.columns());
        assert!(self.has_pairs() && (second.is_empty() || second.len() == first.len()));
        assert!(panels == 0 || (panels - 1) * len + self.columns() <= out.len());
        #[cfg(target_arch = "x86_64")]
        x86_pack::pack_pair_of_rows(first, second, stride, len, out);
        #[cfg(not(target_arch = "x86_64"))]
        let _ = stride;
    }

    /// Packs a right factor of f32, whose rows of so many columns lie in order, rounded: panels of `words` words
    /// of each column, of which those beyond the rows are zeros.
    ///
    /// # Panics
    ///
    /// Where words are not [pairs](Self::has_pairs), and where the rows are more than the words have.
    pub(crate) fn pack_wide_rows(self, x: &[f32], columns: usize, words: usize, out: &mut [u32]) {
        let rows = x.len() / columns.max(1);
        let panels = columns.div_ceil(self.columns());
        assert!(self.has_pairs() && rows * columns == x.len() && rows.div_ceil(2) <= words);
        let out = &mut out[..panels * words * self.columns()];
        #[cfg(target_arch = "x86_64")]
        x86_pack::pack_wide_rows(x, [rows, columns], words, out);
        #[cfg(not(target_arch = "x86_64"))]
        let _ = out;
    }

    /// Turns rows that begin `stride` apart: `[rows, columns]` becomes `[columns, rows]`.
    ///
    /// # Panics
    ///
    /// As [`pack_pair_of_rows`](Self::pack_pair_of_rows), and where a slice is too short.
    pub(crate) fn turn(
        self,
        x: &[f32],
        stride: usize,
        [rows, columns]: [usize; 2],
        out: &mut [f32],
    ) {
        assert!(self.has_pairs() && (rows == 0 || (rows - 1) * stride + columns <= x.len()));
        let out = &mut out[..columns * rows];
        #[cfg(target_arch = "x86_64")]
        x86_pack::turn(x, stride, [rows, columns], out);
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (stride, out);
    }

    /// Rounds to bfloat16.
    ///
    /// # Panics
    ///
    /// As [`pack_pair_of_rows`](Self::pack_pair_of_rows), and where one is shorter than the other.
    pub(crate) fn narrow(self, wide: &[f32], out: &mut [bf16]) {
        assert!(self.has_pairs() && wide.len() == out.len());
        #[cfg(target_arch = "x86_64")]
        x86_pack::narrow(wide, out);
    }

    /// Takes the processor's unit for tiles, for this thread.
    ///
    /// # Safety
    ///
    /// [`runs`](Self::runs) must hold.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn unit(self) -> Unit {
        #[cfg(target_arch = "x86_64")]
        if self.is_amx() {
            // SAFETY: the caller promises that there is one.
            unsafe { amx::begin() };
        }
        Unit { tiles: self, of_this_thread: PhantomData }
    }
}

/// What multiplies on one thread.
pub(crate) struct Unit {
    tiles: Tiles,
    of_this_thread: PhantomData<*mut ()>,
}

impl Unit {
    pub(crate) fn tiles(&self) -> Tiles {
        self.tiles
    }

    /// Multiplies a tile of rows with a panel of columns, of so many words, into rows that begin
    /// `stride` apart, or with `add` adds to what is there.
    ///
    /// # Safety
    ///
    /// `out` must be valid for the [rows](Tiles::rows) of a tile and the [columns](Tiles::columns) of a
    /// panel, and with `add` initialised; it is so afterwards.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn multiply(
        &self,
        left: &[u32],
        right: &[u32],
        words: usize,
        out: *mut f32,
        stride: usize,
        add: bool,
    ) {
        let tiles = self.tiles;
        let of_left = tiles.words_of_row(words) * tiles.rows();
        assert!(of_left <= left.len() && words * tiles.columns() <= right.len());
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the packed factors are long enough, and the caller promises the rest.
        unsafe {
            x86::multiply(tiles, left.as_ptr(), right.as_ptr(), words, out, stride, add);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (out, stride, add);
    }
}

/// The sums of 32 columns of a matrix and as many rows.
pub(crate) type Sums = [[f32; 32]; 32];

impl Unit {
    /// Multiplies 32 columns as a matrix holds them, one after the other, with a packed panel of rows:
    /// `out[column][row]`, or with `add` adds to what is there. The columns that follow are asked for ahead.
    ///
    /// # Panics
    ///
    /// Where there is no AMX, where the depth is no whole number of its blocks, and where `right` is shorter
    /// than a panel.
    #[allow(unsafe_code)]
    pub(crate) fn multiply_held(
        &self,
        columns: &[bf16],
        right: &[u32],
        rows: usize,
        out: &mut Sums,
        add: bool,
    ) {
        let depth = columns.len() / 32;
        assert!(self.tiles.is_amx() && depth > 0 && columns.len() == 32 * depth);
        assert!(depth.is_multiple_of(32) && rows <= 32 && right.len() >= 16 * depth);
        #[cfg(target_arch = "x86_64")]
        {
            let multiply = match rows > 16 {
                true => amx::multiply_held::<true>,
                false => amx::multiply_held::<false>,
            };
            let (left, out) = (columns.as_ptr().cast(), out.as_flattened_mut().as_mut_ptr());
            // SAFETY: a unit of AMX exists only between `begin` and `end`; the slices are long enough.
            unsafe { multiply(left, right.as_ptr(), depth / 32, out, add) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (out, add);
    }
}

impl Drop for Unit {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if self.tiles.is_amx() {
            // SAFETY: it was begun on this thread.
            unsafe { amx::end() };
        }
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
