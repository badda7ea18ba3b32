use cubecl::prelude::*;

/// A step of AdamW on one parameter; the moments change in place.
#[cube(launch)]
pub(in crate::cube) fn adamw(
    parameter: &Tensor<f32>,
    grad: &Tensor<f32>,
    first: &Tensor<f32>,
    second: &Tensor<f32>,
    new_parameter: &mut Tensor<f32>,
    new_first: &mut Tensor<f32>,
    new_second: &mut Tensor<f32>,
    beta1: f32,
    beta2: f32,
    kept: f32,
    rate: f32,
    first_correction: f32,
    second_correction: f32,
    epsilon: f32,
) {
    let i = ABSOLUTE_POS;
    if i >= new_parameter.len() {
        terminate!();
    }
    let g = grad[i];
    let m = beta1 * first[i] + (1.0f32 - beta1) * g;
    let v = beta2 * second[i] + (1.0f32 - beta2) * g * g;
    new_first[i] = m;
    new_second[i] = v;
    let corrected = (v * second_correction).sqrt() + epsilon;
    new_parameter[i] = parameter[i] * kept - rate * m * first_correction / corrected;
}
