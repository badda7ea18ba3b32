//! Products of many rows with a matrix that is held in fewer bits, block by block: a block of the matrix is
//! widened as it is packed, into the cache of the core that multiplies it, so that the matrix is read as
//! it is held and never exists in f32.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ops::Range;

use half::bf16;
use rayon::prelude::*;

use super::narrow::{Elements, Narrow};
use crate::kernel::{Columns, Tiles, Words, rounded};

/// The rows that are packed at a time.
const ROWS: usize = 1024;

/// The words of depth of a block: with [`group`], half a megabyte of a core's second-level cache, or a whole one.
const WORDS: usize = 1024;

/// The most panels that a core packs at a time. AMX is so fast that more of them make up for the rows, which are
/// read again for each group.
fn group(tiles: Tiles) -> usize {
    if tiles.is_amx() { 8 } else { 4 }
}

thread_local! {
    /// The packed rows, and a core's packed panels, so that their memory serves again.
    static LEFT: Cell<Words> = Cell::default();
    static RIGHT: Cell<Words> = Cell::default();
}

/// Where the rows of the result are. Tasks write different tiles of it.
#[derive(Clone, Copy)]
struct Out {
    start: *mut f32,
    columns: usize,
}

// SAFETY: every element is written by one task.
unsafe impl Send for Out {}
// SAFETY: as above.
unsafe impl Sync for Out {}

/// What one packed block of rows is multiplied with.
struct Block<'a> {
    tiles: Tiles,
    round: bool,
    left: &'a [u32],
    rows: usize,
    depth: Range<usize>,
    out: Out,
    add: bool,
}

/// `out = x b`, or with `add` `out += x b`, for rows `x` of the depth of `b`; with `round`, both factors
/// are rounded to bfloat16.
///
/// # Safety
///
/// `tiles` must run on this processor. With `add`, `out` must be initialised. Without, it is so
/// afterwards.
pub(super) unsafe fn multiply(
    tiles: Tiles,
    round: bool,
    x: &[f32],
    b: &Narrow<'_>,
    out: &mut [MaybeUninit<f32>],
    add: bool,
) {
    let Narrow { k, n, .. } = *b;
    if out.is_empty() {
        return;
    }
    if k == 0 {
        if !add {
            out.fill(MaybeUninit::new(0.0));
        }
        return;
    }
    assert!(x.len() / k * n == out.len(), "linear: factors that fit");
    let mut left = LEFT.take();
    let step = ROWS.next_multiple_of(tiles.rows());
    for (x, out) in x.chunks(step * k).zip(out.chunks_mut(step * n)) {
        let (rows, start) = (x.len() / k, out.as_mut_ptr().cast());
        let deep = tiles.depth(WORDS);
        for first in (0..k).step_by(deep) {
            let depth = first..(first + deep).min(k);
            let tile = tiles.words_of_row(tiles.words(depth.len())) * tiles.rows();
            let len = rows.div_ceil(tiles.rows()) * tile;
            let left = left.at_least(len);
            let each = left.par_chunks_mut(tile).zip(x.par_chunks(tiles.rows() * k));
            each.with_min_len(4).for_each(|(out, x)| {
                tiles.pack_rows(&x[first..], k, x.len() / k, depth.len(), round, out);
            });
            let out = Out { start, columns: n };
            let (left, add) = (&*left, add || first > 0);
            let block = Block { tiles, round, left, rows, depth, out, add };
            // SAFETY: as the caller promises; the first block of the depth initialises.
            unsafe { block.multiply(b) };
        }
    }
    LEFT.set(left);
}

