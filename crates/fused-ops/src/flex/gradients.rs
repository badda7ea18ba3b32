use burn::backend::Autodiff;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;

use super::product::rows;
use super::{Constant, HostGradients, HostOps};

/// A sum of products and a bias. Its parents are the factors in pairs, then the bias where there is
/// one; a factor is kept where the other one of its pair is tracked.
#[derive(Debug)]
struct SumOfProducts;

impl<B: HostGradients, const N: usize> Backward<B, N> for SumOfProducts {
    type State = Vec<[Option<NodeId>; 2]>;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<B>(&ops.node);
        let (factors, bias) = ops.parents.as_chunks::<2>();
        for ([left, right], kept) in factors.iter().zip(ops.state) {
            let kept = kept.map(|node| node.map(|node| checkpointer.retrieve_node_output(node)));
            let [left_value, right_value]: [Option<FloatTensor<B>>; 2] = kept;
            if let Some((left, right)) = left.as_ref().zip(right_value) {
                let left_grad = B::product(grad.clone(), B::float_transpose(right));
                grads.register::<B>(left.id, left_grad);
            }
            if let Some((right, left)) = right.as_ref().zip(left_value) {
                let left = B::float_transpose(rows::<B>(left));
                grads.register::<B>(right.id, B::product(left, rows::<B>(grad.clone())));
            }
        }
        if let [Some(bias)] = bias {
            grads.register::<B>(bias.id, B::linear_bias_backward(grad));
        }
    }
}

/// A product with a constant, of which only the other factor has a gradient.
#[derive(Debug)]
struct ConstantProduct;

impl<B: HostGradients> Backward<B, 1> for ConstantProduct {
    type State = (Constant, bool);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (weight, transposed) = ops.state;
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<B>(parent.id, B::constant_product(grad, weight, !transposed));
        }
    }
}

/// Its parents are `y`, `h` and `b`; a factor is kept where the other one is tracked.
#[derive(Debug)]
struct ProductOnto;

impl<B: HostGradients> Backward<B, 3> for ProductOnto {
    type State = [Option<NodeId>; 2];

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<B>(&ops.node);
        let [h, b] = ops.state.map(|node| node.map(|node| checkpointer.retrieve_node_output(node)));
        let [y_parent, h_parent, b_parent] = ops.parents;
        if let Some((parent, b)) = h_parent.zip(b) {
            let h_grad = B::product(grad.clone(), B::float_transpose(b));
            grads.register::<B>(parent.id, h_grad);
        }
        if let Some((parent, h)) = b_parent.zip(h) {
            grads.register::<B>(parent.id, B::product(B::float_transpose(h), grad.clone()));
        }
        if let Some(parent) = y_parent {
            grads.register::<B>(parent.id, grad);
        }
    }
}

#[derive(Debug)]
struct DropoutLinear;

impl<B: HostGradients> Backward<B, 2> for DropoutLinear {
    type State = ([NodeId; 2], f64, u64);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<B>(&ops.node);
        let (nodes, p, seed) = ops.state;
        let [x, weight] = nodes.map(|node| checkpointer.retrieve_node_output(node));
        let [x_parent, weight_parent] = ops.parents;
        if let Some(parent) = weight_parent {
            let dropped = B::dropped(x, p, seed);
            let weight_grad = B::product(B::float_transpose(grad.clone()), dropped);
            grads.register::<B>(parent.id, weight_grad);
        }
        if let Some(parent) = x_parent {
            let x_grad = B::dropped(B::product(grad, weight), p, seed);
            grads.register::<B>(parent.id, x_grad);
        }
    }
}

/// Its parents are `y`, `x`, `a`, `up` and the weights.
#[derive(Debug)]
struct LinearRouted;

impl<B: HostGradients> Backward<B, 5> for LinearRouted {
    type State = ([NodeId; 4], FloatTensor<B>);

