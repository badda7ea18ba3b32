use burn::module::Param;
use burn::tensor::{DType, Device, Tensor};

use super::*;
use crate::select::Crossing;
use crate::{GateInit, Reach, Scope};

fn scopes() -> [Scope; 3] {
    [Scope::Token, Scope::Sequence, Scope::Task { num_tasks: 3 }]
}

/// The strategies whose weights sum to 1 whatever the token.
const NORMALISED: [&str; 9] = [
    "uniform",
    "dense",
    "top_k",
    "noisy_top_k",
    "sparsegen",
    "sparsegen with a network",
    "sigmoid",
    "sliding_cluster",
    "sliding_cluster of samples",
];

#[test]
fn weights_are_f32_not_negative_and_zero_where_not_selected() {
    let x = normal([12, HIDDEN], 2.0, 1, &Device::flex());
    for (name, config) in strategies(&GateConfig::default()) {
        let routing = router(&config).route(x.clone(), &BatchContext::new(3, 4).with_training(1));
        assert_eq!(routing.weights.dtype(), DType::F32, "{name}");
        let all = rows(&routing.weights);
        assert!(all.iter().flatten().all(|weight| *weight >= 0.0), "{name}");
        let Some(_) = &routing.selection else { continue };
        for (row, selected) in all.iter().zip(selection(&routing)) {
            let consistent = row.iter().zip(&selected).all(|(w, s)| *s || *w == 0.0);
            assert!(consistent, "{name} {row:?} {selected:?}");
            if let Some(k) = routing.top_k {
                let count = selected.iter().filter(|s| **s).count();
                // A token may find no room.
                assert!(count == k || (name == "switch" && count < k), "{name}");
            }
        }
    }
}

/// More rows than are few are decided by operations on tensors, few ones on the host.
#[test]
fn few_tokens_are_routed_as_among_many() {
    let x = normal([40, HIDDEN], 2.0, 7, &Device::flex());
    for (name, config) in strategies(&GateConfig::default()) {
        let router = router(&config);
        if router.reach() != Reach::Token {
            continue;
        }
        let all = router.route(x.clone(), &BatchContext::new(1, 40));
        for first in [0, 5, 35] {
            let few = router.route(x.clone().narrow(0, first, 5), &BatchContext::new(1, 5));
            let of_all = |tensor: &Tensor<2>| rows(&tensor.clone().narrow(0, first, 5));
            assert!(close(&rows(&few.logits), &of_all(&all.logits)), "{name}");
            assert!(close(&rows(&few.probabilities), &of_all(&all.probabilities)), "{name}");
            assert!(close(&rows(&few.weights), &of_all(&all.weights)), "{name}");
            assert_eq!(few.top_k, all.top_k, "{name}");
            let selected =
                |routing: &Routing| routing.selection.is_some().then(|| selection(routing));
            let expected = selected(&all).map(|all| all[first..first + 5].to_vec());
            assert_eq!(selected(&few), expected, "{name}");
            let numbers = |tensor: Option<Tensor<1>>| {
                tensor.map(|tensor| vec![floats(&tensor)]).unwrap_or_default()
            };
            let of_all = |tensor: &Option<Tensor<1>>| {
                numbers(tensor.clone().map(|tensor| tensor.narrow(0, first, 5)))
            };
            let distance = numbers(few.extras.distance.clone());
            assert!(close(&distance, &of_all(&all.extras.distance)), "{name}");
            let cluster = |routing: &Routing| routing.extras.cluster.clone().map(|c| c.float());
            assert_eq!(numbers(cluster(&few)), of_all(&cluster(&all)), "{name}");
        }
    }
}

#[test]
fn weights_sum_to_one_where_they_are_normalised_and_probabilities_always() {
    let x = normal([12, HIDDEN], 3.0, 2, &Device::flex());
    for (name, config) in strategies(&GateConfig::default()) {
        let routing = router(&config).route(x.clone(), &BatchContext::new(3, 4));
        let sums = floats(&routing.probabilities.clone().sum_dim(1));
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{name} {sums:?}");
        let sums = floats(&routing.weights.clone().sum_dim(1));
        if NORMALISED.contains(&name) {
            assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{name} {sums:?}");
        }
    }
}

#[test]
fn adamole_weights_sum_to_one_where_any_expert_is_above_the_threshold() {
    let x = normal([12, HIDDEN], 3.0, 2, &Device::flex());
    let config = RouterConfig::Adamole(AdamoleRouterConfig::default());
    let sums = router(&config).route(x, &BatchContext::new(3, 4)).weights.sum_dim(1);
    assert!(floats(&sums).iter().all(|sum| (sum - 1.0).abs() < 1e-5));
}

