//! What GPUs alone have kernels for equals its formula. On a CPU there is nothing to compare, and a test says so.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use burn::tensor::{DType, Int, Tensor};
use fused_ops::{
    Assigned, ClusterShift, ClusterState, Draw, StoredHalves, abs_sums, begun_clusters, draw,
    widened,
};
use half::{bf16, f16};
use support::{close, device, floats, random, same};

const LEAST: f64 = 1e-10;

/// Clusters on the device without autodiff, as running state is.
fn clusters(count: usize, width: usize) -> ClusterState {
    ClusterState {
        centres: random([count, width]).inner(),
        variance: random([count, width]).inner().powi_scalar(2),
        least_variance: LEAST,
    }
}

fn skipped<T>(found: &Option<T>) -> bool {
    if found.is_none() {
        println!("skipped: {:?} has no kernels for it", device());
    }
    found.is_none()
}

/// The nearest centre by the differences of all pairs, `[R]`.
fn nearest(points: &Tensor<2>, clusters: &ClusterState) -> Tensor<1, Int> {
    let apart: Tensor<3> =
        points.clone().unsqueeze_dim(1) - clusters.centres.clone().unsqueeze_dim(0);
    apart.powi_scalar(2).sum_dim(2).squeeze_dim::<2>(2).argmin(1).squeeze_dim(1)
}

/// `|x - c| / sigma`, `[R, I]`.
fn deviations(points: Tensor<2>, clusters: &ClusterState, nearest: &Tensor<1, Int>) -> Tensor<2> {
    let of = |values: &Tensor<2>| {
        let rows = values.clone().select(0, nearest.clone());
        if points.is_autodiff() { rows.autodiff() } else { rows }
    };
    let sigma = of(&clusters.variance).clamp_min(LEAST).sqrt();
    (points.clone() - of(&clusters.centres)).abs() / sigma
}

#[test]
fn points_are_assigned_to_the_nearest_centre_with_their_largest_deviation() {
    for (rows, width, count) in [(1, 1, 1), (70, 33, 5), (9, 700, 8)] {
        let (points, clusters) = (random([rows, width]).inner(), clusters(count, width));
        let assigned = Assigned::of(&points, &clusters);
        if skipped(&assigned) {
            return;
        }
        let assigned = assigned.unwrap();
        let nearest = nearest(&points, &clusters);
        let found: Vec<i32> = floats(assigned.cluster.clone()).iter().map(|&x| x as i32).collect();
        assert_eq!(found, nearest.clone().into_data().iter::<i32>().collect::<Vec<_>>());
        let expected = deviations(points, &clusters, &nearest).max_dim(1) - 1.0;
        close("distance", &floats(assigned.distance), &floats(expected), 1e-6);
    }
}

#[test]
fn of_equally_near_centres_the_first_is_taken() {
    let points = Tensor::<2>::zeros([3, 40], &device().inner());
    let state = ClusterState {
        centres: Tensor::ones([4, 40], &device().inner()),
        variance: Tensor::ones([4, 40], &device().inner()),
        least_variance: LEAST,
    };
    let assigned = Assigned::of(&points, &state);
    if !skipped(&assigned) {
        let cluster = floats(assigned.unwrap().cluster);
        assert_eq!(cluster, [0.0; 3]);
    }
}

#[test]
fn shifted_logits_and_their_gradients_are_those_of_the_formula() {
    let (rows, width, experts) = (12, 33, 6);
    let clusters = clusters(4, width);
    if skipped(&Assigned::of(&random([1, width]), &clusters)) {
        return;
    }
    for tokens_per_point in [1, 5] {
        for gamma in [Some(0.3), None] {
            // Both inputs have the points' width, so that one function has two of them.
            let tokens = rows * tokens_per_point;
            let logits = random([tokens, width]);
            let shift = ClusterShift {
                identity_experts: 2,
                tokens_per_point,
                gamma,
                least_deviation: 1e-3,
            };
            let fused = |[points, logits]: [Tensor<2>; 2]| {
                let points = points.narrow(0, 0, rows);
                let assigned = Assigned::of(&points, &clusters).unwrap();
                assigned.shifted(&logits.narrow(1, 0, experts), shift).unwrap()
            };
            let composed = |[points, logits]: [Tensor<2>; 2]| {
                let points = points.narrow(0, 0, rows);
                let near = nearest(&points.clone().inner(), &clusters);
                let deviation = deviations(points, &clusters, &near).max_dim(1);
                let shift = match gamma {
                    Some(gamma) => (deviation - 1.0) * gamma,
                    None => deviation.clamp_min(1e-3).log(),
                };
                let shift = shift
                    .unsqueeze_dim::<3>(1)
                    .expand([rows, tokens_per_point, 1])
                    .reshape([tokens, 1]);
                let logits = logits.narrow(1, 0, experts);
                let [gain, lose] = [(0, 2, 1.0), (2, experts - 2, -1.0)].map(|(at, len, sign)| {
                    logits.clone().narrow(1, at, len) + shift.clone() * sign
                });
                Tensor::cat(vec![gain, lose], 1)
            };
            same([random([tokens, width]), logits], fused, composed);
        }
    }
}

