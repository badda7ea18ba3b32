use cubecl::prelude::*;

#[cube]
fn sigmoid(z: f32) -> f32 {
    1.0f32 / (1.0f32 + (-z).exp())
}

/// `out = silu(gate) * up`.
#[cube(launch)]
pub(in crate::cube) fn silu_mul(gate: &Tensor<f32>, up: &Tensor<f32>, out: &mut Tensor<f32>) {
    let i = ABSOLUTE_POS;
    if i >= out.len() {
        terminate!();
    }
    out[i] = gate[i] * sigmoid(gate[i]) * up[i];
}

/// The gradients of both.
#[cube(launch)]
pub(in crate::cube) fn silu_mul_backward(
    gate: &Tensor<f32>,
    up: &Tensor<f32>,
    grad: &Tensor<f32>,
    gate_grad: &mut Tensor<f32>,
    up_grad: &mut Tensor<f32>,
) {
    let i = ABSOLUTE_POS;
    if i >= grad.len() {
        terminate!();
    }
    let (z, g) = (gate[i], grad[i]);
    let s = sigmoid(z);
    gate_grad[i] = g * up[i] * s * (1.0f32 + z * (1.0f32 - s));
    up_grad[i] = g * z * s;
}
