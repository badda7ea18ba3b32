use cubecl::prelude::*;

/// Tensors to their places in one, each from its first element there on; 0 between them.
#[cube(launch)]
pub(in crate::cube) fn gather(
    inputs: &Sequence<OwnedTensor<f32>>,
    places: &Sequence<u32>,
    out: &mut Tensor<f32>,
) {
    let at = ABSOLUTE_POS;
    if at >= out.len() {
        terminate!();
    }
    let mut value = 0.0f32;
    #[unroll]
    for i in 0..inputs.len() {
        let input = inputs.index(i);
        let place = *places.index(i) as usize;
        if at >= place && at < place + input.len() {
            value = input[at - place];
        }
    }
    out[at] = value;
}

/// Parts of `len` elements to places of `place`, with 0 behind them.
#[cube(launch)]
pub(in crate::cube) fn space_out(
    from: &Tensor<f32>,
    out: &mut Tensor<f32>,
    len: usize,
    place: usize,
) {
    let at = ABSOLUTE_POS;
    if at >= out.len() {
        terminate!();
    }
    let (part, i) = (at / place, at % place);
    let mut value = 0.0f32;
    if i < len {
        value = from[part * len + i];
    }
    out[at] = value;
}

/// The sum of tensors of one size.
#[cube(launch)]
pub(in crate::cube) fn add_all(inputs: &Sequence<OwnedTensor<f32>>, out: &mut Tensor<f32>) {
    let at = ABSOLUTE_POS;
    if at >= out.len() {
        terminate!();
    }
    let mut sum = 0.0f32;
    #[unroll]
    for i in 0..inputs.len() {
        sum += inputs.index(i)[at];
    }
    out[at] = sum;
}