impl Block<'_> {
    /// # Safety
    ///
    /// As [`multiply`].
    unsafe fn multiply(&self, b: &Narrow<'_>) {
        let columns = self.tiles.columns();
        let (panels, threads) = (b.n.div_ceil(columns), rayon::current_num_threads());
        let group = panels_of_a_task(panels, threads, group(self.tiles));
        let groups = panels.div_ceil(group);
        let row_tiles = self.rows.div_ceil(self.tiles.rows());
        // Where there are fewer groups than threads, rows are divided as well.
        let parts = threads.div_ceil(groups).min(row_tiles);
        let of_a_part = row_tiles.div_ceil(parts);
        (0..groups * parts).into_par_iter().with_max_len(1).for_each(|task| {
            let first = task / parts * group;
            let tiles = task % parts * of_a_part;
            let tiles = tiles..(tiles + of_a_part).min(row_tiles);
            // SAFETY: as the caller promises; tasks differ in panels or in rows.
            unsafe { self.task(b, first..(first + group).min(panels), tiles) };
        });
    }

    /// Packs some panels, and multiplies some tiles of rows with them.
    ///
    /// # Safety
    ///
    /// As [`multiply`]; no other task may have the same tiles of the result.
    unsafe fn task(&self, b: &Narrow<'_>, panels: Range<usize>, row_tiles: Range<usize>) {
        let Self { tiles, out, .. } = *self;
        let (rows, columns, words) = (tiles.rows(), tiles.columns(), tiles.words(self.depth.len()));
        let len = words * columns;
        let mut right = RIGHT.take();
        let packed = right.at_least(panels.len() * len);
        self.pack(b, panels.clone(), packed);
        // SAFETY: the caller promises that it runs here.
        let unit = unsafe { tiles.unit() };
        // As large as the largest tile.
        let mut edge = [0.0f32; 32 * 32];
        for tile in row_tiles {
            let left = &self.left[tile * tiles.words_of_row(words) * rows..];
            let here = rows.min(self.rows - tile * rows);
            for (panel, right) in panels.clone().zip(packed.chunks_exact(len)) {
                let wide = columns.min(out.columns - panel * columns);
                // SAFETY: the tile is within the result, and where it is cut off, it is computed beside
                // it and the part that exists is copied.
                unsafe {
                    let at = out.start.add(tile * rows * out.columns + panel * columns);
                    if here == rows && wide == columns {
                        unit.multiply(left, right, words, at, out.columns, self.add);
                        continue;
                    }
                    unit.multiply(left, right, words, edge.as_mut_ptr(), columns, false);
                    for (row, edge) in edge.chunks_exact(columns).take(here).enumerate() {
                        let at = at.add(row * out.columns);
                        for (i, value) in edge[..wide].iter().enumerate() {
                            let before = if self.add { *at.add(i) } else { 0.0 };
                            at.add(i).write(before + value);
                        }
                    }
                }
            }
        }
        RIGHT.set(right);
    }

    /// Packs panels, `[panels, words, columns]`.
    fn pack(&self, b: &Narrow<'_>, panels: Range<usize>, out: &mut [u32]) {
        let columns = self.tiles.columns();
        let len = self.tiles.words(self.depth.len()) * columns;
        if b.in_rows {
            let wanted = panels.start * columns..(panels.end * columns).min(b.n);
            return self.pack_from_rows(b, wanted, len, out);
        }
        let depth = self.depth.len();
        let mut wide = Vec::new();
        for (panel, out) in panels.zip(out.chunks_exact_mut(len)) {
            let first = panel * columns;
            let count = columns.min(b.n - first);
            let start = first * b.k + self.depth.start;
            if let Elements::BF16(w) = b.elements {
                self.tiles.pack_columns(Columns::BF16(&w[start..], b.k), count, depth, out);
                continue;
            }
            wide.resize(count * depth, 0.0);
            for (column, wide) in wide.chunks_exact_mut(depth).enumerate() {
                b.elements.widen(start + column * b.k, wide);
                if !self.tiles.has_pairs() {
                    self.round(wide);
                }
            }
            self.tiles.pack_columns(Columns::F32(&wide, depth), count, depth, out);
        }
    }

    /// Packs columns of a matrix whose rows lie in order.
    fn pack_from_rows(&self, b: &Narrow<'_>, wanted: Range<usize>, len: usize, out: &mut [u32]) {
        if self.tiles.has_pairs() {
            return self.pack_pairs_of_rows(b, wanted, len, out);
        }
        let columns = self.tiles.columns();
        let mut wide = vec![0.0f32; wanted.len()];
        // Of a panel that is cut off, the rest stays zeros.
        if !wanted.len().is_multiple_of(columns) {
            out.fill(0);
        }
        for (word, k) in self.depth.clone().enumerate() {
            b.elements.widen(k * b.n + wanted.start, &mut wide);
            self.round(&mut wide);
            for (wide, out) in wide.chunks(columns).zip(out.chunks_exact_mut(len)) {
                for (out, wide) in out[word * columns..].iter_mut().zip(wide) {
                    *out = wide.to_bits();
                }
            }
        }
    }

    /// [`pack_from_rows`](Self::pack_from_rows) where two neighbours in depth are a word.
    fn pack_pairs_of_rows(
        &self,
        b: &Narrow<'_>,
        wanted: Range<usize>,
        len: usize,
        out: &mut [u32],
    ) {
        let (columns, width) = (self.tiles.columns(), wanted.len());
        let used = self.depth.len().div_ceil(2) * columns;
        out.chunks_exact_mut(len).for_each(|out| out[used..].fill(0));
        let mut wide = vec![0.0f32; width];
        let mut halves = vec![bf16::ZERO; 2 * width];
        for (word, k) in self.depth.clone().step_by(2).enumerate() {
            let rows = k..(k + 2).min(self.depth.end);
            let out = &mut out[word * columns..];
            let at = |k: usize| k * b.n + wanted.start;
            let (first, second, stride) = match b.elements {
                Elements::BF16(w) => {
                    let second = if rows.len() > 1 { &w[at(k + 1)..][..width] } else { &[] };
                    (&w[at(k)..][..width], second, b.n)
                }
                _ => {
                    for (k, halves) in rows.clone().zip(halves.chunks_exact_mut(width)) {
                        b.elements.widen(at(k), &mut wide);
                        self.tiles.narrow(&wide, halves);
                    }
                    let (first, second) = halves[..rows.len() * width].split_at(width);
                    (first, second, 0)
                }
            };
            self.tiles.pack_pair_of_rows(first, second, stride, len, out);
        }
    }

    fn round(&self, values: &mut [f32]) {
        if self.round {
            for value in values {
                *value = rounded(*value);
            }
        }
    }
}

