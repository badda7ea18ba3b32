//! What several factors make of one input, in one kernel, and its gradients in two.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{AutodiffBackend, TensorMetadata};
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::{OwnedTensor, SequenceArg};

use super::flat::Layout;
use super::kernel::{self, Masks};
use super::launch::{beside, each};
use super::outputs::{Outputs, Tracked};
use super::{plain, tensor};
use crate::ops::{DropoutMask, ExpertDropout};

/// The factors of one operation, whose parents are of a fixed number: with their gradients and that of the
/// input they are as many as any device binds.
pub(crate) const TOGETHER: usize = 7;

/// The input, and the factors.
const PARENTS: usize = TOGETHER + 1;

/// How the rows of a factor `[E r, I]` are dropped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    /// `r`.
    pub(crate) rank: usize,
    /// What is dropped of their input.
    pub(crate) dropout: Option<ExpertDropout>,
}

/// What factors make of `x`, `[T, I]`: of each `[E r, I]` its `[T, E r]`. At least one of them and at most
/// [`TOGETHER`], none of them empty; what they drop they drop as often. `None` where they are no tensors of this kind.
pub(crate) fn down(x: &Tensor<2>, factors: &[Tensor<2>], rows: &[Rows]) -> Option<Vec<Tensor<2>>> {
    match x.is_autodiff() || factors.iter().any(Tensor::is_autodiff) {
        true => down_tracked(x, factors, rows),
        false => {
            let x = plain(x)?;
            let factors: Vec<CubeTensor> = factors.iter().map(plain).collect::<Option<_>>()?;
            let (flat, layout) = forward(&x, &factors, rows);
            Some(layout.parts(&flat).into_iter().map(tensor).collect())
        }
    }
}

fn down_tracked(x: &Tensor<2>, factors: &[Tensor<2>], rows: &[Rows]) -> Option<Vec<Tensor<2>>> {
    let known = |tensor: &Tensor<2>| {
        let tensor = tensor.clone().try_into_primitive::<Tracked>().ok()?;
        (tensor.primitive().dtype == DType::F32).then_some(tensor)
    };
    let x = known(x)?;
    let factors: Vec<FloatTensor<Tracked>> = factors.iter().map(known).collect::<Option<_>>()?;
    let constant = Tracked::from_inner(x.primitive().clone());
    let nodes: [_; PARENTS] = std::array::from_fn(|at| match at.checked_sub(1) {
        None => x.node(),
        Some(at) => factors.get(at).unwrap_or(&constant).node(),
    });
    let values: Vec<CubeTensor> =
        factors.iter().map(|factor| into_contiguous(factor.primitive().clone())).collect();
    let x = into_contiguous(x.primitive().clone());
    let (flat, layout) = forward(&x, &values, rows);
    let parts = layout.parts(&flat);
    let outputs = Outputs::new(parts.len());
    let kept = Kept { x, factors: values, rows: rows.to_vec(), outputs: outputs.clone() };
    let results: Vec<FloatTensor<Tracked>> =
        match Down.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let all = prep.finish(kept, flat);
                let parts = parts.into_iter().enumerate();
                parts.map(|(at, part)| outputs.result(at, &all, part)).collect()
            }
            OpsKind::UnTracked(_) => parts.into_iter().map(Tracked::from_inner).collect(),
        };
    Some(results.into_iter().map(Tensor::from_primitive::<Tracked>).collect())
}

/// What the backward pass reads.
#[derive(Debug, Clone)]
struct Kept {
    x: CubeTensor,
    factors: Vec<CubeTensor>,
    rows: Vec<Rows>,
    outputs: Outputs,
}

/// Its parents are the input, the factors, and constants where there are fewer.
#[derive(Debug)]
struct Down;

impl Backward<CubeBackend, PARENTS> for Down {
    type State = Kept;

    fn backward(self, ops: Ops<Self::State, PARENTS>, grads: &mut Gradients, _: &mut Checkpointer) {
        grads.consume::<CubeBackend>(&ops.node);
        let Kept { x, factors, rows, outputs } = ops.state;
        let [of_x, of_factors @ ..] = ops.parents;
        let found = outputs.take().into_iter().zip(factors).zip(rows).zip(of_factors);
        let (mut read, mut parents) = (Vec::new(), Vec::new());
        for (((grad, factor), rows), parent) in found {
            match (grad, parent) {
                (Some(grad), parent) => {
                    read.push(Read { grad: into_contiguous(grad), factor, rows });
                    parents.push(parent);
                }
                // What a factor was made of waits for a gradient.
                (None, Some(parent)) => grads.register::<CubeBackend>(parent.id, zeros(&factor)),
                (None, None) => {}
            }
        }
        if let Some(parent) = of_x {
            grads.register::<CubeBackend>(parent.id, input_grad(&x, &read));
        }
        let (trained, parents): (Vec<Read>, Vec<_>) = read
            .into_iter()
            .zip(parents)
            .filter_map(|(read, parent)| Some((read, parent?)))
            .unzip();
        if !trained.is_empty() {
            for (parent, grad) in parents.into_iter().zip(factors_grad(&x, &trained)) {
                grads.register::<CubeBackend>(parent.id, grad);
            }
        }
    }
}

