//! Every operation equals its composed form, in values and gradients.

#![allow(clippy::unwrap_used)]

mod support;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use fused_ops::{
    RotaryTables, cross_entropy, cross_entropy_composed, dropout, gate_experts,
    gate_experts_composed, matmul, rms_norm, rms_norm_composed, rope_heads, rope_heads_composed,
    scale_up, scale_up_composed, silu_mul, silu_mul_composed, softmax_masked,
    softmax_masked_composed, softmax_rows,
};
use support::{close, device, floats, random, run, same};

fn gated([gate, up]: [Tensor<3>; 2]) -> Tensor<3> {
    silu_mul(gate, up)
}

fn gated_composed([gate, up]: [Tensor<3>; 2]) -> Tensor<3> {
    silu_mul_composed(gate, up)
}

#[test]
fn silu_mul_is_the_composed_formula() {
    for shape in [[1, 1, 1], [2, 3, 7], [3, 50, 333]] {
        same([random(shape), random(shape)], gated, gated_composed);
    }
    let extreme = [-500.0, -100.0, -88.0, -80.0, -20.0, -0.0, 0.0, 1e-20, 20.0, 80.0, 88.0, 500.0];
    let gate = Tensor::<1>::from_data(TensorData::from(extreme), &device()).reshape([1, 3, 4]);
    same([gate, random([1, 3, 4])], gated, gated_composed);
    // Views: a swap, and a slice that does not start its buffer.
    let whole = random([5, 4, 6]);
    let views = [whole.clone().swap_dims(0, 1), whole.narrow(0, 1, 4).reshape([4, 6, 4])];
    let [swapped, sliced] = views;
    same([swapped.clone(), swapped], gated, gated_composed);
    same([sliced.clone(), sliced], gated, gated_composed);
}

#[test]
fn one_tracked_input_is_enough() {
    let up = random([2, 3, 5]);
    same(
        [random([2, 3, 5])],
        |[x]| silu_mul(x, up.clone()),
        |[x]| silu_mul_composed(x, up.clone()),
    );
    same(
        [random([2, 3, 5])],
        |[x]| silu_mul(up.clone(), x),
        |[x]| silu_mul_composed(up.clone(), x),
    );
}

#[test]
fn an_input_that_is_used_again_keeps_its_values() {
    let op = |[x, u]: [Tensor<3>; 2]| silu_mul(x.clone(), u.clone()) * x + u;
    let composed = |[x, u]: [Tensor<3>; 2]| silu_mul_composed(x.clone(), u.clone()) * x + u;
    same([random([2, 3, 5]), random([2, 3, 5])], op, composed);

    let op = |[x]: [Tensor<4>; 1]| softmax_masked(x.clone(), None) * x;
    let composed = |[x]: [Tensor<4>; 1]| softmax_masked_composed(x.clone(), None) * x;
    same([random([1, 2, 3, 40])], op, composed);
}

fn causal(queries: usize, keys: usize) -> Tensor<4> {
    let ahead = Tensor::<2>::ones([queries, keys], &device()).triu((keys - queries) as i64 + 1);
    (ahead * -1e30).reshape([1, 1, queries, keys])
}

#[test]
fn softmax_is_the_composed_formula() {
    let padding = Tensor::<1>::from_floats([0.0, -1e30, 0.0], &device()).reshape([3, 1, 1, 1]);
    let start = random([1, 1, 5, 70]).lower_elem(0.0).float() * -1e30;
    let masks = [
        None,
        Some(random([1, 1, 5, 70])),
        Some(random([3, 1, 1, 70])),
        Some(random([3, 2, 5, 70])),
        Some(start.clone()),
        Some(causal(5, 70)),
        // The second batch is hidden altogether.
        Some(causal(5, 70) + padding),
    ];
    for mask in masks {
        for scores in [random([3, 2, 5, 70]), random([3, 2, 5, 70]) * 30.0] {
            let fused = |[x]: [Tensor<4>; 1]| softmax_masked(x, mask.clone());
            let composed = |[x]: [Tensor<4>; 1]| softmax_masked_composed(x, mask.clone());
            same([scores], fused, composed);
        }
    }
    let equal = Tensor::<4>::ones([2, 2, 3, 33], &device()) * 80.0;
    same([equal], |[x]| softmax_masked(x, None), |[x]| softmax_masked_composed(x, None));
    let swapped = random([2, 9, 2, 4]).swap_dims(1, 3);
    same([swapped], |[x]| softmax_masked(x, None), |[x]| softmax_masked_composed(x, None));
    // More rows than one task has.
    let mask = Some(causal(300, 300));
    let fused = |[x]: [Tensor<4>; 1]| softmax_masked(x, mask.clone());
    let composed = |[x]: [Tensor<4>; 1]| softmax_masked_composed(x, mask.clone());
    same([random([2, 2, 300, 300])], fused, composed);
}