#[test]
fn permuting_the_rows_of_the_gate_permutes_the_routing() {
    let permutation = [3, 0, 5, 1, 4, 2];
    let x = normal([12, HIDDEN], 2.0, 3, &Device::flex());
    let context = BatchContext::new(3, 4);
    for (name, config) in strategies(&GateConfig::default()) {
        let mut router = router(&config);
        let before = weights(&router, &x, &context);
        let Some(weight) = router.gate_weight_mut() else { continue };
        let rows = permutation.map(|row| weight.val().narrow(0, row, 1));
        *weight = Param::from_tensor(Tensor::cat(rows.to_vec(), 0));
        let after = weights(&router, &x, &context);
        let expected: Vec<Vec<f32>> =
            before.iter().map(|row| permutation.map(|e| row[e]).to_vec()).collect();
        assert!(close(&after, &expected), "{name}\n{after:?}\n{expected:?}");
    }
}

/// Two samples of 3 and 5 tokens, alone and padded to 5 with `padding`.
fn padded(padding: f32) -> (Tensor<2>, BatchContext) {
    let device = Device::flex();
    let tokens = normal([8, HIDDEN], 2.0, 4, &device);
    let first = tokens.clone().narrow(0, 0, 3);
    let filler = Tensor::full([2, HIDDEN], padding, &device);
    let x = Tensor::cat(vec![first, filler, tokens.narrow(0, 3, 5)], 0);
    let mask = [[true, true, true, false, false], [true; 5]];
    let context = BatchContext::new(2, 5).with_token_mask(Tensor::from_data(mask, &device));
    (x, context)
}

fn real(rows: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    rows.into_iter().enumerate().filter(|(t, _)| *t != 3 && *t != 4).map(|(_, row)| row).collect()
}

#[test]
fn what_padding_holds_changes_neither_real_tokens_nor_state() {
    for scope in scopes() {
        for (name, config) in strategies(&GateConfig::default().with_scope(scope)) {
            let results = [0.0, 50.0, f32::NAN].map(|padding| {
                let (x, context) = padded(padding);
                let router = router(&config);
                let rows = weights(&router, &x, &context.with_training(3));
                (real(rows), record(&router))
            });
            assert_eq!(results[0], results[1], "{name} {scope:?}");
            assert_eq!(results[0], results[2], "{name} {scope:?}");
        }
    }
}

#[test]
fn how_much_padding_there_is_changes_neither_real_tokens_nor_state() {
    let device = Device::flex();
    let tokens = normal([3, HIDDEN], 2.0, 5, &device);
    let filler = Tensor::full([4, HIDDEN], 9.0, &device);
    let x = Tensor::cat(vec![tokens.clone(), filler], 0);
    let mask = [[true, true, true, false, false, false, false]];
    let padded = BatchContext::new(1, 7).with_token_mask(Tensor::from_data(mask, &device));
    for scope in scopes() {
        for (name, config) in strategies(&GateConfig::default().with_scope(scope)) {
            let (alone, with_padding) = (router(&config), router(&config));
            let context = BatchContext::new(1, 3);
            let short = weights(&alone, &tokens, &context);
            let long = weights(&with_padding, &x, &padded);
            assert!(close(&short, &long[..3]), "{name} {scope:?}\n{short:?}\n{long:?}");
            // Noise depends on the shape of a batch, so its state is compared alone.
            if name != "noisy_top_k" {
                weights(&alone, &tokens, &context.with_training(1));
                weights(&with_padding, &x, &padded.clone().with_training(1));
                assert!(close(&record(&alone), &record(&with_padding)), "{name} {scope:?}");
            }
        }
    }
}

#[test]
fn selecting_every_expert_is_dense() {
    let gate = GateConfig::default;
    let all = [
        RouterConfig::TopK(TopKRouterConfig { k: EXPERTS, ..Default::default() }),
        RouterConfig::NoisyTopK(NoisyTopKRouterConfig { k: EXPERTS, gate: gate() }),
        RouterConfig::TopP(TopPRouterConfig { p: 1.0, ..Default::default() }),
        RouterConfig::TopP(TopPRouterConfig { p: 1.0, inclusive: false, ..Default::default() }),
        RouterConfig::TopP(TopPRouterConfig { p: 0.1, min_experts: EXPERTS, ..Default::default() }),
        RouterConfig::Dynmole(DynmoleRouterConfig { min_experts: EXPERTS, ..Default::default() }),
        RouterConfig::Dynmole(DynmoleRouterConfig { entropy_threshold: 0.0, ..Default::default() }),
        RouterConfig::ExpertChoice(ExpertChoiceRouterConfig {
            capacity_factor: EXPERTS as f64,
            gate: gate(),
        }),
        RouterConfig::SlidingCluster(SlidingClusterRouterConfig {
            k: EXPERTS,
            ..Default::default()
        }),
    ];
    let x = normal([12, HIDDEN], 1.0, 6, &Device::flex());
    let context = BatchContext::new(3, 4);
    let dense = weights(&router(&RouterConfig::default()), &x, &context);
    for config in all {
        let found = weights(&router(&config), &x, &context);
        assert!(close(&dense, &found), "{config:?}");
    }
}

