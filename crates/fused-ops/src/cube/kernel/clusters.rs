use cubecl::prelude::*;

use super::reduce::{cube_max, cube_sum};

/// The numbers that are kept of each point: its cluster, the deviation, and the channel that has it.
pub(in crate::cube) const ASSIGNED: usize = 3;

/// `|x - c| / sigma`.
#[cube]
fn deviation(x: f32, centre: f32, variance: f32, least: f32) -> f32 {
    (x - centre).abs() / max(variance, least).sqrt()
}

/// A row of `width` by a cube: the nearest centre, of equal ones the first; the largest deviation from it;
/// and the first channel that has it. The first two, the deviation less 1, beside each other too.
#[cube(launch)]
pub(in crate::cube) fn assign(
    points: &Tensor<f32>,
    centres: &Tensor<f32>,
    variance: &Tensor<f32>,
    out: &mut Tensor<f32>,
    places: &mut Tensor<f32>,
    distances: &mut Tensor<f32>,
    rows: usize,
    clusters: usize,
    least: f32,
    #[comptime] width: usize,
    #[comptime] units: usize,
) {
    let row = CUBE_POS as usize;
    if row >= rows {
        terminate!();
    }
    let (start, unit) = (row * width, UNIT_POS as usize);
    let mut nearest = 0usize.runtime();
    // Above all distances: WebGPU has no infinity to write.
    let mut closest = 3.0e38f32.runtime();
    for cluster in 0..clusters {
        let mut squares = 0.0f32;
        let mut i = unit;
        while i < width {
            let apart = points[start + i] - centres[cluster * width + i];
            squares += apart * apart;
            i += units;
        }
        let distance = cube_sum(squares, units);
        if distance < closest {
            closest = distance;
            nearest = cluster;
        }
    }
    let own = nearest * width;
    let mut largest = 0.0f32.runtime();
    let mut i = unit;
    while i < width {
        let here = deviation(points[start + i], centres[own + i], variance[own + i], least);
        largest = max(largest, here);
        i += units;
    }
    let largest = cube_max(largest, units);
    // The first is the largest of the negative.
    let mut before = -(width as f32).runtime();
    let mut i = unit;
    while i < width {
        let here = deviation(points[start + i], centres[own + i], variance[own + i], least);
        if here == largest {
            before = max(before, -(i as f32));
        }
        i += units;
    }
    let before = cube_max(before, units);
    if UNIT_POS == 0 {
        out[row * ASSIGNED] = nearest as f32;
        out[row * ASSIGNED + 1] = largest;
        out[row * ASSIGNED + 2] = -before;
        places[row] = nearest as f32;
        distances[row] = largest - 1.0f32;
    }
}

/// The logits of experts, of which the first `identity` gain the shift of a token's point and the others
/// lose it: `gamma (deviation - 1)`, or without `additive` the logarithm of the deviation.
#[cube(launch)]
pub(in crate::cube) fn yielded(
    logits: &Tensor<f32>,
    assigned: &Tensor<f32>,
    out: &mut Tensor<f32>,
    identity: usize,
    tokens_per_point: usize,
    experts: usize,
    gamma: f32,
    least: f32,
    #[comptime] additive: bool,
) {
    let at = ABSOLUTE_POS;
    if at >= out.len() {
        terminate!();
    }
    let (token, expert) = (at / experts, at % experts);
    let deviation = assigned[token / tokens_per_point * ASSIGNED + 1];
    let shift = if additive { (deviation - 1.0f32) * gamma } else { max(deviation, least).ln() };
    out[at] = select(expert < identity, logits[at] + shift, logits[at] - shift);
}

