use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, backend_extension};
use burn::tensor::Tensor;

use crate::{Causal, Documents};

/// What an attention is beside its tensors.
#[derive(Debug, Clone)]
pub(crate) struct AttentionKind {
    pub(crate) causal: Option<Causal>,
    /// The sequences of the rows, for the host.
    #[cfg_attr(not(feature = "flex"), allow(dead_code))]
    pub(crate) documents: Option<Documents>,
    /// The first position of the sequence of each, `[B, S]`, where a device is to read it.
    #[cfg_attr(not(device_kernels), allow(dead_code))]
    pub(crate) starts: Option<Tensor<2>>,
    pub(crate) soft_cap: Option<f64>,
}

/// An attention that was computed.
#[derive(Debug, Clone)]
pub(crate) struct Attended<T> {
    pub(crate) q: T,
    pub(crate) k: T,
    pub(crate) v: T,
    pub(crate) padding: Option<T>,
    pub(crate) out: T,
    /// The logarithms of the sums of exponentials, `[B, S, H]`.
    pub(crate) log_sums: T,
    pub(crate) kind: AttentionKind,
}

/// Attention without the scores of all pairs. Only called for what [`kernels`](super::kernels) allows, and
/// not for empty tensors.
#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "flex"),
    Cube: cfg(device_kernels)
)]
pub(crate) trait AttentionOps: Backend {
    /// See [`attention`](crate::attention).
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        kind: AttentionKind,
    ) -> FloatTensor<Self>;

    /// [`attention`](Self::attention) with what hides keys.
    fn attention_padded(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        padding: FloatTensor<Self>,
        kind: AttentionKind,
    ) -> FloatTensor<Self>;
}

/// Its backward pass, on the backend below autodiff.
pub(crate) trait AttentionGradients: AttentionOps {
    /// The result of an attention and the logarithms of its sums of exponentials, `[B, S, H]`.
    fn attention_forward(
        inputs: [FloatTensor<Self>; 3],
        padding: Option<FloatTensor<Self>>,
        kind: AttentionKind,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of queries, keys and values.
    fn attention_backward(
        attended: Attended<FloatTensor<Self>>,
        grad: FloatTensor<Self>,
    ) -> [FloatTensor<Self>; 3];
}

/// Its parents are queries, keys and values.
#[derive(Debug)]
struct Attention;

/// What an attention keeps: its result and the logarithms of its sums, not its weights.
#[derive(Debug, Clone)]
struct AttentionState<T> {
    nodes: [NodeId; 3],
    padding: Option<T>,
    out: T,
    log_sums: T,
    kind: AttentionKind,
}

impl<B: AttentionGradients> Backward<B, 3> for Attention {
    type State = AttentionState<FloatTensor<B>>;

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<B>(&ops.node);
        let AttentionState { nodes, padding, out, log_sums, kind } = ops.state;
        let [q, k, v] = nodes.map(|node| checkpointer.retrieve_node_output(node));
        let attended = Attended { q, k, v, padding, out, log_sums, kind };
        let results = B::attention_backward(attended, grad);
        for (parent, grad) in ops.parents.into_iter().zip(results) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

impl<B: AttentionGradients, C: CheckpointStrategy> AttentionOps for Autodiff<B, C> {
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        kind: AttentionKind,
    ) -> FloatTensor<Self> {
        attention::<B, C>([q, k, v], None, kind)
    }

    fn attention_padded(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        padding: FloatTensor<Self>,
        kind: AttentionKind,
    ) -> FloatTensor<Self> {
        attention::<B, C>([q, k, v], Some(padding.into_primitive()), kind)
    }
}

fn attention<B: AttentionGradients, C: CheckpointStrategy>(
    inputs: [FloatTensor<Autodiff<B, C>>; 3],
    padding: Option<FloatTensor<B>>,
    kind: AttentionKind,
) -> FloatTensor<Autodiff<B, C>> {
    let nodes = inputs.each_ref().map(|input| input.node());
    let primitives = inputs.each_ref().map(|input| input.primitive().clone());
    let (out, log_sums) = B::attention_forward(primitives, padding.clone(), kind.clone());
    match Attention.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let nodes = inputs.each_ref().map(|input| prep.checkpoint(input));
            let state = AttentionState { nodes, padding, out: out.clone(), log_sums, kind };
            prep.finish(state, out)
        }
        OpsKind::UnTracked(prep) => prep.finish(out),
    }
}
