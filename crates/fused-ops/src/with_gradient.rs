use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::ops::{KnownGradientOps, kernels};

/// A tensor of one element, 0, whose gradient with respect to `x` is `gradient`, of the same shape: what a
/// backward pass begins with where the gradient is known already.
///
/// That of [`with_gradient_composed`], which multiplies, sums, and multiplies again. `gradient` is outside
/// of the graph.
///
/// # Panics
///
/// When the shapes differ.
pub fn with_gradient<const D: usize>(x: Tensor<D>, gradient: Tensor<D>) -> Tensor<1> {
    assert_eq!(x.dims(), gradient.dims(), "with_gradient: one shape");
    let [x, gradient] = [x, gradient].map(Tensor::into_dispatch);
    if kernels(&[&x, &gradient]).is_some() {
        return Tensor::from_dispatch(Dispatch::with_gradient(x, gradient));
    }
    let [x, gradient] = [x, gradient].map(Tensor::<D>::from_dispatch);
    with_gradient_composed(x, gradient)
}

/// [`with_gradient`] composed of Burn's operations, `sum(x * gradient)`: its gradient is that, but not its
/// value.
pub fn with_gradient_composed<const D: usize>(x: Tensor<D>, gradient: Tensor<D>) -> Tensor<1> {
    (x * gradient.detach()).sum()
}
