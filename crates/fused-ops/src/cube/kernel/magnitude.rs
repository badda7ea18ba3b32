use cubecl::prelude::*;

use super::reduce::cube_sum;

/// Adds the absolute values of tensors, each times its factor, to partial sums, one for each cube.
#[cube(launch)]
pub(in crate::cube) fn add_magnitudes(
    before: &Tensor<f32>,
    inputs: &Sequence<OwnedTensor<f32>>,
    factors: &Sequence<f32>,
    out: &mut Tensor<f32>,
    #[comptime] units: usize,
) {
    let cube = CUBE_POS as usize;
    let step = before.len() * units;
    let mut sum = 0.0f32;
    #[unroll]
    for tensor in 0..inputs.len() {
        let input = inputs.index(tensor);
        let mut part = 0.0f32;
        let mut i = cube * units + UNIT_POS as usize;
        while i < input.len() {
            part += input[i].abs();
            i += step;
        }
        sum += part * *factors.index(tensor);
    }
    let total = cube_sum(sum, units);
    if UNIT_POS == 0 {
        out[cube] = before[cube] + total;
    }
}

/// The gradients of [`add_magnitudes`] in one buffer, for a sum whose parts all have one gradient: the sign of a
/// value, 0 for 0, times the factor of its tensor.
#[cube(launch)]
pub(in crate::cube) fn magnitude_grads(
    inputs: &Sequence<OwnedTensor<f32>>,
    factors: &Sequence<f32>,
    places: &Sequence<u32>,
    grad: &Tensor<f32>,
    out: &mut Tensor<f32>,
) {
    let at = ABSOLUTE_POS;
    if at >= out.len() {
        terminate!();
    }
    let mut value = 0.0f32.runtime();
    #[unroll]
    for tensor in 0..inputs.len() {
        let input = inputs.index(tensor);
        let place = *places.index(tensor) as usize;
        if at >= place && at < place + input.len() {
            let x = input[at - place];
            let sign = select(x > 0.0f32, 1.0f32, select(x < 0.0f32, -1.0f32, 0.0f32));
            value = sign * *factors.index(tensor);
        }
    }
    out[at] = value * grad[0];
}