/// The panels of a task, at most so many: many, for rows to be read seldom, but so that all threads have as
/// many tasks.
fn panels_of_a_task(panels: usize, threads: usize, most: usize) -> usize {
    panels.div_ceil(panels.div_ceil(most).next_multiple_of(threads))
}

#[cfg(test)]
mod tests {
    use super::super::numbers::numbers;
    use super::*;
    use half::f16;

    /// The formula, with the roundings that were asked for, in f64.
    fn expected(
        x: &[f32],
        w: &[f32],
        [m, k, n]: [usize; 3],
        in_rows: bool,
        round: bool,
    ) -> Vec<f64> {
        let value = |x: f32| f64::from(if round { rounded(x) } else { x });
        let right = |k_at: usize, n_at: usize| match in_rows {
            true => w[k_at * n + n_at],
            false => w[n_at * k + k_at],
        };
        let at =
            |i: usize, j: usize| (0..k).map(|q| value(x[i * k + q]) * value(right(q, j))).sum();
        (0..m * n).map(|at_| at(at_ / n, at_ % n)).collect()
    }

    /// Tiles and panels that are full and cut off, odd depths, and more than one block of each.
    const SIZES: [[usize; 3]; 7] = [
        [12, 64, 32],
        [33, 77, 130],
        [1, 1, 1],
        [40, 2051, 33],
        [1100, 9, 40],
        [6, 31, 16],
        [5, 1, 257],
    ];

