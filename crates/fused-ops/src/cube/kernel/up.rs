use cubecl::prelude::*;

/// Rows whose sums a unit keeps, so that it reads each factor once for all of them.
pub(in crate::cube) const ROWS: usize = 4;

/// `out = y + scaling * sum_e weights_e B_e hidden_e`, a unit for [`ROWS`] rows of an output; without
/// weights where not `gated`, else with the last of their `columns`.
#[cube(launch)]
pub(in crate::cube) fn add_experts(
    y: &Tensor<f32>,
    hidden: &Tensor<f32>,
    weights: &Tensor<f32>,
    b: &Tensor<f32>,
    out: &mut Tensor<f32>,
    scaling: f32,
    rows: usize,
    outputs: usize,
    experts: usize,
    columns: usize,
    #[comptime] rank: usize,
    #[comptime] gated: bool,
) {
    let at = ABSOLUTE_POS;
    let (o, first) = (at % outputs, at / outputs * ROWS);
    if first >= rows {
        terminate!();
    }
    let width = experts * rank;
    let mut sums = Array::<f32>::new(ROWS);
    #[unroll]
    for i in 0..ROWS {
        sums[i] = 0.0f32;
    }
    for e in 0..experts {
        let mut parts = Array::<f32>::new(ROWS);
        #[unroll]
        for i in 0..ROWS {
            parts[i] = 0.0f32;
        }
        for j in 0..rank {
            let factor = b[(e * outputs + o) * rank + j];
            #[unroll]
            for i in 0..ROWS {
                // The last rows again where there are fewer; they are not written.
                let row = min(first + i, rows - 1);
                parts[i] = parts[i] + factor * hidden[row * width + e * rank + j];
            }
        }
        #[unroll]
        for i in 0..ROWS {
            if gated {
                let row = min(first + i, rows - 1);
                sums[i] = sums[i] + parts[i] * weights[(row + 1) * columns - experts + e];
            } else {
                sums[i] = sums[i] + parts[i];
            }
        }
    }
    #[unroll]
    for i in 0..ROWS {
        if first + i < rows {
            let to = (first + i) * outputs + o;
            out[to] = y[to] + scaling * sums[i];
        }
    }
}

/// The gradient of what the factors multiply, `scaling * sum_o grad_o B_e[o]`, `[T, E r]`, a unit for each.
#[cube(launch)]
pub(in crate::cube) fn add_experts_gated_grad(
    b: &Tensor<f32>,
    grad: &Tensor<f32>,
    out: &mut Tensor<f32>,
    scaling: f32,
    outputs: usize,
    experts: usize,
    #[comptime] rank: usize,
) {
    let at = ABSOLUTE_POS;
    if at >= out.len() {
        terminate!();
    }
    out[at] = gated_grad(b, grad, at, scaling, outputs, experts, rank);
}

/// The gradients of the hidden values and of their weights, of which the last `experts` of `columns` are for them: a unit
/// for each hidden value, and the first of an expert's adds up those of its weight. An expert's are all in one cube.
#[cube(launch)]
pub(in crate::cube) fn add_experts_gate_backward(
    b: &Tensor<f32>,
    grad: &Tensor<f32>,
    hidden: &Tensor<f32>,
    weights: &Tensor<f32>,
    hidden_grad: &mut Tensor<f32>,
    weights_grad: &mut Tensor<f32>,
    scaling: f32,
    outputs: usize,
    experts: usize,
    columns: usize,
    #[comptime] rank: usize,
    #[comptime] units: usize,
) {
    let unit = UNIT_POS as usize;
    let at = CUBE_POS as usize * units + unit;
    let inside = at < hidden_grad.len();
    let (row, expert) = (at / rank / experts * columns, at / rank % experts);
    let others = columns - experts;
    let mut products = Shared::<[f32]>::new_slice(units);
    let mut product = 0.0f32;
    if inside {
        let gated = gated_grad(b, grad, at, scaling, outputs, experts, rank);
        hidden_grad[at] = gated * weights[row + others + expert];
        product = gated * hidden[at];
    }
    products[unit] = product;
    sync_cube();
    if inside && at % rank == 0 {
        let mut sum = 0.0f32;
        for j in 0..rank {
            sum += products[unit + j];
        }
        weights_grad[row + others + expert] = sum;
        if expert == 0 {
            for column in 0..others {
                weights_grad[row + column] = 0.0f32;
            }
        }
    }
}

#[cube]
fn gated_grad(
    b: &Tensor<f32>,
    grad: &Tensor<f32>,
    at: usize,
    scaling: f32,
    outputs: usize,
    experts: usize,
    #[comptime] rank: usize,
) -> f32 {
    let width = experts * rank;
    let (k, t) = (at % width, at / width);
    let (j, e) = (k % rank, k / rank);
    let (from, factors) = (t * outputs, e * outputs * rank + j);
    let whole = outputs / 4 * 4;
    // Four sums, which do not wait for each other.
    let mut s0 = 0.0f32;
    let mut s1 = 0.0f32;
    let mut s2 = 0.0f32;
    let mut s3 = 0.0f32;
    let mut o = 0usize;
    while o < whole {
        s0 += grad[from + o] * b[factors + o * rank];
        s1 += grad[from + o + 1] * b[factors + (o + 1) * rank];
        s2 += grad[from + o + 2] * b[factors + (o + 2) * rank];
        s3 += grad[from + o + 3] * b[factors + (o + 3) * rank];
        o += 4;
    }
    while o < outputs {
        s0 += grad[from + o] * b[factors + o * rank];
        o += 1;
    }
    scaling * ((s0 + s1) + (s2 + s3))
}

/// The gradient of the factors, `scaling * sum_t grad_t weights_te hidden_te`, `[E, O, r]`, a unit for
/// each; units beside each other have outputs beside each other.
#[cube(launch)]
pub(in crate::cube) fn add_experts_factors_grad(
    hidden: &Tensor<f32>,
    weights: &Tensor<f32>,
    grad: &Tensor<f32>,
    out: &mut Tensor<f32>,
    scaling: f32,
    rows: usize,
    outputs: usize,
    experts: usize,
    columns: usize,
    #[comptime] rank: usize,
    #[comptime] gated: bool,
) {
    let at = ABSOLUTE_POS;
    if at >= out.len() {
        terminate!();
    }
    let width = experts * rank;
    let (o, k) = (at % outputs, at / outputs);
    let (j, e) = (k % rank, k / rank);
    let mut even = 0.0f32;
    let mut odd = 0.0f32;
    let mut t = 0usize;
    while t + 1 < rows {
        even += grad[t * outputs + o]
            * gated_hidden(hidden, weights, t, k, e, width, experts, columns, gated);
        odd += grad[(t + 1) * outputs + o]
            * gated_hidden(hidden, weights, t + 1, k, e, width, experts, columns, gated);
        t += 2;
    }
    if t < rows {
        even += grad[t * outputs + o]
            * gated_hidden(hidden, weights, t, k, e, width, experts, columns, gated);
    }
    out[(e * outputs + o) * rank + j] = scaling * (even + odd);
}

#[cube]
fn gated_hidden(
    hidden: &Tensor<f32>,
    weights: &Tensor<f32>,
    t: usize,
    k: usize,
    e: usize,
    width: usize,
    experts: usize,
    columns: usize,
    #[comptime] gated: bool,
) -> f32 {
    let value = hidden[t * width + k];
    if gated { value * weights[(t + 1) * columns - experts + e] } else { value }
}
