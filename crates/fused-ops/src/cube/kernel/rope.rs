use cubecl::prelude::*;

/// Turns heads, `[batch, positions, heads, size]` to `[batch, heads, positions, size]`. The tables
/// have the rows of one sequence, or of all (`tables` of them).
#[cube(launch)]
pub(in crate::cube) fn rope_heads(
    x: &Tensor<f32>,
    cos: &Tensor<f32>,
    sin: &Tensor<f32>,
    out: &mut Tensor<f32>,
    positions: usize,
    heads: usize,
    tables: usize,
    #[comptime] size: usize,
) {
    let at = ABSOLUTE_POS;
    if at >= out.len() {
        terminate!();
    }
    let half = size / 2;
    let (i, row) = (at % size, at / size);
    let (position, matrix) = (row % positions, row / positions);
    let (head, batch) = (matrix % heads, matrix / heads);
    let from = ((batch * positions + position) * heads + head) * size;
    let angle = ((batch % tables) * positions + position) * size + i;
    let turned = if i < half { -x[from + i + half] } else { x[from + i - half] };
    out[at] = x[from + i] * cos[angle] + turned * sin[angle];
}

/// Its transpose, `[batch, heads, positions, size]` to `[batch, positions, heads, size]`.
#[cube(launch)]
pub(in crate::cube) fn rope_heads_backward(
    grad: &Tensor<f32>,
    cos: &Tensor<f32>,
    sin: &Tensor<f32>,
    out: &mut Tensor<f32>,
    positions: usize,
    heads: usize,
    tables: usize,
    #[comptime] size: usize,
) {
    let at = ABSOLUTE_POS;
    if at >= out.len() {
        terminate!();
    }
    let half = size / 2;
    let (i, row) = (at % size, at / size);
    let (head, place) = (row % heads, row / heads);
    let (position, batch) = (place % positions, place / positions);
    let from = ((batch * heads + head) * positions + position) * size;
    let angle = ((batch % tables) * positions + position) * size;
    let turned = if i < half {
        grad[from + i + half] * sin[angle + i + half]
    } else {
        -grad[from + i - half] * sin[angle + i - half]
    };
    out[at] = grad[from + i] * cos[angle + i] + turned;
}
