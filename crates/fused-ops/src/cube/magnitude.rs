//! Absolute values of many tensors added up by a few kernels.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, TensorMetadata};
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::{OwnedTensor, SequenceArg};
use cubecl::{CubeCount, CubeDim};

use super::flat::Layout;
use super::launch::{beside, each};
use super::{is_empty, kernel};

type Tracked = Autodiff<CubeBackend>;

/// Tensors of one kernel: with the buffers beside them no more than any device binds.
const TOGETHER: usize = 12;

/// Cubes that add up, each to a part of the sum.
const PARTS: usize = 64;

const UNITS: usize = 256;

/// Some tensors and what each counts.
#[derive(Debug, Clone)]
struct Terms {
    values: Vec<CubeTensor>,
    factors: Vec<f32>,
}

impl Terms {
    fn inputs(&self) -> (SequenceArg<OwnedTensor<f32>>, SequenceArg<f32>) {
        let (mut inputs, mut factors) = (SequenceArg::new(), SequenceArg::new());
        for (value, factor) in self.values.iter().zip(&self.factors) {
            inputs.push(value.clone().into_tensor_arg());
            factors.push(*factor);
        }
        (inputs, factors)
    }

    /// Their magnitudes on top of those before.
    fn add(&self, before: CubeTensor) -> CubeTensor {
        let out = beside(&before, Shape::from([PARTS]));
        let units = UNITS.min(out.client.properties().hardware.max_cube_dim.0 as usize);
        let (count, dim) = (CubeCount::Static(PARTS as u32, 1, 1), CubeDim::new_1d(units as u32));
        let (inputs, factors) = self.inputs();
        let client = out.client.clone();
        let (before, result) = (before.into_tensor_arg(), out.clone().into_tensor_arg());
        kernel::add_magnitudes::launch(&client, count, dim, before, inputs, factors, result, units);
        out
    }

    fn gradients(&self, grad: CubeTensor) -> Vec<CubeTensor> {
        let layout = Layout::of(&self.values);
        let grad = into_contiguous(grad);
        let flat = beside(&grad, Shape::from([layout.len()]));
        let (count, dim) = each(&flat, layout.len());
        let (inputs, factors) = self.inputs();
        let client = flat.client.clone();
        let (grad, result) = (grad.into_tensor_arg(), flat.clone().into_tensor_arg());
        let places = layout.places();
        kernel::magnitude_grads::launch(&client, count, dim, inputs, factors, places, grad, result);
        layout.parts(&flat)
    }
}

/// Its parents are the sum before and the tensors, with constants where there are fewer.
#[derive(Debug)]
struct Magnitudes;

impl Backward<CubeBackend, { TOGETHER + 1 }> for Magnitudes {
    type State = Terms;

    fn backward(
        self,
        ops: Ops<Self::State, { TOGETHER + 1 }>,
        grads: &mut Gradients,
        _: &mut Checkpointer,
    ) {
        let grad = grads.consume::<CubeBackend>(&ops.node);
        let mut parents = ops.parents.into_iter().map(|parent| parent.map(|parent| parent.id));
        if let Some(before) = parents.next().flatten() {
            grads.register::<CubeBackend>(before, grad.clone());
        }
        for (parent, of_tensor) in parents.zip(ops.state.gradients(grad)) {
            if let Some(parent) = parent {
                grads.register::<CubeBackend>(parent, of_tensor);
            }
        }
    }
}

/// See [`abs_sums`](crate::abs_sums).
pub(crate) fn abs_sums(tensors: &[Tensor<3>], factors: &[f64]) -> Option<Tensor<1>> {
    let known = tensors.iter().map(|tensor| {
        let tensor = tensor.clone().try_into_primitive::<Tracked>().ok()?;
        (tensor.dtype() == DType::F32 && !is_empty(tensor.primitive())).then_some(tensor)
    });
    let known: Vec<FloatTensor<Tracked>> = known.collect::<Option<_>>()?;
    let device = &known.first()?.primitive().device;
    let zeros = CubeBackend::float_zeros(Shape::from([PARTS]), device, DType::F32.into());
    let constant = Tracked::from_inner(zeros);
    let mut sums = constant.clone();
    for (tensors, factors) in known.chunks(TOGETHER).zip(factors.chunks(TOGETHER)) {
        let node =
            |at: usize| tensors.get(at).map_or_else(|| constant.node(), |tensor| tensor.node());
        let nodes = std::array::from_fn(|at| match at {
            0 => sums.node(),
            _ => node(at - 1),
        });
        let terms = Terms {
            values: tensors.iter().map(|t| into_contiguous(t.primitive().clone())).collect(),
            factors: factors.iter().map(|factor| *factor as f32).collect(),
        };
        let added = terms.add(sums.primitive().clone());
        sums = match Magnitudes.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(terms, added),
            OpsKind::UnTracked(prep) => prep.finish(added),
        };
    }
    Some(Tensor::<1>::from_primitive::<Tracked>(sums).sum())
}
