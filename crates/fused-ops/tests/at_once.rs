//! What GPUs do at once equals what it is composed of: the operations of mixtures, and steps of AdamW.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use burn::optim::{AdamWConfig, Optimizer};
use burn::tensor::activation::softmax;
use burn::tensor::{Distribution, Tensor};
use fused_ops::{
    AdamWStep, DownPart, ExpertDropout, ExpertSum, adamw_steps, add_experts, add_experts_composed,
    down_experts, down_experts_composed, down_together, fan_out, kept_shares, kept_shares_composed,
    linear, linear_add_experts, one_by_one, one_by_one_composed, squared_sum, top_k_mask,
    top_k_shares,
};
use support::{close, device, floats, random, same};

/// Sums of so many products of numbers up to 3.
fn allowed(terms: usize) -> f32 {
    4e-6 * (terms as f32).sqrt().max(1.0) * 3.0
}

/// Values and the gradients of all inputs, which have different shapes.
fn all_close(
    what: &str,
    inputs: &[Tensor<3>],
    terms: usize,
    op: impl Fn(&[Tensor<3>]) -> Tensor<2>,
    composed: impl Fn(&[Tensor<3>]) -> Tensor<2>,
) {
    let slopes = random(composed(inputs).dims());
    let run = |op: &dyn Fn(&[Tensor<3>]) -> Tensor<2>| {
        let inputs: Vec<_> = inputs.iter().map(|x| x.clone().detach().require_grad()).collect();
        let y = op(&inputs);
        let grads = (y.clone() * slopes.clone()).sum().backward();
        let mut all = vec![floats(y)];
        all.extend(inputs.iter().map(|x| floats(x.grad(&grads).unwrap())));
        all
    };
    for (i, (found, expected)) in run(&op).iter().zip(&run(&composed)).enumerate() {
        close(&format!("{what}, {i}"), found, expected, allowed(terms));
    }
}

#[test]
fn what_experts_make_of_inputs_is_the_composed_formula() {
    for [tokens, inputs, experts, rank] in [[1, 1, 1, 1], [7, 5, 3, 2], [65, 130, 8, 4]] {
        let factors = [random([1, tokens, inputs]), random([experts, rank, inputs])];
        let dropout = |experts| Some(ExpertDropout { p: 0.3, seed: u64::MAX, experts });
        for dropout in [None, dropout(None), dropout(Some(experts))] {
            all_close(
                &format!("{dropout:?}"),
                &factors,
                inputs.max(tokens),
                |all| down_experts(all[0].clone().squeeze_dim(0), all[1].clone(), dropout),
                |all| down_experts_composed(all[0].clone().squeeze_dim(0), all[1].clone(), dropout),
            );
        }
        // Constant inputs, as the first layer has, and constant factors.
        let [x, a] = factors;
        let (flat, terms) = (x.squeeze_dim::<2>(0), tokens.max(inputs));
        let (of_a, of_x) = (
            |all: &[Tensor<3>]| all[0].clone(),
            |all: &[Tensor<3>]| all[0].clone().squeeze_dim::<2>(0),
        );
        all_close(
            "factors",
            std::slice::from_ref(&a),
            terms,
            |all| down_experts(flat.clone(), of_a(all), None),
            |all| down_experts_composed(flat.clone(), of_a(all), None),
        );
        all_close(
            "inputs",
            &[flat.clone().unsqueeze()],
            terms,
            |all| down_experts(of_x(all), a.clone(), None),
            |all| down_experts_composed(of_x(all), a.clone(), None),
        );
    }
}