#[test]
fn magnitudes_of_many_tensors_are_the_sums_of_each() {
    // More than one kernel takes, of several shapes, one of which begins a buffer at an odd place.
    let shapes = (0..30).map(|at| [1 + at % 3, 5 + at % 7, 33]);
    let tensors: Vec<Tensor<3>> = shapes.map(random).collect();
    let factors: Vec<f64> = (0..30).map(|at| 0.1 + f64::from(at)).collect();
    if skipped(&abs_sums(&tensors, &factors)) {
        return;
    }
    let run = |op: &dyn Fn(&[Tensor<3>]) -> Tensor<1>| {
        let inputs: Vec<_> = tensors.iter().map(|x| x.clone().detach().require_grad()).collect();
        let sum = op(&inputs) * 0.5;
        let grads = sum.backward();
        let mut all = vec![floats(sum)];
        all.extend(inputs.iter().map(|x| floats(x.grad(&grads).unwrap())));
        all
    };
    let found = run(&|inputs| abs_sums(inputs, &factors).unwrap());
    let expected = run(&|inputs| {
        let sums = inputs.iter().zip(&factors).map(|(x, factor)| x.clone().abs().sum() * *factor);
        sums.reduce(|sum, next| sum + next).unwrap()
    });
    for (found, expected) in found.iter().zip(&expected) {
        close("magnitudes", found, expected, 1e-6);
    }
}

/// The mean of what counts of `values` `[R, I]`, with `member` `[R]`, by hand.
fn mean(values: &[f32], width: usize, member: &[bool], channel: usize) -> f32 {
    let rows = values.chunks_exact(width).zip(member).filter(|(_, member)| **member);
    let (sum, count) =
        rows.fold((0.0, 0), |(sum, count), (row, _)| (sum + row[channel], count + 1));
    sum / count.max(1) as f32
}

#[test]
fn clusters_slide_towards_the_means_of_their_real_points() {
    let (rows, width, count) = (50, 33, 6);
    let (points, state) = (random([rows, width]).inner(), clusters(count, width));
    let assigned = Assigned::of(&points, &state);
    if skipped(&assigned) {
        return;
    }
    let assigned = assigned.unwrap();
    let real = random([rows, 1]).inner().greater_elem(0.0).float();
    let place: Vec<i32> = floats(assigned.cluster.clone()).iter().map(|&x| x as i32).collect();
    let [points, real_of, centres, variance] =
        [&points, &real, &state.centres, &state.variance].map(|tensor| floats(tensor.clone()));
    let steps = Tensor::<1>::ones([1], &device().inner());
    for (bound, rate) in [(None, 0.25), (Some((&steps, 2)), 0.25), (Some((&steps, 1)), 0.0)] {
        let slid = assigned.slid(&real, 0.25, bound).unwrap().map(floats);
        for at in 0..count * width {
            let (cluster, channel) = (at / width, at % width);
            let member: Vec<bool> =
                (0..rows).map(|row| place[row] == cluster as i32 && real_of[row] != 0.0).collect();
            let squares: Vec<f32> = points
                .iter()
                .enumerate()
                .map(|(i, x)| (x - centres[cluster * width + i % width]).powi(2))
                .collect();
            let rate = if member.contains(&true) { rate } else { 0.0 };
            let toward = |from: f32, to: f32| [from + (to - from) * rate];
            let moved = toward(centres[at], mean(&points, width, &member, channel));
            close("centre", &slid[0][at..=at], &moved, 1e-6);
            let moved = toward(variance[at], mean(&squares, width, &member, channel));
            close("variance", &slid[1][at..=at], &moved, 1e-6);
        }
    }
}