    #[test]
    fn every_kernel_is_the_formula() {
        for tiles in [Tiles::Avx2, Tiles::Avx512, Tiles::Dot, Tiles::Amx, Tiles::AmxExact] {
            if !tiles.runs() {
                println!("skipped: this processor does not run {tiles:?}");
                continue;
            }
            for (case, [m, k, n]) in SIZES.into_iter().enumerate() {
                let (x, w) = (numbers(m * k, 1), numbers(n * k, 2));
                let bf16: Vec<bf16> = w.iter().map(|w| bf16::from_f32(*w)).collect();
                let f16: Vec<f16> = w.iter().map(|w| f16::from_f32(*w)).collect();
                for (elements, wide) in [
                    (Elements::BF16(&bf16), bf16.iter().map(|w| w.to_f32()).collect::<Vec<_>>()),
                    (Elements::F16(&f16), f16.iter().map(|w| w.to_f32()).collect()),
                ] {
                    let exact = tiles == Tiles::AmxExact;
                    if exact && !matches!(elements, Elements::BF16(_)) {
                        continue;
                    }
                    let rounds = [tiles.has_pairs() && !exact, !exact];
                    for in_rows in [false, true] {
                        for round in rounds {
                            let right = Narrow { elements, in_rows, k, n };
                            let expected = expected(&x, &wide, [m, k, n], in_rows, round);
                            for add in [false, true] {
                                let before = if add { 1.0 } else { f32::NAN };
                                let mut out = vec![MaybeUninit::new(before); m * n];
                                // SAFETY: the kernel runs here, and `out` is initialised.
                                unsafe { multiply(tiles, round, &x, &right, &mut out, add) };
                                for (i, (found, expected)) in out.iter().zip(&expected).enumerate()
                                {
                                    // SAFETY: it was, before and by the product.
                                    let found = f64::from(unsafe { found.assume_init() });
                                    let expected = expected + if add { 1.0 } else { 0.0 };
                                    assert!(
                                        (found - expected).abs() <= 4e-5,
                                        "{tiles:?}, case {case}, in rows {in_rows}, rounded {round}, \
                                         added {add}: [{i}] is {found}, expected {expected}"
                                    );
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_that_is_not_finite_is_lost() {
        for tiles in [Tiles::Avx2, Tiles::Avx512, Tiles::Dot, Tiles::Amx, Tiles::AmxExact] {
            if !tiles.runs() {
                continue;
            }
            for (value, round) in [(f32::NAN, true), (f32::INFINITY, true), (f32::NAN, false)] {
                let mut x = numbers(40 * 24, 3);
                x[5 * 24 + 7] = value;
                let w = vec![bf16::ONE; 24 * 48];
                let right = Narrow { elements: Elements::BF16(&w), in_rows: false, k: 24, n: 48 };
                let mut out = vec![MaybeUninit::new(0.0f32); 40 * 48];
                // SAFETY: the kernel runs here.
                unsafe { multiply(tiles, round, &x, &right, &mut out, false) };
                for (i, found) in out.iter().enumerate() {
                    // SAFETY: initialised from the start.
                    let found = unsafe { found.assume_init() };
                    assert_eq!(
                        found.is_finite(),
                        i / 48 != 5,
                        "{tiles:?} {value} {round}: [{i}] {found}"
                    );
                }
            }
        }
    }

    #[test]
    fn tasks_have_as_many_panels_as_leave_nobody_idle() {
        assert_eq!(panels_of_a_task(1536, 2, 4), 4);
        assert_eq!(panels_of_a_task(1536, 2, 8), 8);
        assert_eq!(panels_of_a_task(18, 2, 4), 3);
        assert_eq!(panels_of_a_task(18, 2, 8), 5);
        assert_eq!(panels_of_a_task(6, 2, 4), 3);
        assert_eq!(panels_of_a_task(1, 64, 8), 1);
    }
}
