use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, TensorMetadata, backend_extension};

use super::DeviceGradients;

/// Operations of mixtures of few numbers, which on GPUs would take as long as their launches: one kernel
/// each. Only called for what [`kernels`](super::kernels) allows.
#[backend_extension(Autodiff, Cube)]
pub(crate) trait MixtureOps: Backend {
    /// See [`add_experts`](crate::add_experts), with weights of 1.
    fn add_experts(
        y: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scaling: f64,
    ) -> FloatTensor<Self>;

    /// See [`add_experts`](crate::add_experts).
    fn add_gated_experts(
        y: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scaling: f64,
    ) -> FloatTensor<Self>;

    /// See [`top_k_mask`](crate::top_k_mask). Not differentiable.
    fn top_k_mask(scores: FloatTensor<Self>, k: usize) -> FloatTensor<Self>;

    /// See [`one_by_one`](crate::one_by_one). Not differentiable.
    fn one_by_one(mask: FloatTensor<Self>, k: usize) -> FloatTensor<Self>;

    /// See [`kept_shares`](crate::kept_shares). The mask is a constant.
    fn kept_shares(p: FloatTensor<Self>, mask: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Their backward passes, on the backend below autodiff.
pub(crate) trait MixtureGradients: MixtureOps + DeviceGradients {
    /// The gradient of what the factors multiply, `[T, E r]`.
    fn gated_experts_grad(
        b: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        scaling: f64,
    ) -> FloatTensor<Self>;

    /// The gradients of the hidden values and of their weights.
    fn gated_experts_backward(
        b: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        scaling: f64,
    ) -> [FloatTensor<Self>; 2];

    /// The gradient of the factors, `[E, O, r]`, which are their `dims`.
    fn expert_factors_grad(
        hidden: FloatTensor<Self>,
        weights: Option<FloatTensor<Self>>,
        grad: FloatTensor<Self>,
        scaling: f64,
        dims: [usize; 3],
    ) -> FloatTensor<Self>;

    /// The gradient of `p`.
    fn kept_shares_backward(
        p: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// What the sum of experts keeps: the hidden values, the weights where there are any, and the factors.
type Added = ([NodeId; 2], Option<NodeId>, f64);

/// Its parents are `y`, the hidden values, the factors, and the weights where there are any.
#[derive(Debug)]
struct AddExperts;

impl<B: MixtureGradients, const N: usize> Backward<B, N> for AddExperts {
    type State = Added;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<B>(&ops.node);
        let ([hidden, b], weights, scaling) = ops.state;
        let hidden: FloatTensor<B> = checkpointer.retrieve_node_output(hidden);
        let b: FloatTensor<B> = checkpointer.retrieve_node_output(b);
        let weights: Option<FloatTensor<B>> =
            weights.map(|weights| checkpointer.retrieve_node_output(weights));
        let parent = |at: usize| ops.parents.get(at)?.as_ref().map(|parent| parent.id);
        let [y_parent, hidden_parent, b_parent, weights_parent] = [0, 1, 2, 3].map(parent);
        let shape = b.shape();
        let dims = [shape[0], shape[1], shape[2]];
        if let Some(parent) = b_parent {
            let (hidden, weights) = (hidden.clone(), weights.clone());
            let grad = B::expert_factors_grad(hidden, weights, grad.clone(), scaling, dims);
            grads.register::<B>(parent, grad);
        }
        if hidden_parent.is_some() || weights_parent.is_some() {
            let (of_hidden, of_weights) = match weights {
                None => (B::gated_experts_grad(b, grad.clone(), scaling), None),
                Some(weights) => {
                    let [hidden, weights] =
                        B::gated_experts_backward(b, hidden, weights, grad.clone(), scaling);
                    (hidden, Some(weights))
                }
            };
            if let Some(parent) = hidden_parent {
                grads.register::<B>(parent, of_hidden);
            }
            if let Some((parent, grad)) = weights_parent.zip(of_weights) {
                grads.register::<B>(parent, grad);
            }
        }
        if let Some(parent) = y_parent {
            grads.register::<B>(parent, grad);
        }
    }
}

/// Its parent is `p`; the mask is a constant.
#[derive(Debug)]
struct KeptShares;

impl<B: MixtureGradients> Backward<B, 1> for KeptShares {
    type State = (NodeId, FloatTensor<B>);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<B>(&ops.node);
        let (p, mask) = ops.state;
        let p = checkpointer.retrieve_node_output(p);
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<B>(parent.id, B::kept_shares_backward(p, mask, grad));
        }
    }
}

impl<B: MixtureGradients, C: CheckpointStrategy> MixtureOps for Autodiff<B, C> {
    fn add_experts(
        y: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scaling: f64,
    ) -> FloatTensor<Self> {
        let nodes = [y.node(), hidden.node(), b.node()];
        match AddExperts.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let kept = [prep.checkpoint(&hidden), prep.checkpoint(&b)];
                let [y, hidden, b] = [y, hidden, b].map(|tensor| tensor.into_primitive());
                prep.finish((kept, None, scaling), B::add_experts(y, hidden, b, scaling))
            }
            OpsKind::UnTracked(prep) => {
                let [y, hidden, b] = [y, hidden, b].map(|tensor| tensor.into_primitive());
                prep.finish(B::add_experts(y, hidden, b, scaling))
            }
        }
    }

    fn add_gated_experts(
        y: FloatTensor<Self>,
        hidden: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        b: FloatTensor<Self>,
        scaling: f64,
    ) -> FloatTensor<Self> {
        let nodes = [y.node(), hidden.node(), b.node(), weights.node()];
        match AddExperts.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let kept = [prep.checkpoint(&hidden), prep.checkpoint(&b)];
                let kept_weights = prep.checkpoint(&weights);
                let [y, hidden, weights, b] =
                    [y, hidden, weights, b].map(|tensor| tensor.into_primitive());
                let y = B::add_gated_experts(y, hidden, weights, b, scaling);
                prep.finish((kept, Some(kept_weights), scaling), y)
            }
            OpsKind::UnTracked(prep) => {
                let [y, hidden, weights, b] =
                    [y, hidden, weights, b].map(|tensor| tensor.into_primitive());
                prep.finish(B::add_gated_experts(y, hidden, weights, b, scaling))
            }
        }
    }

    fn top_k_mask(scores: FloatTensor<Self>, k: usize) -> FloatTensor<Self> {
        Self::from_inner(B::top_k_mask(scores.into_primitive(), k))
    }

    fn one_by_one(mask: FloatTensor<Self>, k: usize) -> FloatTensor<Self> {
        Self::from_inner(B::one_by_one(mask.into_primitive(), k))
    }

    fn kept_shares(p: FloatTensor<Self>, mask: FloatTensor<Self>) -> FloatTensor<Self> {
        let mask = mask.into_primitive();
        match KeptShares.prepare::<C>([p.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let kept = prep.checkpoint(&p);
                let y = B::kept_shares(p.into_primitive(), mask.clone());
                prep.finish((kept, mask), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::kept_shares(p.into_primitive(), mask)),
        }
    }
}
