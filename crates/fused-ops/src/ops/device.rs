use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata, backend_extension};

use crate::Precision;

/// The operations that have kernels on GPUs alone: on CPUs Burn's are as fast, where launching costs
/// nothing. Only called for what [`kernels`](super::kernels) allows.
#[backend_extension(Autodiff, Cube)]
pub(crate) trait DeviceOps: Backend {
    /// `a b`, `[.., M, K]` and `[.., K, N]` with equal axes before, in f32 or, for a constant `b`, in
    /// a type of its own.
    fn device_product(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self>;

    /// See [`gate_experts`](crate::gate_experts).
    fn gate_experts(
        hidden: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        rank: usize,
    ) -> FloatTensor<Self>;

    /// See [`scale_up`](crate::scale_up), with a factor for each expert.
    fn scale_up_by_expert(
        b: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        scaling: f64,
    ) -> FloatTensor<Self>;

    /// See [`scale_up`](crate::scale_up), with one factor for all.
    fn scale_up(b: FloatTensor<Self>, scaling: f64) -> FloatTensor<Self>;
}

/// Their backward passes, on the backend below autodiff.
pub(crate) trait DeviceGradients: DeviceOps {
    /// The gradients of `hidden` and of the weights.
    fn gate_experts_backward(
        hidden: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        rank: usize,
    ) -> [FloatTensor<Self>; 2];

    /// The gradient of `B`, of `[experts, outputs, rank]`.
    fn scale_up_backward(
        grad: FloatTensor<Self>,
        factors: Option<FloatTensor<Self>>,
        scaling: f64,
        dims: [usize; 3],
    ) -> FloatTensor<Self>;
}

/// Its parents are the factors; one is kept where the other is tracked.
#[derive(Debug)]
struct Product;

impl<B: DeviceGradients> Backward<B, 2> for Product {
    type State = ([Option<NodeId>; 2], Precision);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<B>(&ops.node);
        let (nodes, precision) = ops.state;
        let [a, b]: [Option<FloatTensor<B>>; 2] =
            nodes.map(|node| node.map(|node| checkpointer.retrieve_node_output(node)));
        let [a_parent, b_parent] = ops.parents;
        if let Some((parent, b)) = a_parent.zip(b) {
            let product = B::device_product(grad.clone(), B::float_transpose(b), precision);
            grads.register::<B>(parent.id, product);
        }
        if let Some((parent, a)) = b_parent.zip(a) {
            let product = B::device_product(B::float_transpose(a), grad, precision);
            grads.register::<B>(parent.id, product);
        }
    }
}

#[derive(Debug)]
struct GateExperts;

impl<B: DeviceGradients> Backward<B, 2> for GateExperts {
    type State = ([NodeId; 2], usize);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<B>(&ops.node);
        let (nodes, rank) = ops.state;
        let [hidden, weights] = nodes.map(|node| checkpointer.retrieve_node_output(node));
        let results = B::gate_experts_backward(hidden, weights, grad, rank);
        for (parent, grad) in ops.parents.into_iter().zip(results) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

#[derive(Debug)]
struct ScaleUp;

impl<B: DeviceGradients> Backward<B, 1> for ScaleUp {
    type State = (Option<FloatTensor<B>>, f64, [usize; 3]);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (factors, scaling, dims) = ops.state;
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<B>(parent.id, B::scale_up_backward(grad, factors, scaling, dims));
        }
    }
}

impl<B: DeviceGradients, C: CheckpointStrategy> DeviceOps for Autodiff<B, C> {
    fn device_product(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let y = B::device_product(a.primitive().clone(), b.primitive().clone(), precision);
        match Product.prepare::<C>([a.node(), b.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let tracked = [a.is_tracked(), b.is_tracked()];
                let kept_a = tracked[1].then(|| prep.checkpoint(&a));
                let kept_b = tracked[0].then(|| prep.checkpoint(&b));
                prep.finish(([kept_a, kept_b], precision), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn gate_experts(
        hidden: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        rank: usize,
    ) -> FloatTensor<Self> {
        match GateExperts.prepare::<C>([hidden.node(), weights.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let nodes = [prep.checkpoint(&hidden), prep.checkpoint(&weights)];
                let y = B::gate_experts(hidden.into_primitive(), weights.into_primitive(), rank);
                prep.finish((nodes, rank), y)
            }
            OpsKind::UnTracked(prep) => {
                let y = B::gate_experts(hidden.into_primitive(), weights.into_primitive(), rank);
                prep.finish(y)
            }
        }
    }

    fn scale_up_by_expert(
        b: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        scaling: f64,
    ) -> FloatTensor<Self> {
        let factors = factors.into_primitive();
        scaled::<B, C>(b, Some(factors.clone()), scaling, |b| {
            B::scale_up_by_expert(b, factors, scaling)
        })
    }

    fn scale_up(b: FloatTensor<Self>, scaling: f64) -> FloatTensor<Self> {
        scaled::<B, C>(b, None, scaling, |b| B::scale_up(b, scaling))
    }
}

fn scaled<B: DeviceGradients, C: CheckpointStrategy>(
    b: FloatTensor<Autodiff<B, C>>,
    factors: Option<FloatTensor<B>>,
    scaling: f64,
    forward: impl FnOnce(FloatTensor<B>) -> FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    let shape = b.shape();
    let dims = [shape[0], shape[1], shape[2]];
    let prepared = ScaleUp.prepare::<C>([b.node()]).compute_bound().stateful();
    let y = forward(b.into_primitive());
    match prepared {
        OpsKind::Tracked(prep) => prep.finish((factors, scaling, dims), y),
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}
