//! Attention by blocks equals attention with the scores of all pairs, in values and gradients.

#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Distribution, Tensor, TensorData};
use fused_ops::{AttentionMask, Causal, Documents, HIDDEN, attention, attention_composed};

/// That which `LORA_MOE_DEVICE` names, by default `flex`.
fn device() -> Device {
    lora_moe::device::device_from_environment().unwrap().autodiff()
}

/// GPUs sum in another order, and their exponentials are less exact.
fn looser() -> f32 {
    if device() == Device::flex().autodiff() { 1.0 } else { 10.0 }
}

fn random(shape: [usize; 4]) -> Tensor<4> {
    Tensor::random(shape, Distribution::Uniform(-1.5, 1.5), &device())
}

fn floats(tensor: Tensor<4>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// The sizes of an attention: batch, heads, groups, queries, keys, size of a head.
type Sizes = [usize; 6];

/// Compares values and the three gradients; `rows` says which queries of each sequence count.
fn compare(
    [b, heads, groups, s, t, d]: Sizes,
    mask: &AttentionMask,
    soft_cap: Option<f64>,
    counts: impl Fn(usize, usize) -> bool,
) {
    let inputs = [[b, heads, s, d], [b, groups, t, d], [b, groups, t, d]].map(random);
    let kept: Vec<f32> = (0..b * s).map(|i| f32::from(counts(i / s, i % s))).collect();
    let kept = Tensor::<4>::from_data(TensorData::new(kept, [b, s, 1, 1]), &device());
    let weight = random([b, s, heads, d]) * kept.clone();
    type Operation = fn(Tensor<4>, Tensor<4>, Tensor<4>, &AttentionMask, Option<f64>) -> Tensor<4>;
    let run = |op: Operation| {
        let [q, k, v] = inputs.clone().map(Tensor::require_grad);
        let y = op(q.clone(), k.clone(), v.clone(), mask, soft_cap);
        assert_eq!(y.dims(), [b, s, heads, d]);
        let grads = (y.clone() * weight.clone()).sum().backward();
        let gradient = |x: &Tensor<4>| floats(Tensor::from_inner(x.grad(&grads).unwrap()));
        [floats(y * kept.clone()), gradient(&q), gradient(&k), gradient(&v)]
    };
    let (found, expected) = (run(attention), run(attention_composed));
    for (name, (found, expected)) in
        ["value", "q", "k", "v"].iter().zip(found.iter().zip(&expected))
    {
        // A cap multiplies the rounding of its tangent.
        let tolerance = looser() * 4e-6 * soft_cap.unwrap_or(1.0).max(1.0) as f32;
        let largest = expected.iter().fold(1.0f32, |a, b| a.max(b.abs()));
        for (i, (a, b)) in found.iter().zip(expected).enumerate() {
            assert!((a - b).abs() <= tolerance * largest, "{name}[{i}]: {a}, expected {b}");
        }
    }
}

fn causal(offset: usize, window: Option<usize>) -> AttentionMask {
    AttentionMask::new(Some(Causal { offset, window }), None)
}

fn everywhere(_: usize, _: usize) -> bool {
    true
}

#[test]
fn blocks_give_what_all_pairs_give() {
    // Less than a block, exactly blocks, and more than blocks of queries and keys.
    for (s, t) in [(17, 17), (64, 256), (70, 300), (130, 513)] {
        compare([2, 3, 3, s, t, 8], &AttentionMask::default(), None, everywhere);
        compare([1, 2, 1, s, t, 20], &causal(t - s, None), None, everywhere);
    }
}

#[test]
fn heads_of_a_group_share_keys() {
    compare([2, 6, 2, 90, 90, 16], &causal(0, None), None, everywhere);
    compare([1, 4, 1, 70, 300, 12], &causal(230, None), None, everywhere);
}

#[test]
fn windows_hide_what_is_far() {
    for window in [1, 5, 64, 100, 299] {
        compare([1, 2, 2, 300, 300, 8], &causal(0, Some(window)), None, everywhere);
        compare([1, 2, 1, 70, 420, 8], &causal(350, Some(window)), None, everywhere);
    }
}

#[test]
fn padding_is_not_seen_on_either_side() {
    let (s, hidden) = (150, HIDDEN as f32);
    // The first is padded on the right, the second on the left, the third in the middle.
    let pads = |row: usize, at: usize| match row {
        0 => at >= 90,
        1 => at < 40,
        2 => (60..75).contains(&at),
        _ => false,
    };
    let bias = (0..4 * s).map(|i| if pads(i / s, i % s) { hidden } else { 0.0 });
    let bias = Tensor::from_data(TensorData::new(bias.collect::<Vec<f32>>(), [4, s]), &device());
    for order in [
        None,
        Some(Causal { offset: 0, window: None }),
        Some(Causal { offset: 0, window: Some(33) }),
    ] {
        let mask = AttentionMask::new(order, Some(bias.clone()));
        compare([4, 4, 2, s, s, 8], &mask, None, |row, at| !pads(row, at));
    }
}

#[test]
fn soft_caps_have_their_slope() {
    for cap in [0.7, 5.0, 50.0] {
        compare([1, 2, 2, 80, 300, 8], &causal(220, None), Some(cap), everywhere);
    }
}

#[test]
fn strided_inputs_are_read_as_they_are() {
    let whole = random([2, 40, 3, 8]);
    let view = whole.clone().swap_dims(1, 2);
    let mask = causal(0, None);
    let found = attention(view.clone(), view.clone(), view.clone(), &mask, None);
    let copy = Tensor::from_data(view.clone().into_data(), &device());
    let expected = attention(copy.clone(), copy.clone(), copy, &mask, None);
    assert_eq!(floats(found), floats(expected));
}

#[test]
fn large_scores_do_not_overflow_and_nan_is_kept() {
    let mask = causal(0, None);
    let q = random([1, 1, 40, 8]) * 300.0;
    let y = floats(attention(q.clone(), q.clone(), q.clone(), &mask, None));
    assert!(y.iter().all(|x| x.is_finite()));
    let broken = q
        .clone()
        .slice_assign([0..1, 0..1, 20..21, 0..1], Tensor::full([1, 1, 1, 1], f32::NAN, &device()));
    let y = floats(attention(broken, q.clone(), q, &mask, None));
    assert!(y[20 * 8..21 * 8].iter().all(|x| x.is_nan()));
    assert!(y[..20 * 8].iter().all(|x| x.is_finite()));
}

#[test]
fn a_bias_that_is_given_is_added() {
    let bias = random([1, 1, 20, 20]) * 2.0;
    let mask = AttentionMask::from_bias(Some(bias));
    compare([2, 2, 1, 20, 20, 8], &mask, None, everywhere);
}

#[test]
fn sequences_of_a_row_do_not_see_each_other() {
    let rows = [vec![30, 1, 45, 60], vec![100, 36], vec![20, 20, 20]];
    let within = |window| causal(0, window).within(Documents::new(&rows, 136));
    let real = |batch: usize, query: usize| query < rows[batch].iter().sum();
    compare([3, 4, 2, 136, 136, 8], &within(None), None, real);
    compare([3, 4, 2, 136, 136, 8], &within(Some(33)), Some(5.0), real);
}

#[test]
fn a_packed_row_attends_as_its_sequences_alone() {
    let lengths = [25usize, 40, 17];
    let s: usize = lengths.iter().sum();
    let [q, k, v] = [[1, 4, s, 8], [1, 2, s, 8], [1, 2, s, 8]].map(random);
    let mask = causal(0, None).within(Documents::new(&[lengths.to_vec()], s));
    let packed = attention(q.clone(), k.clone(), v.clone(), &mask, None);
    let mut start = 0;
    for length in lengths {
        let alone = [&q, &k, &v].map(|x| x.clone().narrow(2, start, length));
        let [q, k, v] = alone;
        let alone = floats(attention(q, k, v, &causal(0, None), None));
        let part = floats(packed.clone().narrow(1, start, length));
        for (a, b) in alone.iter().zip(&part) {
            assert!((a - b).abs() < looser() * 1e-6, "{a} {b}");
        }
        start += length;
    }
}