/// Gradients of `x` and of the gate for a gate that gives huge or equal logits.
#[test]
fn gradients_are_finite_for_huge_and_for_equal_logits() {
    let device = Device::flex().autodiff();
    for (case, std, init) in
        [("huge", 1e4, GateInit::KaimingUniform), ("equal", 1.0, GateInit::Zeros)]
    {
        for (name, config) in strategies(&GateConfig::default().with_init(init)) {
            let shape = RouterShape::new(HIDDEN, EXPERTS).with_identity_experts(2);
            let mut rng = SmallRng::seed_from_u64(7);
            let mut router = config.init(&shape, &mut rng, &device).unwrap();
            if let Some(weight) = router.gate_weight_mut()
                && case == "huge"
            {
                *weight = Param::from_tensor(normal([EXPERTS, HIDDEN], 1.0, 8, &device));
            }
            let x = normal([12, HIDDEN], std, 9, &device).require_grad();
            let routing = router.route(x.clone(), &BatchContext::new(3, 4).with_training(2));
            let mut loss = (routing.weights.clone() * normal([12, EXPERTS], 1.0, 10, &device))
                .sum()
                + routing.probabilities.clone().powi_scalar(2).sum();
            if let Some(entropy) = routing.extras.entropy.clone() {
                loss = loss + entropy.sum();
            }
            let Some(weight) = router.gate_weight() else { continue };
            assert!(floats(&routing.weights).iter().all(|v| v.is_finite()), "{name} {case}");
            let grads = loss.backward();
            let of_gate = floats(&weight.val().grad(&grads).unwrap());
            assert!(of_gate.iter().all(|v| v.is_finite()), "{name} {case} {of_gate:?}");
            let of_x = floats(&x.grad(&grads).unwrap());
            assert!(of_x.iter().all(|v| v.is_finite()), "{name} {case} {of_x:?}");
        }
    }
}

#[test]
fn equal_scores_select_the_first_experts() {
    let gate = GateConfig::default().with_init(GateInit::Zeros);
    let x = normal([4, HIDDEN], 1.0, 11, &Device::flex());
    let context = BatchContext::new(1, 4);
    for (name, config) in strategies(&gate) {
        let found = weights(&router(&config), &x, &context);
        let expected = match name {
            "top_k" | "noisy_top_k" | "sigmoid" | "sliding_cluster" => {
                vec![vec![0.5, 0.5, 0.0, 0.0, 0.0, 0.0]; 4]
            }
            // 5/6 is more than 0.8, 4/6 is not.
            "top_p" => vec![[[1.0 / 6.0; 5].as_slice(), &[0.0]].concat(); 4],
            _ => continue,
        };
        assert!(close(&found, &expected), "{name} {found:?}");
    }
}

#[test]
fn evaluation_is_deterministic_and_moves_no_state() {
    let gate = GateConfig { input_jitter: 0.2, input_dropout: 0.2, ..Default::default() };
    let x = normal([12, HIDDEN], 1.0, 12, &Device::flex());
    let context = BatchContext::new(3, 4);
    for (name, config) in strategies(&gate) {
        let router = router(&config);
        let before = record(&router);
        let (first, second) = (weights(&router, &x, &context), weights(&router, &x, &context));
        assert_eq!(first, second, "{name}");
        assert_eq!(before, record(&router), "{name}");
    }
}

#[test]
fn a_seed_decides_what_is_random_in_training() {
    let gate = GateConfig { input_jitter: 0.2, input_dropout: 0.2, ..Default::default() };
    let x = normal([12, HIDDEN], 1.0, 13, &Device::flex());
    for (name, config) in strategies(&gate) {
        let routed = |seed| {
            let context = BatchContext::new(3, 4).with_training(seed);
            weights(&router(&config), &x, &context)
        };
        assert_eq!(routed(1), routed(1), "{name}");
        if name != "uniform" {
            assert_ne!(routed(1), routed(2), "{name}");
        }
    }
}

#[test]
fn half_precision_activations_are_routed_in_f32() {
    let x = normal([4, HIDDEN], 1.0, 14, &Device::flex());
    for (name, config) in strategies(&GateConfig::default()) {
        let half: Tensor<2> = x.clone().cast(DType::BF16);
        let routing = router(&config).route(half, &BatchContext::new(1, 4).with_training(0));
        for tensor in [&routing.logits, &routing.probabilities, &routing.weights] {
            assert_eq!(tensor.dtype(), DType::F32, "{name}");
        }
    }
}

#[test]
fn top_p_keeps_or_drops_the_expert_that_crosses() {
    let p = Tensor::<2>::from_data([[0.1, 0.5, 0.25, 0.15]], &Device::flex());
    let selected = |p_max, crossing, min| {
        let mask = crate::select::top_p(p.clone(), p_max, crossing, min);
        floats(&mask.float())
    };
    assert_eq!(selected(0.7, Crossing::Kept, 1), [0.0, 1.0, 1.0, 0.0]);
    assert_eq!(selected(0.7, Crossing::Dropped, 1), [0.0, 1.0, 0.0, 0.0]);
    assert_eq!(selected(0.3, Crossing::Dropped, 1), [0.0, 1.0, 0.0, 0.0]);
    assert_eq!(selected(0.3, Crossing::Dropped, 3), [0.0, 1.0, 1.0, 1.0]);
}