    fn backward(
        self,
        ops: Ops<Self::State, 5>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<B>(&ops.node);
        let (nodes, selected) = ops.state;
        let [x, a, up, weights] = nodes.map(|node| checkpointer.retrieve_node_output(node));
        let [y_parent, x_parent, parents @ ..] = ops.parents;
        if let Some(parent) = y_parent {
            grads.register::<B>(parent.id, grad.clone());
        }
        if x_parent.is_none() && parents.iter().all(Option::is_none) {
            return;
        }
        let inputs = [x, a, up, weights, selected];
        let (results, x_grad) = B::linear_routed_backward(inputs, grad, x_parent.is_some());
        if let (Some(parent), Some(grad)) = (x_parent, x_grad) {
            grads.register::<B>(parent.id, grad);
        }
        for (parent, grad) in parents.into_iter().zip(results) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

impl<B: HostGradients, C: CheckpointStrategy> HostOps for Autodiff<B, C> {
    fn few_rows_product(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(a, b)
    }

    fn product(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let parents = [&x, &weight];
        let [x, weight] = parents.map(|parent| parent.primitive().clone());
        sum_of_products::<B, C, _>(parents, B::product(x, weight))
    }

    fn product_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let parents = [&x, &weight, &bias];
        let [x, weight, bias] = parents.map(|parent| parent.primitive().clone());
        sum_of_products::<B, C, _>(parents, B::product_bias(x, weight, bias))
    }

    fn product_add(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        h: FloatTensor<Self>,
        b: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let parents = [&x, &weight, &h, &b];
        let [x, weight, h, b] = parents.map(|parent| parent.primitive().clone());
        sum_of_products::<B, C, _>(parents, B::product_add(x, weight, h, b))
    }

    fn constant_product(
        x: FloatTensor<Self>,
        weight: Constant,
        transposed: bool,
    ) -> FloatTensor<Self> {
        let prepared = ConstantProduct.prepare::<C>([x.node()]).compute_bound().stateful();
        let y = B::constant_product(x.into_primitive(), weight.clone(), transposed);
        match prepared {
            OpsKind::Tracked(prep) => prep.finish((weight, transposed), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn product_onto(
        y: FloatTensor<Self>,
        h: FloatTensor<Self>,
        b: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [&y, &h, &b].map(|parent| parent.node());
        let tracked = [&h, &b].map(|factor| factor.is_tracked());
        let prepared = ProductOnto.prepare::<C>(nodes).compute_bound().stateful();
        let factors = [h.primitive().clone(), b.primitive().clone()];
        let [left, right] = factors;
        let sum = B::product_onto(y.into_primitive(), left, right);
        match prepared {
            OpsKind::Tracked(mut prep) => {
                let mut keep = |factor, needed: bool| needed.then(|| prep.checkpoint(factor));
                let state = [keep(&h, tracked[1]), keep(&b, tracked[0])];
                prep.finish(state, sum)
            }
            OpsKind::UnTracked(prep) => prep.finish(sum),
        }
    }

    fn dropout_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        p: f64,
        seed: u64,
    ) -> FloatTensor<Self> {
        match DropoutLinear.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = ([prep.checkpoint(&x), prep.checkpoint(&weight)], p, seed);
                let y = B::dropout_linear(x.into_primitive(), weight.into_primitive(), p, seed);
                prep.finish(state, y)
            }
            OpsKind::UnTracked(prep) => {
                let y = B::dropout_linear(x.into_primitive(), weight.into_primitive(), p, seed);
                prep.finish(y)
            }
        }
    }

    fn linear_routed(
        y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        up: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        selected: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [&y, &x, &a, &up, &weights].map(|parent| parent.node());
        let selected = selected.into_primitive();
        let prepared = LinearRouted.prepare::<C>(nodes).compute_bound().stateful();
        let kept = [&x, &a, &up, &weights].map(|parent| parent.clone());
        let [x, a, up, weights] = [x, a, up, weights].map(|parent| parent.into_primitive());
        let result = B::linear_routed(y.into_primitive(), x, a, up, weights, selected.clone());
        match prepared {
            OpsKind::Tracked(mut prep) => {
                let nodes = kept.each_ref().map(|parent| prep.checkpoint(parent));
                prep.finish((nodes, selected), result)
            }
            OpsKind::UnTracked(prep) => prep.finish(result),
        }
    }
}

/// The result `y` of [`SumOfProducts`] on its parents.
fn sum_of_products<B: HostGradients, C: CheckpointStrategy, const N: usize>(
    parents: [&FloatTensor<Autodiff<B, C>>; N],
    y: FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    let nodes = parents.map(|parent| parent.node());
    match SumOfProducts.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let mut keep = |factor, needed: bool| needed.then(|| prep.checkpoint(factor));
            let (factors, _) = parents.as_chunks::<2>();
            let state = factors
                .iter()
                .map(|&[left, right]| {
                    [keep(left, right.is_tracked()), keep(right, left.is_tracked())]
                })
                .collect();
            prep.finish(state, y)
        }
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}