#[test]
fn clusters_begin_with_mean_and_variance_of_the_real_points_once() {
    let (rows, width, count) = (20, 33, 3);
    let (points, state) = (random([rows, width]).inner(), clusters(count, width));
    let real = random([rows, 1]).inner().greater_elem(0.0).float();
    let steps = |steps: f32| Tensor::<1>::from_floats([steps], &device().inner());
    let begun = begun_clusters(&points, &real, &steps(0.0), &state);
    if skipped(&begun) {
        return;
    }
    let [centres, variance] = begun.unwrap().map(floats);
    let values = floats(points.clone());
    let member: Vec<bool> = floats(real.clone()).iter().map(|real| *real != 0.0).collect();
    let before = floats(state.centres.clone());
    for at in 0..count * width {
        let channel = at % width;
        let centre = mean(&values, width, &member, channel);
        let squares: Vec<f32> = values.iter().map(|x| (x - centre).powi(2)).collect();
        let spread = mean(&squares, width, &member, channel);
        close("variance", &variance[at..=at], &[spread], 1e-6);
        close("centre", &centres[at..=at], &[centre + before[at] * spread.sqrt()], 1e-5);
    }
    let later = begun_clusters(&points, &real, &steps(1.0), &state).unwrap();
    assert_eq!(floats(later[0].clone()), before);
    assert_eq!(floats(later[1].clone()), floats(state.variance));
}

#[test]
fn draws_have_their_distribution_and_follow_the_seed() {
    let like = random([1]);
    let drawn = |how: Draw, seed: u64| draw([40_000], how, seed, &like);
    if skipped(&drawn(Draw::Normal { std: 1.0 }, 0)) {
        return;
    }
    let numbers = |how, seed| floats::<1>(drawn(how, seed).unwrap());
    let moments = |values: &[f32]| {
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let square = values.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / values.len() as f32;
        (mean, square.sqrt())
    };
    for (how, mean, std) in [
        (Draw::Normal { std: 0.5 }, 0.0, 0.5),
        (Draw::Uniform { low: -1.0, high: 3.0 }, 1.0, 4.0 / 12f32.sqrt()),
        (Draw::Kept { p: 0.25, value: 2.0 }, 1.5, 2.0 * (0.25f32 * 0.75).sqrt()),
    ] {
        let values = numbers(how, 7);
        let (found_mean, found_std) = moments(&values);
        assert!((found_mean - mean).abs() < 0.02, "{how:?}: mean {found_mean}");
        assert!((found_std - std).abs() < 0.02, "{how:?}: standard deviation {found_std}");
        assert_eq!(values, numbers(how, 7), "{how:?}");
        assert_ne!(values, numbers(how, 8), "{how:?}");
        // Neighbours are not alike.
        let products = values.windows(2).map(|two| (two[0] - mean) * (two[1] - mean));
        let together = products.sum::<f32>() / values.len() as f32 / (std * std);
        assert!(together.abs() < 0.02, "{how:?}: {together}");
    }
    let kept = numbers(Draw::Kept { p: 0.25, value: 2.0 }, 1);
    assert!(kept.iter().all(|value| [0.0, 2.0].contains(value)));
    let range = numbers(Draw::Uniform { low: -1.0, high: 3.0 }, 1);
    assert!(range.iter().all(|value| (-1.0..3.0).contains(value)));
    let normal = numbers(Draw::Normal { std: 1.0 }, 1);
    assert!(normal.iter().all(|value| value.abs() < 7.0));
    assert!(drawn(Draw::Normal { std: 1.0 }, 0).unwrap().is_autodiff());
}

#[test]
fn every_finite_half_is_widened_to_its_bits() {
    let f16 = |bits: u16| f16::from_bits(bits).to_f32();
    let bf16 = |bits: u16| bf16::from_bits(bits).to_f32();
    let kinds: [(DType, &dyn Fn(u16) -> f32); 2] = [(DType::F16, &f16), (DType::BF16, &bf16)];
    for (dtype, wide) in kinds {
        let halves: Vec<u16> = (0..=u16::MAX).filter(|bits| wide(*bits).is_finite()).collect();
        let bytes: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
        let stored = StoredHalves { bytes: &bytes, dtype, columns: None };
        let found = widened(stored, [halves.len()], &device());
        if skipped(&found) {
            return;
        }
        let found = found.unwrap();
        assert!(found.is_autodiff());
        let expected: Vec<u32> = halves.iter().map(|half| wide(*half).to_bits()).collect();
        let found: Vec<u32> = floats(found).iter().map(|value| value.to_bits()).collect();
        assert_eq!(found, expected, "{dtype:?}");
    }
}

#[test]
fn stored_halves_are_transposed_as_they_are_widened() {
    for [rows, columns] in [[1, 1], [3, 5], [31, 8]] {
        let halves: Vec<bf16> = (0..rows * columns).map(|i| bf16::from_f32(i as f32)).collect();
        let bytes: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
        let stored = StoredHalves { bytes: &bytes, dtype: DType::BF16, columns: Some(columns) };
        let found = widened(stored, [columns, rows], &device());
        if skipped(&found) {
            return;
        }
        let place = |i: usize| (i % rows) * columns + i / rows;
        let expected: Vec<f32> = (0..rows * columns).map(|i| place(i) as f32).collect();
        assert_eq!(floats(found.unwrap()), expected, "{rows} x {columns}");
    }
}
