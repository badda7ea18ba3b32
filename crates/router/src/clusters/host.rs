//! Clusters on a CPU, where activations are visited once instead of by one operation after another.

use burn::tensor::{DType, Int, Tensor, TensorData};
use rayon::prelude::*;

use crate::host_rows::HostRows;

/// Channels that one task takes.
const CHANNELS: usize = 64;

/// Rows that one task takes.
const ROWS: usize = 64;

/// Where the 1 of each row of `[R, N]` is.
fn places(one_hot: &Tensor<2>) -> Vec<usize> {
    let rows = HostRows::of(one_hot);
    rows.iter().map(|row| row.iter().position(|&x| x > 0.5).unwrap_or(0)).collect()
}

/// The largest `|x - c| scale` of each row, `[R, 1]`, with `c` and `scale` those of its cluster,
/// `[N, I]`. The gradient reaches the channel that has it.
pub(super) fn largest_deviation(
    points: Tensor<2>,
    nearest: &Tensor<2>,
    centres: &Tensor<2>,
    scale: &Tensor<2>,
) -> Tensor<2> {
    let device = nearest.device();
    let known = HostRows::of(&points);
    let (centres, scale, places) = (HostRows::of(centres), HostRows::of(scale), places(nearest));
    let count = places.len();
    let mut found = vec![(0i32, 0.0f32, 0.0f32); count];
    let blocks = found.par_chunks_mut(ROWS).zip(places.par_chunks(ROWS)).enumerate();
    blocks.for_each_init(
        || vec![0.0f32; known.width],
        |deviations, (block, (found, places))| {
            for (at, (found, &place)) in found.iter_mut().zip(places).enumerate() {
                let (x, c) = (known.row(block * ROWS + at), centres.row(place));
                let s = scale.row(place);
                for (((d, x), c), s) in deviations.iter_mut().zip(x).zip(c).zip(s) {
                    *d = (x - c).abs() * s;
                }
                let largest = deviations.iter().fold(f32::MIN, |a, &b| a.max(b));
                let channel = deviations.iter().position(|&d| d == largest).unwrap_or(0);
                *found = (channel as i32, c[channel], s[channel]);
            }
        },
    );
    let channels: Vec<i32> = found.iter().map(|of| of.0).collect();
    let channels = Tensor::<2, Int>::from_data(TensorData::new(channels, [count, 1]), &device);
    let column = |values: Vec<f32>| {
        let data = TensorData::new(values, [count, 1]);
        Tensor::<2>::from_data(data, (&device, DType::F32)).without_autodiff()
    };
    let centre = column(found.iter().map(|of| of.1).collect());
    let scale = column(found.iter().map(|of| of.2).collect());
    (points.gather(1, channels) - centre).abs() * scale
}

/// How many points that count each cluster has, `[N, 1]`, and the means over them of the points and
/// of their squared deviations from where the centre was, `[N, I]`; 0 for a cluster without any.
pub(super) fn moments(
    points: &Tensor<2>,
    nearest: &Tensor<2>,
    real: &Tensor<2>,
    centres: &Tensor<2>,
) -> [Tensor<2>; 3] {
    let device = centres.device();
    let [clusters, width] = centres.dims();
    let (points, centres, real) = (HostRows::of(points), HostRows::of(centres), HostRows::of(real));
    let members: Vec<(usize, usize)> = places(nearest)
        .into_iter()
        .enumerate()
        .filter(|(row, _)| real.values[*row] != 0.0)
        .collect();
    let mut count = vec![0.0f32; clusters];
    members.iter().for_each(|(_, place)| count[*place] += 1.0);
    // Each task has some channels of all points, so that what is added up has one order.
    let channels: Vec<usize> = (0..width).step_by(CHANNELS).collect();
    let sums: Vec<[Vec<f32>; 2]> = channels
        .par_iter()
        .map(|&first| {
            let channels = first..(first + CHANNELS).min(width);
            let size = channels.len();
            let [mut sums, mut squares] = [0; 2].map(|_| vec![0.0f32; clusters * size]);
            for &(row, place) in &members {
                let x = &points.row(row)[channels.clone()];
                let c = &centres.row(place)[channels.clone()];
                let sums = &mut sums[place * size..][..size];
                let squares = &mut squares[place * size..][..size];
                for (((sum, square), x), c) in sums.iter_mut().zip(squares).zip(x).zip(c) {
                    *sum += x;
                    *square += (x - c) * (x - c);
                }
            }
            [sums, squares]
        })
        .collect();
    let tensor = |values: Vec<f32>, shape: [usize; 2]| {
        let data = TensorData::new(values, shape);
        Tensor::<2>::from_data(data, (&device, DType::F32)).without_autodiff()
    };
    let mean = |which: usize| {
        let mut means = vec![0.0f32; clusters * width];
        for (&first, sums) in channels.iter().zip(&sums) {
            let size = CHANNELS.min(width - first);
            for (cluster, sums) in sums[which].chunks_exact(size).enumerate() {
                let count = count[cluster].max(1.0);
                let means = &mut means[cluster * width + first..][..size];
                means.iter_mut().zip(sums).for_each(|(mean, sum)| *mean = sum / count);
            }
        }
        tensor(means, [clusters, width])
    };
    [tensor(count.clone(), [clusters, 1]), mean(0), mean(1)]
}

/// Of each row of points the nearest centre, of equal ones the first, and the largest `|x - c| / sigma` there.
pub(super) fn nearest_of_few(
    points: &HostRows,
    centres: &Tensor<2>,
    variance: &Tensor<2>,
    smallest_variance: f32,
) -> Vec<(usize, f32)> {
    let [centres, variance] = [centres, variance].map(HostRows::of);
    let nearest = |point: &[f32]| {
        let distances = centres.iter().map(|centre| squared_distance(point, centre));
        distances.enumerate().reduce(|best, one| if one.1 < best.1 { one } else { best })
    };
    let deviation = |point: &[f32], cluster: usize| {
        let of_channels = point.iter().zip(centres.row(cluster)).zip(variance.row(cluster));
        of_channels.fold(f32::MIN, |largest, ((x, c), variance)| {
            largest.max((x - c).abs() / variance.max(smallest_variance).sqrt())
        })
    };
    points
        .iter()
        .map(|point| {
            let cluster = nearest(point).map_or(0, |(cluster, _)| cluster);
            (cluster, deviation(point, cluster))
        })
        .collect()
}

/// In partial sums, which the compiler can make vectors of.
fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += (a - b) * (a - b);
        }
    }
    let tail: f32 = a_tail.iter().zip(b_tail).map(|(a, b)| (a - b) * (a - b)).sum();
    tail + sums.iter().sum::<f32>()
}
