//! The products of bfloat16 by tiles: keys and values are rounded and packed once, for all queries.
//!
//! Gradients of keys and values are summed as `[D, T]`, so that weights, which are new for each block, are
//! packed as right factors, and what is turned is as small as the queries.

#![allow(unsafe_code)]

use std::ops::Range;

use rayon::prelude::*;

use super::inputs::{Inputs, Queries, Sizes};
use super::products::{GradientProducts, Products};
use super::reset;
use crate::kernel::{Columns, Tiles, Unit, Words};

/// Right factors of all groups of heads.
struct Right {
    words: Words,
    /// The words of a panel.
    panel: usize,
    /// The words of a group.
    group: usize,
}

impl Right {
    /// Packs one for each group by a function of the group and its words.
    fn new(
        groups: usize,
        panels: usize,
        panel: usize,
        pack: impl Fn(usize, &mut [u32]) + Sync,
    ) -> Self {
        let mut words = Words::default();
        let group = panels * panel;
        let each = words.at_least(groups * group).par_chunks_mut(group);
        each.enumerate().for_each(|(group, out)| pack(group, out));
        Self { words, panel, group }
    }

    /// The words of a group from a panel on.
    fn from(&self, group: usize, panel: usize) -> &[u32] {
        &self.words.all()[group * self.group + panel * self.panel..]
    }
}

/// Keys and values as the passes multiply with them.
pub(super) struct Packed<'a> {
    tiles: Tiles,
    inputs: Inputs<'a>,
    /// The keys, as many as whole panels have.
    keys: usize,
    /// Keys for `Q K^T`.
    k_columns: Right,
    /// Values for `dO V^T` of the backward pass.
    v_columns: Option<Right>,
    /// Values for `P V`, or in the backward pass keys for `dS K`.
    in_rows: Right,
}

impl<'a> Packed<'a> {
    /// Packs for the forward pass, or for the backward one.
    ///
    /// # Panics
    ///
    /// Where the tiles have no pairs, or do not run on this processor.
    pub(super) fn new(tiles: Tiles, inputs: Inputs<'a>, backward: bool) -> Self {
        assert!(tiles.has_pairs() && tiles.runs());
        let Sizes { batch, groups, keys: count, depth, .. } = inputs.sizes;
        let width = tiles.columns();
        let keys = count.next_multiple_of(width);
        let columns = |all| {
            let panel = tiles.words(depth) * width;
            Right::new(batch * groups, keys / width, panel, |group, out| {
                let rows = inputs.of_group(all, group).chunks(width * depth);
                for (rows, out) in rows.zip(out.chunks_exact_mut(panel)) {
                    tiles.pack_columns(Columns::F32(rows, depth), rows.len() / depth, depth, out);
                }
            })
        };
        let rows = |all| {
            let (panels, words) = (depth.div_ceil(width), keys / 2);
            Right::new(batch * groups, panels, words * width, |group, out| {
                tiles.pack_wide_rows(inputs.of_group(all, group), depth, words, out);
            })
        };
        Self {
            tiles,
            inputs,
            keys,
            k_columns: columns(inputs.k),
            v_columns: backward.then(|| columns(inputs.v)),
            in_rows: rows(if backward { inputs.k } else { inputs.v }),
        }
    }

    /// The products of a thread; `grad` is the gradient of the result, or empty in the forward pass.
    pub(super) fn products(&'a self, grad: &'a [f32]) -> PackedProducts<'a> {
        PackedProducts {
            packed: self,
            grad,
            // SAFETY: they run here, or there would be nothing packed.
            unit: unsafe { self.tiles.unit() },
            queries: Queries { batch: 0, head: 0, rows: 0..0 },
            q: Left::default(),
            q_turned: Left::default(),
            grad_rows: Left::default(),
            grad_turned: Left::default(),
            weights: Left::default(),
            weights_in_rows: Words::default(),
            turned: Vec::new(),
            k_grad: Vec::new(),
            v_grad: Vec::new(),
        }
    }
}

