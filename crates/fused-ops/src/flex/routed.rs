//! Low-rank experts, each for the rows that selected it.

#![allow(unsafe_code)]

use std::ops::Range;

use burn::backend::TensorMetadata;
use burn::tensor::{Shape, TensorData};
use rayon::prelude::*;

use super::buffer::{Floats, contiguous};
use super::matrix::{Matrix, multiply};

/// How many columns of a result one task takes: few enough that the rows of an expert's part stay
/// in the cache, enough that a product is not all overhead.
const COLUMNS: usize = 512;

/// The rows that selected each expert, in order.
struct Groups {
    /// The rows of all experts, expert by expert.
    rows: Vec<u32>,
    /// Where each expert's begin, and the end.
    starts: Vec<usize>,
}

impl Groups {
    fn new(selected: &[f32], experts: usize) -> Self {
        let mut starts = vec![0usize; experts + 1];
        for row in selected.chunks_exact(experts.max(1)) {
            for (e, &chosen) in row.iter().enumerate() {
                starts[e + 1] += usize::from(chosen != 0.0);
            }
        }
        for e in 0..experts {
            starts[e + 1] += starts[e];
        }
        let mut next = starts.clone();
        let mut rows = vec![0u32; starts[experts]];
        for (t, row) in selected.chunks_exact(experts.max(1)).enumerate() {
            for (e, &chosen) in row.iter().enumerate() {
                if chosen != 0.0 {
                    rows[next[e]] = t as u32;
                    next[e] += 1;
                }
            }
        }
        Self { rows, starts }
    }

    fn experts(&self) -> usize {
        self.starts.len() - 1
    }

    /// The places of an expert's rows among those of all.
    fn range(&self, expert: usize) -> Range<usize> {
        self.starts[expert]..self.starts[expert + 1]
    }

    /// An expert's rows.
    fn of(&self, expert: usize) -> &[u32] {
        &self.rows[self.range(expert)]
    }

    /// One slice for each expert, `width` elements a row.
    fn split<'a>(&self, mut values: &'a mut [f32], width: usize) -> Vec<&'a mut [f32]> {
        let mut parts = Vec::with_capacity(self.experts());
        for e in 0..self.experts() {
            let (part, rest) = values.split_at_mut(self.range(e).len() * width);
            parts.push(part);
            values = rest;
        }
        parts
    }
}

/// The rows of a matrix of `width` columns, one after the other.
fn gather(values: &[f32], width: usize, rows: &[u32]) -> Vec<f32> {
    let mut gathered = Vec::with_capacity(rows.len() * width);
    for &row in rows {
        gathered.extend_from_slice(&values[row as usize * width..][..width]);
    }
    gathered
}

/// Where threads write disjoint columns of one matrix.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: a plain address; who writes through it says why that is allowed.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// # Safety
    ///
    /// The elements must be inside the allocation and no other thread's.
    unsafe fn slice<'a>(self, start: usize, len: usize) -> &'a mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }
}

/// `out[row] += left right_e` for every row of every expert: `left` has `rank` elements for each
/// row of the groups, `right` is `[E, rank, width]` and `out` `[T, width]`.
fn add_products(groups: &Groups, left: &[f32], right: &[f32], rank: usize, out: &mut [f32]) {
    let width = right.len() / (groups.experts() * rank).max(1);
    if width == 0 {
        return;
    }
    assert!(out.len().is_multiple_of(width), "linear_routed: whole rows");
    let height = out.len() / width;
    assert!(groups.rows.iter().all(|&row| (row as usize) < height), "linear_routed: rows");
    let shared = Shared(out.as_mut_ptr());
    (0..width.div_ceil(COLUMNS)).into_par_iter().for_each(|chunk| {
        let columns = chunk * COLUMNS..((chunk + 1) * COLUMNS).min(width);
        let mut products = Vec::new();
        for e in 0..groups.experts() {
            let range = groups.range(e);
            products.resize(range.len() * columns.len(), 0.0);
            let left = Matrix::whole(&left[range.start * rank..range.end * rank], rank);
            let right = &right[e * rank * width..(e + 1) * rank * width];
            multiply(left, Matrix::new(right, width, columns.clone()), &mut products, false);
            for (&row, product) in groups.of(e).iter().zip(products.chunks_exact(columns.len())) {
                // SAFETY: the row is inside `out`, and its columns are this task's alone.
                let sums =
                    unsafe { shared.slice(row as usize * width + columns.start, columns.len()) };
                sums.iter_mut().zip(product).for_each(|(sum, x)| *sum += x);
            }
        }
    });
}

/// The parts of an input that belong to expert `e` of `experts`.
fn part(values: &[f32], experts: usize, e: usize) -> &[f32] {
    let size = values.len() / experts;
    &values[e * size..(e + 1) * size]
}