/// The gradient of the points of [`yielded`], `[R, width]`, which reaches the channel that has the deviation.
#[cube(launch)]
pub(in crate::cube) fn yielded_points_grad(
    points: &Tensor<f32>,
    centres: &Tensor<f32>,
    variance: &Tensor<f32>,
    assigned: &Tensor<f32>,
    grad: &Tensor<f32>,
    out: &mut Tensor<f32>,
    identity: usize,
    tokens_per_point: usize,
    experts: usize,
    gamma: f32,
    least: f32,
    least_variance: f32,
    #[comptime] additive: bool,
    #[comptime] width: usize,
) {
    let at = ABSOLUTE_POS;
    if at >= out.len() {
        terminate!();
    }
    let (row, i) = (at / width, at % width);
    let mut result = 0.0f32.runtime();
    if assigned[row * ASSIGNED + 2] == i as f32 {
        let deviation = assigned[row * ASSIGNED + 1];
        let first = row * tokens_per_point * experts;
        let mut shift = 0.0f32;
        for of_row in 0..tokens_per_point * experts {
            let of_expert = grad[first + of_row];
            shift += select(of_row % experts < identity, of_expert, -of_expert);
        }
        let slope = if additive {
            gamma
        } else {
            select(deviation > least, 1.0f32 / max(deviation, least), 0.0f32)
        };
        let own = assigned[row * ASSIGNED] as usize * width + i;
        let apart = points[at] - centres[own];
        let side = select(apart > 0.0f32, 1.0f32, select(apart < 0.0f32, -1.0f32, 0.0f32));
        result = shift * slope * side / max(variance[own], least_variance).sqrt();
    }
    out[at] = result;
}

/// A channel of a cluster by a unit: both towards the mean of the points that count and are nearest to it, and
/// of their squared deviations from the centre, by `rate`. With `bounded` only before `last` steps.
#[cube(launch)]
pub(in crate::cube) fn slide(
    points: &Tensor<f32>,
    real: &Tensor<f32>,
    assigned: &Tensor<f32>,
    steps: &Tensor<f32>,
    centres: &Tensor<f32>,
    variance: &Tensor<f32>,
    out_centres: &mut Tensor<f32>,
    out_variance: &mut Tensor<f32>,
    rows: usize,
    rate: f32,
    last: f32,
    #[comptime] bounded: bool,
    #[comptime] width: usize,
) {
    let at = ABSOLUTE_POS;
    if at >= out_centres.len() {
        terminate!();
    }
    let (cluster, i) = ((at / width) as f32, at % width);
    let (centre, spread) = (centres[at], variance[at]);
    let mut count = 0.0f32;
    let mut sum = 0.0f32;
    let mut squares = 0.0f32;
    for row in 0..rows {
        if assigned[row * ASSIGNED] == cluster && real[row] != 0.0f32 {
            let x = points[row * width + i];
            count += 1.0f32;
            sum += x;
            squares += (x - centre) * (x - centre);
        }
    }
    let mut moves = select(count > 0.0f32, rate, 0.0f32);
    if bounded {
        moves = select(steps[0] < last, moves, 0.0f32);
    }
    let count = max(count, 1.0f32);
    out_centres[at] = centre + (sum / count - centre) * moves;
    out_variance[at] = spread + (squares / count - spread) * moves;
}

/// A channel of a cluster by a unit, before the first step: the variance of the points that count, and a centre
/// that is as many standard deviations from their mean as it was from 0. Afterwards what was there.
#[cube(launch)]
pub(in crate::cube) fn begin(
    points: &Tensor<f32>,
    real: &Tensor<f32>,
    steps: &Tensor<f32>,
    centres: &Tensor<f32>,
    variance: &Tensor<f32>,
    out_centres: &mut Tensor<f32>,
    out_variance: &mut Tensor<f32>,
    rows: usize,
    #[comptime] width: usize,
) {
    let at = ABSOLUTE_POS;
    if at >= out_centres.len() {
        terminate!();
    }
    let i = at % width;
    let mut centre = centres[at];
    let mut spread = variance[at];
    if steps[0] <= 0.0f32 {
        let mut count = 0.0f32;
        let mut sum = 0.0f32;
        for row in 0..rows {
            if real[row] != 0.0f32 {
                count += 1.0f32;
                sum += points[row * width + i];
            }
        }
        let count = max(count, 1.0f32);
        let mean = sum / count;
        let mut squares = 0.0f32;
        for row in 0..rows {
            if real[row] != 0.0f32 {
                let apart = points[row * width + i] - mean;
                squares += apart * apart;
            }
        }
        spread = squares / count;
        centre = mean + centre * spread.sqrt();
    }
    out_centres[at] = centre;
    out_variance[at] = spread;
}
