use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata, backend_extension};
use burn::tensor::Shape;

/// Where a backward pass begins with a gradient that is known. Only called for what
/// [`kernels`](super::kernels) allows.
#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "flex"),
    Cube: cfg(device_kernels)
)]
pub(crate) trait KnownGradientOps: Backend {
    /// See [`with_gradient`](crate::with_gradient).
    fn with_gradient(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        let _ = gradient;
        let dtype = x.dtype().into();
        Self::float_zeros(Shape::from([1]), &x.device(), dtype)
    }
}

/// Its backward pass, on the backend below autodiff.
pub(crate) trait KnownGradientScaling: KnownGradientOps {
    /// The gradient times that of the one element, which is 1 where a pass begins.
    fn known_gradient(gradient: FloatTensor<Self>, of_one: FloatTensor<Self>) -> FloatTensor<Self> {
        let ones = vec![1; gradient.shape().num_dims()];
        Self::float_mul(gradient, Self::float_reshape(of_one, Shape::from(ones)))
    }
}

#[derive(Debug)]
struct KnownGradient;

impl<B: KnownGradientScaling> Backward<B, 1> for KnownGradient {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let of_one = grads.consume::<B>(&ops.node);
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<B>(parent.id, B::known_gradient(ops.state, of_one));
        }
    }
}

impl<B: KnownGradientScaling, C: CheckpointStrategy> KnownGradientOps for Autodiff<B, C> {
    fn with_gradient(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        let gradient = gradient.into_primitive();
        match KnownGradient.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = B::with_gradient(x.into_primitive(), gradient.clone());
                prep.finish(gradient, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::with_gradient(x.into_primitive(), gradient)),
        }
    }
}