#[test]
fn factors_that_read_the_same_make_of_it_what_each_does() {
    for ([tokens, inputs], rows) in [
        ([7, 5], vec![[3, 2, 0], [1, 4, 0]]),
        ([33, 70], vec![[8, 1, 0], [4, 3, 1], [8, 1, 0], [2, 5, 2], [8, 1, 0]]),
        // More than one kernel takes.
        ([9, 16], vec![[2, 2, 1]; 9]),
    ] {
        let mut all = vec![random([1, tokens, inputs])];
        all.extend(rows.iter().map(|[experts, rank, _]| random([*experts, *rank, inputs])));
        let parts = |all: &[Tensor<3>]| {
            let parts = all[1..].iter().zip(&rows).zip(0..);
            let part = |((a, [experts, _, masks]), seed): ((&Tensor<3>, &[usize; 3]), u64)| {
                let own = (*masks == 2).then_some(*experts);
                let dropout = ExpertDropout { p: 0.4, seed, experts: own };
                DownPart { a: a.clone(), dropout: (*masks > 0).then_some(dropout) }
            };
            parts.map(part).collect::<Vec<_>>()
        };
        let x = |all: &[Tensor<3>]| all[0].clone().squeeze_dim::<2>(0);
        // The last is not looked at, as where a result is not needed.
        let beside = |mut results: Vec<Tensor<2>>| {
            results.truncate(rows.len() - 1);
            Tensor::cat(results, 1)
        };
        all_close(
            &format!("{rows:?}"),
            &all,
            (inputs * rows.len()).max(tokens),
            |all| beside(down_together(x(all), parts(all))) + 0.0 * last(x(all), parts(all)),
            |all| {
                let each = |part: DownPart| down_experts_composed(x(all), part.a, part.dropout);
                beside(parts(all).into_iter().map(each).collect()) + 0.0 * last(x(all), parts(all))
            },
        );
    }
}

/// Something of the last factor, so that it has a gradient.
fn last(x: Tensor<2>, mut parts: Vec<DownPart>) -> Tensor<2> {
    let a = parts.pop().unwrap().a;
    down_experts_composed(x, a, None).sum().reshape([1, 1])
}

#[test]
fn gradients_of_copies_are_added_up() {
    for (shape, count) in [([1, 3, 5], 1), ([2, 7, 9], 5), ([1, 4, 4], 31)] {
        let factors: Vec<Tensor<3>> = (0..count).map(|_| random(shape)).collect();
        let of = |copies: Vec<Tensor<3>>| {
            let terms =
                copies.into_iter().zip(&factors).map(|(copy, factor)| copy * factor.clone());
            let [a, b, c] = shape;
            terms.reduce(|sum, term| sum + term).unwrap().reshape([a * b, c])
        };
        all_close(
            &format!("{count}"),
            &[random(shape)],
            count,
            // One more than is used.
            |all| of(fan_out(all[0].clone(), count + 1)),
            |all| of(vec![all[0].clone(); count]),
        );
    }
}

#[test]
fn what_experts_add_is_the_composed_formula() {
    // The last rank is none that cubes of units are made of.
    for [tokens, outputs, experts, rank] in
        [[1, 1, 1, 1], [6, 5, 3, 2], [66, 131, 8, 4], [90, 17, 2, 16], [5, 9, 4, 3]]
    {
        let flat = |tensor: &Tensor<3>| tensor.clone().squeeze_dim::<2>(0);
        // Weights of other experts before theirs, too.
        for (width, others) in [(experts * rank, 0), (rank, 0), (experts * rank, 2), (rank, 1)] {
            let tensors = [
                random([1, tokens, outputs]),
                random([1, tokens, width]),
                random([experts, outputs, rank]),
                random([1, tokens, others + experts]),
            ];
            for factors in [None, Some(random([experts]))] {
                let sum = |all: &[Tensor<3>]| ExpertSum {
                    hidden: flat(&all[1]),
                    weights: all.get(3).map(flat),
                    b: all[2].clone(),
                    scaling: 1.7,
                    factors: factors.clone(),
                };
                for count in [3, 4] {
                    all_close(
                        &format!("{width} {others} {count}"),
                        &tensors[..count],
                        3 * tokens.max(outputs),
                        |all| add_experts(flat(&all[0]), sum(all)),
                        |all| add_experts_composed(flat(&all[0]), sum(all)),
                    );
                }
                let (x, weight) = (random([tokens, 4]), random([4, outputs]));
                let whole = linear_add_experts(x.clone(), weight.clone(), None, sum(&tensors));
                let apart = add_experts_composed(linear(x, weight, None), sum(&tensors));
                close("with the linear", &floats(whole), &floats(apart), allowed(3 * tokens));
            }
        }
    }
}

