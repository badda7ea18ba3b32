//! What the tests of the banks share. All sizes differ, so that a transposition cannot hide.

use burn::module::Param;
use burn::nn::LinearConfig;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Distribution, Gradients, Tensor, TensorData, Tolerance};
use router::Routing;

use crate::BaseLinear;

pub const T: usize = 7;
pub const E: usize = 3;
pub const R: usize = 2;
pub const I: usize = 5;
pub const O: usize = 6;

pub fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// The same numbers as a parameter, without how they were computed.
pub fn parameter<const D: usize>(tensor: Tensor<D>) -> Param<Tensor<D>> {
    Param::from_tensor(tensor.detach())
}

/// What a dense router decides.
pub fn routing(logits: Tensor<2>) -> Routing {
    let probabilities = softmax(logits.clone(), 1);
    Routing::dense(logits, probabilities.clone(), probabilities)
}

/// What a top-k router decides whose choice is `chosen`, of 1 and 0; not renormalised.
pub fn routing_of(logits: Tensor<2>, chosen: Tensor<2>, k: Option<usize>) -> Routing {
    let mut routing = routing(logits);
    routing.weights = routing.weights * chosen.clone();
    routing.with_selection(chosen, k)
}

pub fn base(bias: bool, device: &Device) -> BaseLinear {
    let mut base = LinearConfig::new(I, O).with_bias(bias).init(device);
    if let Some(bias) = &mut base.bias {
        *bias = Param::from_tensor(random([O], device));
    }
    base.into()
}

/// A base that gives zero, so that only the experts show.
pub fn nothing(device: &Device) -> BaseLinear {
    base(false, device).with_weight(Tensor::zeros([I, O], device))
}

/// Finds one tensor's gradient.
pub type Gradient = dyn Fn(&Gradients) -> Option<TensorData>;

/// `y`, and the gradients of its product with fixed numbers with respect to `of`.
pub fn values_and_gradients(y: Tensor<2>, of: &[&Gradient]) -> Vec<TensorData> {
    let count = y.dims().iter().product::<usize>();
    let numbers: Vec<f32> = (0..count).map(|i| (i as f32 * 0.7).sin()).collect();
    let numbers = Tensor::<2>::from_data(TensorData::new(numbers, y.dims()), &y.device());
    let grads = (y.clone() * numbers).sum().backward();
    let gradients = of.iter().map(|of| of(&grads).unwrap());
    std::iter::once(y.into_data()).chain(gradients).collect()
}

/// The gradient of one tensor.
pub fn gradient<const D: usize>(tensor: Tensor<D>) -> impl Fn(&Gradients) -> Option<TensorData> {
    move |grads| tensor.grad(grads).map(Tensor::into_data)
}

pub fn assert_close(a: &TensorData, b: &TensorData) {
    a.assert_approx_eq::<f32>(b, Tolerance::rel_abs(1e-4, 2e-5));
}

pub fn assert_all_close(a: &[TensorData], b: &[TensorData]) {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).for_each(|(a, b)| assert_close(a, b));
}