#[test]
fn hidden_positions_have_no_weight() {
    let y = floats(softmax_masked(random([1, 1, 4, 4]), Some(causal(4, 4))));
    for (query, row) in y.chunks(4).enumerate() {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(row[query + 1..].iter().all(|&weight| weight == 0.0));
    }
}

#[test]
fn rms_norm_is_the_composed_formula() {
    for (rows, width) in [(1, 1), (5, 33), (200, 512)] {
        let weight = random([width]);
        for scale in [1.0, 1e-4, 1e4] {
            // Away from 0, where the gradient of few features is the difference of large numbers.
            let x = random([2, rows, width]);
            let x = (x.clone() + x.sign()) * scale;
            // Gradients grow with 1 / scale; this keeps them, and with it the tolerance, near 1.
            let fused = |[x]: [Tensor<3>; 1]| rms_norm(x, weight.clone(), 1e-6);
            let composed = |[x]: [Tensor<3>; 1]| rms_norm_composed(x, weight.clone(), 1e-6);
            if scale < 1.0 {
                let (fused, composed) = (fused([x.clone()]), composed([x]));
                close("value", &floats(fused), &floats(composed), 2e-6);
            } else {
                same([x], fused, composed);
            }
        }
    }
    let zero = Tensor::<3>::zeros([1, 2, 40], &device());
    let found =
        run(&[zero], &random([1, 2, 40]), |[x]| rms_norm(x, Tensor::ones([40], &device()), 1e-6));
    assert!(found.iter().flatten().all(|x| x.is_finite()));
}

#[test]
fn rms_norm_has_the_gradient_of_its_weight() {
    let x = random([3, 100, 96]);
    let frozen = |[w]: [Tensor<1>; 1]| rms_norm(x.clone(), w, 1e-6);
    let frozen_composed = |[w]: [Tensor<1>; 1]| rms_norm_composed(x.clone(), w, 1e-6);
    let weight = random(x.dims());
    let found = run(&[random([96]).ones_like()], &weight, frozen);
    let expected = run(&[random([96]).ones_like()], &weight, frozen_composed);
    close("value", &found[0], &expected[0], 2e-6);
    // A sum of 300 terms of size 1.
    close("gradient", &found[1], &expected[1], 1e-4);
}

#[test]
fn rope_is_the_composed_formula() {
    for (s, d) in [(1, 2), (7, 6), (40, 64)] {
        // One table for all rows, and one for each.
        for rows in [1, 3] {
            // Without the symmetry of real tables.
            let tables = RotaryTables::new(random([rows * s, d]), random([rows * s, d]));
            let fused = |[x]: [Tensor<4>; 1]| rope_heads(x, &tables);
            let composed = |[x]: [Tensor<4>; 1]| rope_heads_composed(x, &tables);
            same([random([3, s, 5, d])], fused, composed);
            same([random([3, s, d, 5]).swap_dims(2, 3)], fused, composed);
        }
    }
}

#[test]
fn recomputed_inputs_give_the_same_gradients() {
    let device = Device::flex().autodiff().gradient_checkpointing();
    let gradients = |fused: bool, device: &Device| {
        let values = |n: i32| (0..n).map(|i| (i as f32 * 0.7).sin()).collect::<Vec<_>>();
        let data = TensorData::new(values(2 * 3 * 4 * 8), [2, 3, 4, 8]);
        let x = Tensor::<4>::from_data(data, device).require_grad();
        let weight = Tensor::<1>::from_data(TensorData::new(values(8), [8]), device);
        // Sums and products around, whose inputs are recomputed.
        let h = x.clone() * 2.0 + 1.0;
        let y = match fused {
            true => {
                let h = rms_norm(h.clone() + weight.clone().unsqueeze(), weight, 1e-5);
                softmax_masked(silu_mul(h.clone() * 3.0, h), None)
            }
            false => {
                let h = rms_norm_composed(h.clone() + weight.clone().unsqueeze(), weight, 1e-5);
                softmax_masked_composed(silu_mul_composed(h.clone() * 3.0, h), None)
            }
        };
        let y = y.clone() * y * x.clone();
        floats(x.grad(&y.sum().backward()).unwrap())
    };
    let expected = gradients(false, &Device::flex().autodiff());
    close("gradient", &gradients(true, &device), &expected, 2e-6);
}

#[test]
fn other_element_types_take_the_composed_formula() {
    use burn::tensor::DType;
    let x = random([2, 3, 8]);
    let half = x.clone().cast(DType::F16);
    let y = silu_mul(half.clone(), half.clone());
    assert_eq!(y.dtype(), DType::F16);
    close("value", &floats(y.cast(DType::F32)), &floats(silu_mul(x.clone(), x)), 2e-2);
    let weight = Tensor::<1>::ones([8], &device()).cast(DType::F16);
    assert_eq!(rms_norm(half, weight, 1e-6).dtype(), DType::F16);
}