#[test]
fn selections_are_the_composed_formulas() {
    for [tokens, experts, k] in [[1, 1, 1], [9, 5, 2], [130, 8, 3]] {
        // With equal ones among them.
        let scores = random::<2>([tokens, experts]).inner().round();
        let mut expected = Vec::new();
        for row in floats(scores.clone()).chunks(experts) {
            let mut order: Vec<usize> = (0..experts).collect();
            order.sort_by(|a, b| row[*b].partial_cmp(&row[*a]).unwrap().then(a.cmp(b)));
            expected.extend((0..experts).map(|e| f32::from(u8::from(order[..k].contains(&e)))));
        }
        let mask =
            Tensor::<1>::from_floats(expected.as_slice(), &device()).reshape([tokens, experts]);
        match top_k_mask(&scores, k) {
            Some(found) => close("mask", &floats(found), &expected, 0.0),
            None => println!("skipped: no kernel of top-k on this device"),
        }
        let found = floats(one_by_one(mask.clone(), k));
        assert_eq!(found, floats(one_by_one_composed(mask.clone(), k)));
        // One more than there are to select.
        let more = floats(one_by_one(mask.clone(), k + 1));
        assert_eq!(more.iter().sum::<f32>(), (tokens * k) as f32);
        let p = softmax(random([tokens, experts]), 1);
        same(
            [p.clone()],
            |[p]| kept_shares(p, mask.clone()),
            |[p]| kept_shares_composed(p, mask.clone()),
        );
        // Of the probabilities, of the weights and of both.
        for (of_p, of_w) in [(1.0, 0.0), (0.0, 1.0), (0.3, 0.7)] {
            let of_both = |[p, w]: [Tensor<2>; 2]| match (of_p, of_w) {
                (1.0, _) => p,
                (_, 1.0) => w,
                _ => p * of_p + w * of_w,
            };
            same(
                [scores.clone().autodiff()],
                |[x]| match top_k_shares(&x, k) {
                    Some(found) => of_both([found.probabilities, found.weights]),
                    None => of_both([softmax(x.clone(), 1), shares_of(x, &mask)]),
                },
                |[x]| of_both([softmax(x.clone(), 1), shares_of(x, &mask)]),
            );
        }
        let nothing = mask.zeros_like();
        same(
            [p],
            |[p]| kept_shares(p, nothing.clone()),
            |[p]| kept_shares_composed(p, nothing.clone()),
        );
    }
}

fn shares_of(logits: Tensor<2>, mask: &Tensor<2>) -> Tensor<2> {
    kept_shares_composed(softmax(logits, 1), mask.clone())
}

/// More than one kernel gathers at once, of one element and of many.
const SIZES: [usize; 17] = [1, 280, 3, 64, 65, 7, 2, 300, 5, 1, 1, 63, 128, 9, 4, 1000, 33];

#[test]
fn steps_of_adamw_are_burns() {
    let device = device().inner();
    let random = || {
        let uniform = Distribution::Uniform(-1.0, 1.0);
        SIZES.map(|size| Tensor::<1>::random([size], uniform, &device)).to_vec()
    };
    let adamw = AdamWConfig::new().with_weight_decay(0.01).build();
    let mut found = random();
    let mut expected: Vec<_> = found.iter().map(|parameter| (parameter.clone(), None)).collect();
    let mut moments: Option<[Vec<Tensor<1>>; 2]> = None;
    for time in 1..=3 {
        let grads = random();
        for ((parameter, state), grad) in expected.iter_mut().zip(&grads) {
            let grad = grad.clone() * 0.5;
            (*parameter, *state) = adamw.step(1e-2, parameter.clone(), grad, state.take());
        }
        let step = AdamWStep {
            gradient_scale: 0.5,
            learning_rate: 1e-2,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-5,
            weight_decay: 0.01,
            time,
        };
        let known = moments.as_ref().map(|[first, second]| [first.as_slice(), second.as_slice()]);
        let Some([parameters, first, second]) = adamw_steps(&found, &grads, known, step) else {
            println!("skipped: no kernel of AdamW on this device");
            return;
        };
        // What is held in one buffer is still a tensor of its own.
        let doubled = parameters[1].clone() * 2.0;
        close("parts", &floats(doubled / 2.0), &floats(parameters[1].clone()), 1e-7);
        (found, moments) = (parameters, Some([first, second]));
    }
    for (found, (expected, _)) in found.into_iter().zip(expected) {
        close("parameter", &floats(found), &floats(expected), 2e-6);
    }
}

#[test]
fn squares_are_summed() {
    let values: Vec<Tensor<1>> = SIZES.iter().map(|size| random([*size]).inner()).collect();
    let expected: f32 = values.iter().flat_map(|x| floats(x.clone())).map(|x| x * x).sum();
    let found = squared_sum(&values).unwrap().into_scalar::<f32>();
    assert!((found - expected).abs() <= 1e-5 * expected, "{found}, expected {expected}");
    assert!(squared_sum(&[]).is_none());
}
