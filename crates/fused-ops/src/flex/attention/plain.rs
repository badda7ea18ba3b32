//! The products in f32, of matrices where they are.

use std::ops::Range;

use super::super::matrix::{Matrix, multiply};
use super::inputs::{Inputs, Queries, Sizes};
use super::products::{GradientProducts, Products};

/// Products in f32 of a block of queries.
pub(super) struct Plain<'a> {
    inputs: Inputs<'a>,
    /// The gradient of the result, `[B, S, H, D]`; empty in the forward pass.
    grad: &'a [f32],
    queries: Queries,
    k_grad: Vec<f32>,
    v_grad: Vec<f32>,
}

impl<'a> Plain<'a> {
    pub(super) fn new(inputs: Inputs<'a>, grad: &'a [f32]) -> Self {
        let queries = Queries { batch: 0, head: 0, rows: 0..0 };
        Self { inputs, grad, queries, k_grad: Vec::new(), v_grad: Vec::new() }
    }

    fn q(&self) -> Matrix<'a> {
        Matrix::whole(self.inputs.queries(&self.queries), self.inputs.sizes.depth)
    }

    /// Some keys of the head, or with `v` some of its values.
    fn of_keys(&self, all: &'a [f32], keys: &Range<usize>) -> Matrix<'a> {
        let Sizes { depth, .. } = self.inputs.sizes;
        let group = self.inputs.sizes.group(self.queries.batch, self.queries.head);
        let all = self.inputs.of_group(all, group);
        Matrix::whole(&all[self.elements(keys)], depth)
    }

    fn elements(&self, keys: &Range<usize>) -> Range<usize> {
        let Sizes { depth, .. } = self.inputs.sizes;
        keys.start * depth..keys.end * depth
    }

    fn grad(&self) -> Matrix<'a> {
        let Sizes { heads, depth, .. } = self.inputs.sizes;
        let grad = &self.grad[self.inputs.sizes.result(&self.queries)..];
        Matrix::strided(grad, heads * depth, [self.queries.rows.len(), depth])
    }
}

impl Products for Plain<'_> {
    fn unit(&self) -> usize {
        1
    }

    fn rows(&self, queries: usize) -> usize {
        queries
    }

    fn columns(&self) -> usize {
        self.inputs.sizes.depth
    }

    fn begin(&mut self, queries: &Queries) {
        self.queries = queries.clone();
    }

    fn scores(&mut self, keys: Range<usize>, scores: &mut [f32]) {
        multiply(self.q(), self.of_keys(self.inputs.k, &keys).transposed(), scores, false);
    }

    fn add_values(&mut self, weights: &[f32], keys: Range<usize>, out: &mut [f32]) {
        let weights = Matrix::whole(weights, keys.len());
        multiply(weights, self.of_keys(self.inputs.v, &keys), out, true);
    }
}

impl GradientProducts for Plain<'_> {
    fn begin_head(&mut self) {
        let Sizes { keys, depth, .. } = self.inputs.sizes;
        for grad in [&mut self.k_grad, &mut self.v_grad] {
            grad.clear();
            grad.resize(keys * depth, 0.0);
        }
    }

    fn weight_grads(&mut self, keys: Range<usize>, grads: &mut [f32]) {
        let v = self.of_keys(self.inputs.v, &keys).transposed();
        multiply(self.grad(), v, grads, false);
    }

    fn add_value_grads(&mut self, weights: &[f32], keys: Range<usize>) {
        let (grad, elements) = (self.grad(), self.elements(&keys));
        let weights = Matrix::whole(weights, keys.len()).transposed();
        multiply(weights, grad, &mut self.v_grad[elements], true);
    }

    fn add_grads(&mut self, score_grads: &[f32], keys: Range<usize>, q_grad: &mut [f32]) {
        let (q, k) = (self.q(), self.of_keys(self.inputs.k, &keys));
        let score_grads = Matrix::whole(score_grads, keys.len());
        multiply(score_grads, k, q_grad, true);
        let elements = self.elements(&keys);
        multiply(score_grads.transposed(), q, &mut self.k_grad[elements], true);
    }

    fn finish_head(&mut self, k_grad: &mut [f32], v_grad: &mut [f32]) {
        k_grad.copy_from_slice(&self.k_grad);
        v_grad.copy_from_slice(&self.v_grad);
    }
}
