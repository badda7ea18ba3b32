use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, backend_extension};

/// Probabilities below count as this much: 0 has no logarithm.
pub(crate) const LEAST_PROBABILITY: f32 = 1e-12;

/// Rows whose square is below have no direction.
pub(crate) const LEAST_SQUARE: f32 = 1e-12;

/// What becomes of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reduction {
    /// See [`log_sum_exp`](crate::log_sum_exp).
    LogSumExp,
    /// See [`entropy`](crate::entropy).
    Entropy,
    /// See [`gram`](crate::gram).
    Gram,
    /// See [`mean_squared_cosine`](crate::mean_squared_cosine).
    MeanSquaredCosine,
    /// See [`abs_sum`](crate::abs_sum).
    AbsSum,
}

/// Reductions whose gradient is computed from what was reduced, in one pass each way. Only called for
/// what [`kernels`](super::kernels) allows, and not for empty tensors.
#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "flex"),
    Cube: cfg(device_kernels)
)]
pub(crate) trait ReductionOps: Backend {
    /// See [`Reduction`].
    fn reduced(x: FloatTensor<Self>, reduction: Reduction) -> FloatTensor<Self>;
}

/// Their backward pass, on the backend below autodiff.
pub(crate) trait ReductionGradients: ReductionOps {
    /// The gradient of `x`, of which `y` was made.
    fn reduced_backward(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        reduction: Reduction,
    ) -> FloatTensor<Self>;
}

#[derive(Debug)]
struct Reduced;

impl<B: ReductionGradients> Backward<B, 1> for Reduced {
    type State = (NodeId, FloatTensor<B>, Reduction);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<B>(&ops.node);
        let (x, y, reduction) = ops.state;
        let x = checkpointer.retrieve_node_output(x);
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<B>(parent.id, B::reduced_backward(x, y, grad, reduction));
        }
    }
}

impl<B: ReductionGradients, C: CheckpointStrategy> ReductionOps for Autodiff<B, C> {
    fn reduced(x: FloatTensor<Self>, reduction: Reduction) -> FloatTensor<Self> {
        match Reduced.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let node = prep.checkpoint(&x);
                let y = B::reduced(x.into_primitive(), reduction);
                prep.finish((node, y.clone(), reduction), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::reduced(x.into_primitive(), reduction)),
        }
    }
}