#[test]
fn nothing_is_tracked_without_a_tracked_input() {
    let y = silu_mul(random([2, 3]), random([2, 3]));
    assert!(!y.is_require_grad());
    let plain = Device::flex();
    let x = Tensor::<2>::ones([2, 3], &plain);
    close("value", &floats(silu_mul(x.clone(), x)), &[0.731_058_6; 6], 1e-6);
}

#[test]
fn cross_entropy_is_the_composed_formula() {
    for (rows, width) in [(1, 1), (3, 17), (70, 1000)] {
        for scale in [1.0, 30.0] {
            let logits = random([rows, width]).inner() * scale;
            let targets: Vec<i64> = (0..rows).map(|row| (row * 7 % width) as i64).collect();
            let targets =
                Tensor::<1, Int>::from_data(TensorData::new(targets, [rows]), &device().inner());
            let kept = floats(logits.clone());
            let (losses, gradient) = cross_entropy(logits.clone(), targets.clone());
            assert_eq!(floats(logits.clone()), kept, "logits that are used elsewhere stay");
            let (expected, expected_gradient) = cross_entropy_composed(logits, targets);
            close("losses", &floats(losses), &floats(expected), 4e-6);
            close("gradient", &floats(gradient), &floats(expected_gradient), 2e-6);
        }
    }
}

#[test]
fn gated_experts_are_the_composed_formula() {
    for [tokens, experts, rank] in [[1, 1, 1], [7, 3, 5], [130, 8, 4]] {
        let weights = random([tokens, experts]);
        let hidden = random([tokens, experts * rank]);
        let fused = |[h]: [Tensor<2>; 1]| gate_experts(h, weights.clone(), rank);
        let composed = |[h]: [Tensor<2>; 1]| gate_experts_composed(h, weights.clone(), rank);
        same([hidden.clone()], fused, composed);
        let fused = |[w]: [Tensor<2>; 1]| gate_experts(hidden.clone(), w, rank);
        let composed = |[w]: [Tensor<2>; 1]| gate_experts_composed(hidden.clone(), w, rank);
        same([weights.clone()], fused, composed);
    }
}

#[test]
fn scaled_factors_are_the_composed_formula() {
    for [experts, outputs, rank] in [[1, 1, 1], [3, 5, 2], [4, 33, 8]] {
        for factors in [None, Some(random([experts]))] {
            let fused = |[b]: [Tensor<3>; 1]| scale_up(b, 1.7, factors.clone());
            let composed = |[b]: [Tensor<3>; 1]| scale_up_composed(b, 1.7, factors.clone());
            same([random([experts, outputs, rank])], fused, composed);
        }
    }
}

#[test]
fn the_softmax_of_rows_is_burns() {
    for shape in [[1, 1], [5, 8], [200, 64], [3, 300]] {
        same([random(shape)], |[x]| softmax_rows(x), |[x]| softmax(x, 1));
    }
}

#[test]
fn products_are_burns() {
    for [m, k, n] in [[1, 1, 1], [3, 5, 2], [64, 33, 130]] {
        let (plain, batched) = (random([k, n]), random([2, 3, k, n]));
        let fused = |[a]: [Tensor<2>; 1]| matmul(a, plain.clone());
        let composed = |[a]: [Tensor<2>; 1]| a.matmul(plain.clone());
        let large = (k as f32).sqrt();
        let weight = random([m, n]);
        let inputs = [random([m, k])];
        let found = run(&inputs, &weight, fused);
        let expected = run(&inputs, &weight, composed);
        for (found, expected) in found.iter().zip(&expected) {
            close("product", found, expected, 4e-6 * large * (n as f32).sqrt());
        }
        // Of views, with gradients of both.
        let b = batched.swap_dims(2, 3);
        let weight = random([2, 3, m, k]);
        let both = |[a, b]: [Tensor<4>; 2]| matmul(a, b.reshape([2, 3, n, k]));
        let both_composed = |[a, b]: [Tensor<4>; 2]| a.matmul(b.reshape([2, 3, n, k]));
        let inputs = [random([2, 3, m, n]), b.reshape([2, 3, n, k])];
        let found = run(&inputs, &weight, both);
        let expected = run(&inputs, &weight, both_composed);
        for (found, expected) in found.iter().zip(&expected) {
            close("batched", found, expected, 6e-6 * (n.max(k).max(m) as f32));
        }
    }
}

#[test]
fn a_seed_drops_the_same_elements_on_every_device() {
    let here = Tensor::<2>::ones([33, 70], &device().inner());
    let host = Tensor::<2>::ones([33, 70], &Device::flex());
    for (p, seed) in [(0.1, 3), (0.5, u64::MAX)] {
        let (found, expected) = (dropout(here.clone(), p, seed), dropout(host.clone(), p, seed));
        assert_eq!(floats(found), floats(expected));
    }
}