fn zeros(like: &CubeTensor) -> CubeTensor {
    CubeBackend::float_zeros(like.shape(), &like.device, DType::F32.into())
}

/// A factor with the gradient of what it made.
struct Read {
    grad: CubeTensor,
    factor: CubeTensor,
    rows: Rows,
}

/// The masks of factors as their kernels take them.
struct Dropped {
    keys: SequenceArg<u32>,
    threshold: u32,
    scale: f32,
    of: Vec<Masks>,
}

fn dropped(rows: impl IntoIterator<Item = Rows>) -> Dropped {
    let mut all = Dropped { keys: SequenceArg::new(), threshold: 0, scale: 1.0, of: Vec::new() };
    let mut first = 0;
    for Rows { rank, dropout } in rows {
        let mut count = 0;
        for mask in dropout.iter().flat_map(ExpertDropout::masks) {
            let DropoutMask { keys, threshold, scale } = mask;
            keys.into_iter().for_each(|key| all.keys.push(key));
            (all.threshold, all.scale) = (threshold, scale);
            count += 1;
        }
        all.of.push(Masks { first, count, rank });
        first += count;
    }
    all
}

fn tensors<'a>(all: impl IntoIterator<Item = &'a CubeTensor>) -> SequenceArg<OwnedTensor<f32>> {
    let mut sequence = SequenceArg::new();
    all.into_iter().for_each(|tensor| sequence.push(tensor.clone().into_tensor_arg()));
    sequence
}

/// The rows of factors.
fn widths<'a>(factors: impl IntoIterator<Item = &'a CubeTensor>) -> SequenceArg<u32> {
    let mut widths = SequenceArg::new();
    factors.into_iter().for_each(|factor| widths.push(factor.shape()[0] as u32));
    widths
}

/// The results in one buffer, and where they lie there.
fn forward(x: &CubeTensor, factors: &[CubeTensor], rows: &[Rows]) -> (CubeTensor, Layout) {
    let shape = x.shape();
    let [count, inputs] = [shape[0], shape[1]];
    let shapes = factors.iter().map(|factor| Shape::from([count, factor.shape()[0]]));
    let layout = Layout::of_shapes(x, shapes.collect());
    let out = beside(x, Shape::from([layout.len()]));
    let units = count * factors.iter().map(|factor| factor.shape()[0]).sum::<usize>();
    let (cubes, dim) = each(&out, units);
    let Dropped { keys, threshold, scale, of } = dropped(rows.iter().copied());
    let client = out.client.clone();
    kernel::down::launch(
        &client,
        cubes,
        dim,
        x.clone().into_tensor_arg(),
        tensors(factors),
        widths(factors),
        layout.places(),
        out.clone().into_tensor_arg(),
        keys,
        threshold,
        scale,
        count,
        inputs,
        of,
    );
    (out, layout)
}

fn input_grad(x: &CubeTensor, read: &[Read]) -> CubeTensor {
    let shape = x.shape();
    let out = beside(x, shape.clone());
    let (cubes, dim) = each(&out, shape.num_elements());
    let Dropped { keys, threshold, scale, of } = dropped(read.iter().map(|read| read.rows));
    let client = out.client.clone();
    kernel::down_input_grad::launch(
        &client,
        cubes,
        dim,
        tensors(read.iter().map(|read| &read.factor)),
        tensors(read.iter().map(|read| &read.grad)),
        widths(read.iter().map(|read| &read.factor)),
        out.clone().into_tensor_arg(),
        keys,
        threshold,
        scale,
        shape[1],
        of,
    );
    out
}

fn factors_grad(x: &CubeTensor, read: &[Read]) -> Vec<CubeTensor> {
    let shape = x.shape();
    let [count, inputs] = [shape[0], shape[1]];
    let shapes: Vec<Shape> = read.iter().map(|read| read.factor.shape()).collect();
    let units = shapes.iter().map(Shape::num_elements).sum();
    let layout = Layout::of_shapes(x, shapes);
    let out = beside(x, Shape::from([layout.len()]));
    let (cubes, dim) = each(&out, units);
    let Dropped { keys, threshold, scale, of } = dropped(read.iter().map(|read| read.rows));
    let client = out.client.clone();
    kernel::down_factors_grad::launch(
        &client,
        cubes,
        dim,
        x.clone().into_tensor_arg(),
        tensors(read.iter().map(|read| &read.grad)),
        widths(read.iter().map(|read| &read.factor)),
        layout.places(),
        out.clone().into_tensor_arg(),
        keys,
        threshold,
        scale,
        count,
        inputs,
        of,
    );
    layout.parts(&out)
}