/// A packed left factor.
#[derive(Default)]
struct Left {
    words: Words,
    /// The tiles of rows.
    tiles: usize,
    /// The words of a row.
    depth: usize,
}

impl Left {
    /// Packs rows of `depth`, which begin `stride` apart.
    fn pack(&mut self, tiles: Tiles, x: &[f32], stride: usize, rows: usize, depth: usize) {
        let (step, words) = (tiles.rows(), tiles.words(depth));
        (self.tiles, self.depth) = (rows.div_ceil(step), words);
        let out = self.words.at_least(self.tiles * words * step);
        for (tile, out) in out.chunks_exact_mut(words * step).enumerate() {
            let first = tile * step;
            let here = step.min(rows - first);
            tiles.pack_rows(&x[first * stride..], stride, here, depth, true, out);
        }
    }
}

/// The products of a thread, see [`Packed::products`].
pub(super) struct PackedProducts<'a> {
    packed: &'a Packed<'a>,
    grad: &'a [f32],
    unit: Unit,
    queries: Queries,
    /// The queries, `[S, D]`, and turned.
    q: Left,
    q_turned: Left,
    /// The gradient of their results, likewise.
    grad_rows: Left,
    grad_turned: Left,
    /// Weights or gradients of scores, as a left factor and as a right one.
    weights: Left,
    weights_in_rows: Words,
    turned: Vec<f32>,
    /// The gradients of keys and values, `[D, T]`, both of whole tiles.
    k_grad: Vec<f32>,
    v_grad: Vec<f32>,
}

/// Where the tiles of a product go: rows `stride` apart.
struct Out<'o> {
    out: &'o mut [f32],
    stride: usize,
    add: bool,
}

impl PackedProducts<'_> {
    fn group(&self) -> usize {
        self.packed.inputs.sizes.group(self.queries.batch, self.queries.head)
    }

    /// A product with panels that begin `panel` words apart.
    fn multiply(unit: &Unit, left: &Left, right: &[u32], panel: usize, panels: usize, to: Out<'_>) {
        let Out { out, stride, add } = to;
        let (rows, columns) = (unit.tiles().rows(), unit.tiles().columns());
        if left.tiles == 0 || panels == 0 {
            return;
        }
        assert!((left.tiles * rows - 1) * stride + panels * columns <= out.len());
        let tile = left.depth * rows;
        for (at, left) in left.words.all()[..left.tiles * tile].chunks_exact(tile).enumerate() {
            for at_panel in 0..panels {
                let right = &right[at_panel * panel..];
                // SAFETY: the last tile ends within `out`, which is initialised.
                unsafe {
                    let out = out.as_mut_ptr().add(at * rows * stride + at_panel * columns);
                    unit.multiply(left, right, left.len() / rows, out, stride, add);
                }
            }
        }
    }

    /// The product of what has a row for each query with a factor of all keys in columns.
    fn with_columns(&self, left: &Left, right: &Right, keys: Range<usize>, out: &mut [f32]) {
        let width = self.packed.tiles.columns();
        let panels = keys.len() / width;
        let words = right.from(self.group(), keys.start / width);
        let to = Out { out, stride: keys.len(), add: false };
        Self::multiply(&self.unit, left, words, right.panel, panels, to);
    }

    /// Adds the product of rows of some keys with the factor of all keys in rows.
    fn add_with_rows(&mut self, x: &[f32], keys: Range<usize>, out: &mut [f32]) {
        let Packed { tiles, in_rows, .. } = self.packed;
        let (width, columns) = (keys.len(), self.columns());
        self.weights.pack(*tiles, x, width, self.queries.rows.len(), width);
        let words = &in_rows.from(self.group(), 0)[keys.start / 2 * tiles.columns()..];
        let panels = columns / tiles.columns();
        let to = Out { out, stride: columns, add: true };
        Self::multiply(&self.unit, &self.weights, words, in_rows.panel, panels, to);
    }

    /// Packs `[S, T]` of the queries and some keys as a right factor.
    fn pack_weights(&mut self, x: &[f32], width: usize) {
        let tiles = self.packed.tiles;
        let rows = self.queries.rows.len();
        let words = tiles.words(rows);
        let out = self.weights_in_rows.at_least(words * width);
        tiles.pack_wide_rows(&x[..rows * width], width, words, out);
    }

    /// `sums += left x` of the weights that were packed.
    fn add_with_weights(
        unit: &Unit,
        left: &Left,
        words: &Words,
        keys: Range<usize>,
        all: usize,
        sums: &mut [f32],
    ) {
        let width = unit.tiles().columns();
        let to = Out { out: &mut sums[keys.start..], stride: all, add: true };
        let panels = keys.len() / width;
        Self::multiply(unit, left, words.all(), left.depth * width, panels, to);
    }
}

