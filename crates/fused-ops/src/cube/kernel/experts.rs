use cubecl::prelude::*;

/// `out = hidden * weights` with a weight for each expert, a part of `rank` elements.
#[cube(launch)]
pub(in crate::cube) fn gate(
    hidden: &Tensor<f32>,
    weights: &Tensor<f32>,
    out: &mut Tensor<f32>,
    #[comptime] rank: usize,
) {
    let i = ABSOLUTE_POS;
    if i >= out.len() {
        terminate!();
    }
    out[i] = hidden[i] * weights[i / rank];
}

/// The gradients of both, a unit for each weight: those of the last `experts` of `columns` gate something.
#[cube(launch)]
pub(in crate::cube) fn gate_backward(
    hidden: &Tensor<f32>,
    weights: &Tensor<f32>,
    grad: &Tensor<f32>,
    hidden_grad: &mut Tensor<f32>,
    weights_grad: &mut Tensor<f32>,
    experts: usize,
    columns: usize,
    #[comptime] rank: usize,
) {
    let at = ABSOLUTE_POS;
    if at >= weights_grad.len() {
        terminate!();
    }
    let (column, others) = (at % columns, columns - experts);
    let mut sum = 0.0f32;
    if column >= others {
        let weight = weights[at];
        let first = (at / columns * experts + column - others) * rank;
        for j in 0..rank {
            let i = first + j;
            sum += grad[i] * hidden[i];
            hidden_grad[i] = grad[i] * weight;
        }
    }
    weights_grad[at] = sum;
}

/// `[experts, outputs, rank]` to `[experts * rank, outputs]`, times a number, and times that of an
/// expert where `by_expert`; with `back` the other way.
#[cube(launch)]
pub(in crate::cube) fn scaled_up(
    b: &Tensor<f32>,
    of_experts: &Tensor<f32>,
    out: &mut Tensor<f32>,
    scaling: f32,
    outputs: usize,
    #[comptime] rank: usize,
    #[comptime] by_expert: bool,
    #[comptime] back: bool,
) {
    let at = ABSOLUTE_POS;
    if at >= out.len() {
        terminate!();
    }
    if back {
        let (k, rest) = (at % rank, at / rank);
        let (o, e) = (rest % outputs, rest / outputs);
        let value = b[(e * rank + k) * outputs + o];
        out[at] = scaled(value, of_experts, e, scaling, by_expert);
    } else {
        let (o, rest) = (at % outputs, at / outputs);
        let (k, e) = (rest % rank, rest / rank);
        let value = b[(e * outputs + o) * rank + k];
        out[at] = scaled(value, of_experts, e, scaling, by_expert);
    }
}

#[cube]
fn scaled(
    value: f32,
    of_experts: &Tensor<f32>,
    expert: usize,
    scaling: f32,
    #[comptime] by_expert: bool,
) -> f32 {
    let value = value * scaling;
    if by_expert { value * of_experts[expert] } else { value }
}
