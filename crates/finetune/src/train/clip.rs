use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use fused_ops::squared_sum;

/// Scales the gradients of all parameters together so that their norm is at most `max_norm`, and
/// returns the norm that they had. A `max_norm` of 0 only measures; gradients whose norm is not
/// finite stay as they are.
///
/// `g <- g * min(1, max_norm / (|g| + 1e-6))`, as PyTorch's `clip_grad_norm_`.
pub fn clip_grad_norm<M: Module>(model: &M, grads: &mut GradientsParams, max_norm: f64) -> f64 {
    let square = squared_norm(model, grads).map(|square| square.into_scalar::<f32>());
    let norm = f64::from(square.unwrap_or(0.0)).sqrt();
    let factor = gradient_scale(norm, max_norm);
    if factor != 1.0 {
        model.visit(&mut Scale { grads, factor });
    }
    norm
}

/// The sum of the squares of all gradients, `[1]`, on the device; `None` without any.
pub(super) fn squared_norm<M: Module>(model: &M, grads: &GradientsParams) -> Option<Tensor<1>> {
    let mut found = Found { grads, flat: Vec::new() };
    model.visit(&mut found);
    squared_sum(&found.flat)
}

/// What gradients of this norm are multiplied by.
pub(super) fn gradient_scale(norm: f64, max_norm: f64) -> f64 {
    let large = max_norm > 0.0 && norm > max_norm && norm.is_finite();
    if large { max_norm / (norm + 1e-6) } else { 1.0 }
}

struct Found<'a> {
    grads: &'a GradientsParams,
    flat: Vec<Tensor<1>>,
}

impl ModuleVisitor for Found<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            let elements = grad.shape().num_elements();
            self.flat.push(grad.reshape([elements]));
        }
    }
}

struct Scale<'a> {
    grads: &'a mut GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            self.grads.register(param.id, grad * self.factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    fn clipped(max_norm: f64) -> (f64, f64) {
        let linear: Linear = LinearConfig::new(3, 4).init(&Device::flex()).train();
        let x: Tensor<2> = Tensor::from_inner(Tensor::ones([2, 3], &Device::flex()));
        let loss = linear.forward(x).sum();
        // Each of the 12 weights and 4 biases has the gradient 2.
        let mut grads = GradientsParams::from_grads(loss.backward(), &linear);
        let norm = clip_grad_norm(&linear, &mut grads, max_norm);
        (norm, clip_grad_norm(&linear, &mut grads, 0.0))
    }

    #[test]
    fn the_norm_of_all_parameters_together_is_limited() {
        let (before, after) = clipped(1.0);
        assert!((before - 8.0).abs() < 1e-5, "{before}");
        assert!((after - 1.0).abs() < 1e-5, "{after}");
    }

    #[test]
    fn small_gradients_stay() {
        let (before, after) = clipped(10.0);
        assert_eq!(before, after);
    }
}