impl Products for PackedProducts<'_> {
    fn unit(&self) -> usize {
        self.packed.tiles.columns()
    }

    fn rows(&self, queries: usize) -> usize {
        queries.next_multiple_of(self.packed.tiles.rows())
    }

    fn columns(&self) -> usize {
        self.packed.inputs.sizes.depth.next_multiple_of(self.packed.tiles.columns())
    }

    fn begin(&mut self, queries: &Queries) {
        let Packed { tiles, inputs, .. } = self.packed;
        let Sizes { heads, depth, .. } = inputs.sizes;
        let (rows, q) = (queries.rows.len(), inputs.queries(queries));
        self.queries = queries.clone();
        self.q.pack(*tiles, q, depth, rows, depth);
        if self.grad.is_empty() {
            return;
        }
        let (grad, stride) = (&self.grad[inputs.sizes.result(queries)..], heads * depth);
        self.grad_rows.pack(*tiles, grad, stride, rows, depth);
        self.turned.resize(rows * depth, 0.0);
        for (x, stride, left) in
            [(q, depth, &mut self.q_turned), (grad, stride, &mut self.grad_turned)]
        {
            tiles.turn(x, stride, [rows, depth], &mut self.turned);
            left.pack(*tiles, &self.turned, rows, depth, rows);
        }
    }

    fn scores(&mut self, keys: Range<usize>, scores: &mut [f32]) {
        self.with_columns(&self.q, &self.packed.k_columns, keys, scores);
    }

    fn add_values(&mut self, weights: &[f32], keys: Range<usize>, out: &mut [f32]) {
        self.add_with_rows(weights, keys, out);
    }
}

impl GradientProducts for PackedProducts<'_> {
    fn begin_head(&mut self) {
        let Packed { tiles, inputs, keys, .. } = self.packed;
        let len = inputs.sizes.depth.next_multiple_of(tiles.rows()) * keys;
        reset(&mut self.k_grad, len, 0.0);
        reset(&mut self.v_grad, len, 0.0);
    }

    fn weight_grads(&mut self, keys: Range<usize>, grads: &mut [f32]) {
        if let Some(v) = &self.packed.v_columns {
            self.with_columns(&self.grad_rows, v, keys, grads);
        }
    }

    fn add_value_grads(&mut self, weights: &[f32], keys: Range<usize>) {
        self.pack_weights(weights, keys.len());
        let Self { unit, grad_turned, weights_in_rows, v_grad, packed, .. } = self;
        Self::add_with_weights(unit, grad_turned, weights_in_rows, keys, packed.keys, v_grad);
    }

    fn add_grads(&mut self, score_grads: &[f32], keys: Range<usize>, q_grad: &mut [f32]) {
        self.add_with_rows(score_grads, keys.clone(), q_grad);
        self.pack_weights(score_grads, keys.len());
        let Self { unit, q_turned, weights_in_rows, k_grad, packed, .. } = self;
        Self::add_with_weights(unit, q_turned, weights_in_rows, keys, packed.keys, k_grad);
    }

    fn finish_head(&mut self, k_grad: &mut [f32], v_grad: &mut [f32]) {
        let Packed { tiles, inputs, keys: stride, .. } = self.packed;
        let Sizes { keys, depth, .. } = inputs.sizes;
        tiles.turn(&self.k_grad, *stride, [depth, keys], k_grad);
        tiles.turn(&self.v_grad, *stride, [depth, keys], v_grad);
    }
}
