use burn::backend::TensorMetadata;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{DType, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::SequenceArg;

use super::flat::GATHERED;
use super::launch::{each, like};
use super::outputs::{Outputs, Tracked};
use super::{is_empty, kernel};

/// Its parent is what was copied.
#[derive(Debug)]
struct FanOut;

impl Backward<CubeBackend, 1> for FanOut {
    type State = Outputs;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        grads.consume::<CubeBackend>(&ops.node);
        let [parent] = ops.parents;
        let found = ops.state.take().into_iter().flatten().collect();
        if let Some((parent, sum)) = parent.zip(sum(found)) {
            grads.register::<CubeBackend>(parent.id, sum);
        }
    }
}

/// As many of a tensor whose gradients are added up at once; `None` where it has none of these kernels.
pub(crate) fn fan_out<const D: usize>(x: &Tensor<D>, count: usize) -> Option<Vec<Tensor<D>>> {
    let x = x.clone().try_into_primitive::<Tracked>().ok()?;
    if x.primitive().dtype != DType::F32 || !x.is_tracked() {
        return None;
    }
    let value = x.primitive().clone();
    let outputs = Outputs::new(count);
    let all = match FanOut.prepare::<NoCheckpointing>([x.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(outputs.clone(), value.clone()),
        OpsKind::UnTracked(_) => return None,
    };
    let copy = |at| outputs.result(at, &all, value.clone());
    Some((0..count).map(|at| Tensor::from_primitive::<Tracked>(copy(at))).collect())
}

fn sum(mut tensors: Vec<CubeTensor>) -> Option<CubeTensor> {
    let last = tensors.pop()?;
    if tensors.is_empty() || is_empty(&last) {
        return Some(last);
    }
    tensors.push(last);
    let parts = tensors.chunks(GATHERED).map(|some| {
        let out = like(&some[0]);
        let (count, dim) = each(&out, out.shape().num_elements());
        let mut inputs = SequenceArg::new();
        for tensor in some {
            inputs.push(into_contiguous(tensor.clone()).into_tensor_arg());
        }
        let client = out.client.clone();
        kernel::add_all::launch(&client, count, dim, inputs, out.clone().into_tensor_arg());
        out
    });
    parts.reduce(CubeBackend::float_add)
}
