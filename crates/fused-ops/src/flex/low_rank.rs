//! Low-rank experts of few rows, outside of training.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, TensorMetadata, backend_extension};
use rayon::prelude::*;

use super::buffer::{Floats, contiguous};
use crate::kernel;

/// From so many multiplications on, threads share what is done for a row: what is less takes one as
/// long as it takes to call others.
const SHARED: usize = 1 << 14;

/// The operation of few rows with low-rank experts. Only called for tensors of f32 on Flex.
#[backend_extension(Flex)]
pub(crate) trait LowRankOps: Backend {
    /// See [`add_low_rank`](crate::add_low_rank).
    fn add_low_rank(
        y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        scaling: f64,
    ) -> FloatTensor<Self>;
}

impl LowRankOps for Flex {
    fn add_low_rank(
        y: Floats,
        x: Floats,
        a: Floats,
        b: Floats,
        weights: Floats,
        scaling: f64,
    ) -> Floats {
        let [mut y, x] = [y, x].map(contiguous);
        let [a, b, weights] = [a, b, weights].map(contiguous);
        Experts::of(&a, &b, &weights, scaling).add(x.storage(), y.storage_mut());
        y
    }
}

/// Stacked experts, `A` `[N or 1, r, I]` and `B` `[N, O, r]`, and how much they count, `[T, N]`.
struct Experts<'a> {
    a: &'a [f32],
    b: &'a [f32],
    weights: &'a [f32],
    /// How many `A` there are: one for each expert, or one for all.
    of_a: usize,
    count: usize,
    inputs: usize,
    outputs: usize,
    rank: usize,
    scaling: f32,
}

/// The experts that a row weighs, and `s w_e A_e x` of each.
struct Hidden {
    used: Vec<usize>,
    values: Vec<f32>,
}

impl<'a> Experts<'a> {
    fn of(a: &'a Floats, b: &'a Floats, weights: &'a Floats, scaling: f64) -> Self {
        let (of_a, of_b) = (a.shape(), b.shape());
        Self {
            a: a.storage(),
            b: b.storage(),
            weights: weights.storage(),
            of_a: of_a[0],
            count: of_b[0],
            inputs: of_a[2],
            outputs: of_b[1],
            rank: of_b[2],
            scaling: scaling as f32,
        }
    }

    /// Adds to `y`, `[T, O]`, what the experts make of `x`, `[T, I]`.
    fn add(&self, x: &[f32], y: &mut [f32]) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        if self.is_empty() {
            return;
        }
        if x.len() == inputs {
            let hidden = self.hidden(x, 0);
            let shared = hidden.values.len() * outputs >= SHARED;
            in_parts(y, kernel::COLUMNS, shared, |first, y| self.up(&hidden, first, y));
            return;
        }
        // Each thread has rows of its own, from their beginning to their end.
        let rows = x.len() / inputs;
        let shared = rows * (inputs + outputs) * self.count * self.rank >= SHARED;
        in_parts(y, outputs, shared, |first, y| {
            for (row, y) in (first / outputs..).zip(y.chunks_exact_mut(outputs)) {
                self.up(&self.hidden(&x[row * inputs..][..inputs], row), 0, y);
            }
        });
    }

    fn is_empty(&self) -> bool {
        self.inputs * self.outputs * self.count * self.rank == 0
    }

    /// Of a row of activations.
    fn hidden(&self, x: &[f32], row: usize) -> Hidden {
        let weights = &self.weights[row * self.count..][..self.count];
        let used: Vec<usize> = (0..self.count).filter(|e| weights[*e] != 0.0).collect();
        let mut values = vec![0.0; used.len() * self.rank];
        let shared = values.len() * self.inputs >= SHARED;
        in_parts(&mut values, self.rank, shared, |first, values| {
            self.down(x, &used[first / self.rank..], weights, values);
        });
        Hidden { used, values }
    }

    /// `s w_e A_e x` of the first of the given experts, as many as `hidden` has room for.
    fn down(&self, x: &[f32], experts: &[usize], weights: &[f32], hidden: &mut [f32]) {
        let size = self.rank * self.inputs;
        for (expert, hidden) in experts.iter().zip(hidden.chunks_exact_mut(self.rank)) {
            let of_a = if self.of_a == self.count { *expert } else { 0 };
            kernel::low_rank_down(x, self.inputs, &self.a[of_a * size..][..size], hidden);
            let weight = self.scaling * weights[*expert];
            hidden.iter_mut().for_each(|hidden| *hidden *= weight);
        }
    }

    /// Adds `B_e h_e` to some outputs, from `first` on.
    fn up(&self, hidden: &Hidden, first: usize, y: &mut [f32]) {
        for (expert, values) in hidden.used.iter().zip(hidden.values.chunks_exact(self.rank)) {
            let from = (expert * self.outputs + first) * self.rank;
            kernel::low_rank_up(values, &self.b[from..][..y.len() * self.rank], y);
        }
    }
}

/// Does `each` for all values: where the work is shared, a part for each thread, a multiple of `unit`
/// long. It is given where a part begins.
fn in_parts(
    values: &mut [f32],
    unit: usize,
    shared: bool,
    each: impl Fn(usize, &mut [f32]) + Sync,
) {
    let threads = rayon::current_num_threads();
    if !shared || threads < 2 {
        return each(0, values);
    }
    let size = values.len().div_ceil(threads).next_multiple_of(unit).max(1);
    values.par_chunks_mut(size).enumerate().for_each(|(part, values)| each(part * size, values));
}
