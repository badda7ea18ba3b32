//! Matrices of one shape stacked by a few kernels, with a gradient that is taken apart without any.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, TensorMetadata};
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::SequenceArg;

use super::flat::{GATHERED, Layout};
use super::launch::{beside, each};
use super::{kernel, plain, tensor};

type Tracked = Autodiff<CubeBackend>;

/// The matrices of one operation, whose parents are of a fixed number: as many as are gathered at once.
const STACKED: usize = GATHERED;

/// Its parents are the matrices, and constants where there are fewer; the state says how many there are.
#[derive(Debug)]
struct Stack;

impl Backward<CubeBackend, STACKED> for Stack {
    type State = usize;

    fn backward(self, ops: Ops<Self::State, STACKED>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<CubeBackend>(&ops.node);
        let parents: Vec<Option<NodeId>> =
            ops.parents.iter().map(|parent| parent.as_ref().map(|parent| parent.id)).collect();
        for (parent, part) in parents.into_iter().zip(apart(grad, ops.state)) {
            if let Some(parent) = parent {
                grads.register::<CubeBackend>(parent, part);
            }
        }
    }
}

/// Matrices `[M, N]` as `[count, M, N]`; `None` where they are no tensors of this kind.
pub(crate) fn stack(matrices: &[Tensor<2>]) -> Option<Tensor<3>> {
    match matrices.iter().any(Tensor::is_autodiff) {
        true => stack_tracked(matrices),
        false => stack_constant(matrices),
    }
}

fn stack_constant(matrices: &[Tensor<2>]) -> Option<Tensor<3>> {
    let known: Vec<CubeTensor> = matrices.iter().map(plain).collect::<Option<_>>()?;
    let shape = known.first()?.shape();
    if known.iter().any(|matrix| matrix.shape() != shape) {
        return None;
    }
    let parts = known.chunks(STACKED).map(|some| tensor(together(some)));
    joined(parts.collect())
}

fn joined(mut parts: Vec<Tensor<3>>) -> Option<Tensor<3>> {
    if parts.len() == 1 { parts.pop() } else { Some(Tensor::cat(parts, 0)) }
}

fn stack_tracked(matrices: &[Tensor<2>]) -> Option<Tensor<3>> {
    let known = matrices.iter().map(|matrix| {
        let matrix = matrix.clone().try_into_primitive::<Tracked>().ok()?;
        (matrix.dtype() == DType::F32).then_some(matrix)
    });
    let known: Vec<FloatTensor<Tracked>> = known.collect::<Option<_>>()?;
    let shape = known.first()?.shape();
    if shape.num_elements() == 0 || known.iter().any(|matrix| matrix.shape() != shape) {
        return None;
    }
    let parts: Vec<Tensor<3>> = known
        .chunks(STACKED)
        .map(|some| Tensor::from_primitive::<Tracked>(stack_some(some)))
        .collect();
    joined(parts)
}

/// At least one and at most [`STACKED`].
fn stack_some(matrices: &[FloatTensor<Tracked>]) -> FloatTensor<Tracked> {
    let first = &matrices[0];
    let nodes = std::array::from_fn(|at| match matrices.get(at) {
        Some(matrix) => matrix.node(),
        None => Tracked::from_inner(first.primitive().clone()).node(),
    });
    let primitives: Vec<CubeTensor> =
        matrices.iter().map(|matrix| matrix.primitive().clone()).collect();
    let stacked = together(&primitives);
    match Stack.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(matrices.len(), stacked),
        OpsKind::UnTracked(prep) => prep.finish(stacked),
    }
}

fn together(matrices: &[CubeTensor]) -> CubeTensor {
    let shape = matrices[0].shape();
    let (len, count) = (shape.num_elements(), matrices.len());
    let out = beside(&matrices[0], Shape::from([count, shape[0], shape[1]]));
    let mut inputs = SequenceArg::new();
    let mut places = SequenceArg::new();
    for (at, matrix) in matrices.iter().enumerate() {
        inputs.push(into_contiguous(matrix.clone()).into_tensor_arg());
        places.push((at * len) as u32);
    }
    let (cubes, dim) = each(&out, count * len);
    let client = out.client.clone();
    let result = out.clone().into_tensor_arg();
    kernel::gather::launch(&client, cubes, dim, inputs, places, result);
    out
}

/// The parts of a stack, `[count, M, N]`.
fn apart(stacked: CubeTensor, count: usize) -> Vec<CubeTensor> {
    let stacked = into_contiguous(stacked);
    let shape = stacked.shape();
    let layout = Layout::even(&stacked, Shape::from([shape[1], shape[2]]), count);
    let len = shape[1] * shape[2];
    if layout.len() == count * len {
        return layout.parts(&stacked);
    }
    // Buffers begin at multiples of some bytes only.
    let spaced = beside(&stacked, Shape::from([layout.len()]));
    let (cubes, dim) = each(&spaced, layout.len());
    let client = spaced.client.clone();
    let (from, to) = (stacked.into_tensor_arg(), spaced.clone().into_tensor_arg());
    kernel::space_out::launch(&client, cubes, dim, from, to, len, layout.len() / count);
    layout.parts(&spaced)
}