/// `y` with the experts added.
pub(super) fn forward(y: Floats, inputs: [Floats; 5]) -> Floats {
    let mut y = contiguous(y);
    let inputs = inputs.map(contiguous);
    let rank = inputs[1].shape()[1];
    let width = inputs[0].shape()[1];
    let [x, a, up, weights, selected] = inputs.each_ref().map(|input| input.storage::<f32>());
    let experts = inputs[1].shape()[0];
    let groups = Groups::new(selected, experts);
    let mut gated = vec![0.0f32; groups.rows.len() * rank];
    groups.split(&mut gated, rank).into_par_iter().enumerate().for_each(|(e, gated)| {
        let rows = gather(x, width, groups.of(e));
        let a = Matrix::whole(part(a, experts, e), width);
        multiply(Matrix::whole(&rows, width), a.transposed(), gated, false);
        for (&row, gated) in groups.of(e).iter().zip(gated.chunks_exact_mut(rank)) {
            let weight = weights[row as usize * experts + e];
            gated.iter_mut().for_each(|h| *h *= weight);
        }
    });
    add_products(&groups, &gated, up, rank, y.storage_mut::<f32>());
    y
}

/// The gradients of `a`, `up` and the weights, and on demand that of `x`.
pub(super) fn backward(
    inputs: [Floats; 5],
    grad: Floats,
    x_too: bool,
) -> ([Floats; 3], Option<Floats>) {
    let inputs = inputs.map(contiguous);
    let grad = contiguous(grad);
    let shapes: [Shape; 5] = inputs.each_ref().map(|input| input.shape());
    let (experts, rank, width) = (shapes[1][0], shapes[1][1], shapes[1][2]);
    let outputs = shapes[2][2];
    let [x, a, up, weights, selected] = inputs.each_ref().map(|input| input.storage::<f32>());
    let grad = grad.storage::<f32>();
    let groups = Groups::new(selected, experts);

    let mut a_grad = vec![0.0f32; a.len()];
    let mut up_grad = vec![0.0f32; up.len()];
    let mut hidden_grads = vec![0.0f32; groups.rows.len() * rank];
    let mut weight_grads = vec![0.0f32; groups.rows.len()];
    let results = (
        a_grad.par_chunks_mut((rank * width).max(1)),
        up_grad.par_chunks_mut((rank * outputs).max(1)),
        groups.split(&mut hidden_grads, rank),
        groups.split(&mut weight_grads, 1),
    );
    results.into_par_iter().enumerate().for_each(
        |(e, (a_grad, up_grad, hidden_grads, weight_grads))| {
            let rows = groups.of(e);
            if rows.is_empty() {
                return;
            }
            let (x, grad) = (gather(x, width, rows), gather(grad, outputs, rows));
            let (x, grad) = (Matrix::whole(&x, width), Matrix::whole(&grad, outputs));
            let a = Matrix::whole(part(a, experts, e), width);
            let up = Matrix::whole(part(up, experts, e), outputs);
            let mut hidden = vec![0.0f32; rows.len() * rank];
            multiply(x, a.transposed(), &mut hidden, false);
            multiply(grad, up.transposed(), hidden_grads, false);
            for (i, &row) in rows.iter().enumerate() {
                let weight = weights[row as usize * experts + e];
                let (h, g) =
                    (&mut hidden[i * rank..][..rank], &mut hidden_grads[i * rank..][..rank]);
                weight_grads[i] = h.iter().zip(&*g).map(|(h, g)| h * g).sum();
                h.iter_mut().chain(g).for_each(|value| *value *= weight);
            }
            multiply(Matrix::whole(&hidden, rank).transposed(), grad, up_grad, false);
            multiply(Matrix::whole(hidden_grads, rank).transposed(), x, a_grad, false);
        },
    );

    let mut weights_grad = vec![0.0f32; weights.len()];
    for e in 0..experts {
        for (&row, &grad) in groups.of(e).iter().zip(&weight_grads[groups.range(e)]) {
            weights_grad[row as usize * experts + e] = grad;
        }
    }
    let x_grad = x_too.then(|| {
        let mut sums = vec![0.0f32; x.len()];
        add_products(&groups, &hidden_grads, a, rank, &mut sums);
        Floats::from_data(TensorData::new(sums, shapes[0].clone()))
    });
    let tensor = |values, shape: &Shape| Floats::from_data(TensorData::new(values, shape.clone()));
    let grads =
        [tensor(a_grad, &shapes[1]), tensor(up_grad, &shapes[2]), tensor(weights_grad, &shapes[3])];
    (grads, x_grad)
}
