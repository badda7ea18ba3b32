use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend};

use super::{ActivationGradients, ActivationOps};

#[derive(Debug)]
struct SiluMul;

impl<B: ActivationGradients> Backward<B, 2> for SiluMul {
    type State = [NodeId; 2];

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<B>(&ops.node);
        let [gate, up] = ops.state.map(|node| checkpointer.retrieve_node_output(node));
        let results = B::silu_mul_backward(gate, up, grad);
        for (parent, grad) in ops.parents.into_iter().zip(results) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

#[derive(Debug)]
struct Softmax;

impl<B: ActivationGradients> Backward<B, 1> for Softmax {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<B>(parent.id, B::softmax_backward(ops.state, grad));
        }
    }
}

#[derive(Debug)]
struct RmsNorm;

impl<B: ActivationGradients> Backward<B, 2> for RmsNorm {
    type State = ([NodeId; 2], f64);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<B>(&ops.node);
        let (nodes, eps) = ops.state;
        let [x, weight] = nodes.map(|node| checkpointer.retrieve_node_output(node));
        let [x_parent, weight_parent] = ops.parents;
        let (x_grad, weight_grad) =
            B::rms_norm_backward(x, weight, eps, grad, weight_parent.is_some());
        if let Some(parent) = x_parent {
            grads.register::<B>(parent.id, x_grad);
        }
        if let (Some(parent), Some(grad)) = (weight_parent, weight_grad) {
            grads.register::<B>(parent.id, grad);
        }
    }
}

#[derive(Debug)]
struct Dropped;

impl<B: ActivationGradients> Backward<B, 1> for Dropped {
    type State = (f64, u64);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (p, seed) = ops.state;
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<B>(parent.id, B::dropped(grad, p, seed));
        }
    }
}

#[derive(Debug)]
struct RopeHeads;

impl<B: ActivationGradients> Backward<B, 1> for RopeHeads {
    type State = [FloatTensor<B>; 2];

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let [cos, sin] = ops.state;
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<B>(parent.id, B::rope_heads_backward(cos, sin, grad));
        }
    }
}

impl<B: ActivationGradients, C: CheckpointStrategy> ActivationOps for Autodiff<B, C> {
    fn silu_mul(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        match SiluMul.prepare::<C>([gate.node(), up.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [prep.checkpoint(&gate), prep.checkpoint(&up)];
                prep.finish(state, B::silu_mul(gate.into_primitive(), up.into_primitive()))
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::silu_mul(gate.into_primitive(), up.into_primitive()))
            }
        }
    }

    fn softmax_masked(scores: FloatTensor<Self>, mask: FloatTensor<Self>) -> FloatTensor<Self> {
        softmax::<B, C>(scores, |scores| B::softmax_masked(scores, mask.into_primitive()))
    }

    fn softmax_unmasked(scores: FloatTensor<Self>) -> FloatTensor<Self> {
        softmax::<B, C>(scores, B::softmax_unmasked)
    }

    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        match RmsNorm.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = ([prep.checkpoint(&x), prep.checkpoint(&weight)], eps);
                prep.finish(state, B::rms_norm(x.into_primitive(), weight.into_primitive(), eps))
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::rms_norm(x.into_primitive(), weight.into_primitive(), eps))
            }
        }
    }

    fn dropped(x: FloatTensor<Self>, p: f64, seed: u64) -> FloatTensor<Self> {
        let prepared = Dropped.prepare::<C>([x.node()]).compute_bound().stateful();
        let y = B::dropped(x.into_primitive(), p, seed);
        match prepared {
            OpsKind::Tracked(prep) => prep.finish((p, seed), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn rope_heads(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let prepared = RopeHeads.prepare::<C>([x.node()]).compute_bound().stateful();
        let (cos, sin) = (cos.into_primitive(), sin.into_primitive());
        let y = B::rope_heads(x.into_primitive(), cos.clone(), sin.clone());
        match prepared {
            OpsKind::Tracked(prep) => prep.finish([cos, sin], y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn exp_less(logits: FloatTensor<Self>, less: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::from_inner(B::exp_less(logits.into_primitive(), less.into_primitive()))
    }
}

fn softmax<B: ActivationGradients, C: CheckpointStrategy>(
    scores: FloatTensor<Autodiff<B, C>>,
    forward: impl FnOnce(FloatTensor<B>) -> FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    let prepared = Softmax.prepare::<C>([scores.node()]).compute_bound().stateful();
    let y = forward(scores.into_primitive());
    match prepared {
        OpsKind::Tracked(prep) => prep.finish(y.clone(), y),
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}
