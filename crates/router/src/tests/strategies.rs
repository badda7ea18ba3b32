use burn::module::Param;
use burn::tensor::{Device, Tensor};

use super::*;
use crate::{Distance, Entropy, LambdaNetwork, Yielding, select};

#[test]
fn straight_through_weighs_one_with_the_gradient_of_the_probability() {
    let device = Device::flex().autodiff();
    let run = |straight_through| {
        let config =
            TopKRouterConfig { k: 1, renormalise: false, straight_through, ..Default::default() };
        let router = router_on(&RouterConfig::TopK(config), &device);
        let x = normal([5, HIDDEN], 1.0, 1, &device);
        let weights = router.route(x, &BatchContext::new(1, 5)).weights;
        let direction = normal([5, EXPERTS], 1.0, 2, &device);
        let grads = (weights.clone() * direction).sum().backward();
        (rows(&weights), rows(&router.gate_weight().unwrap().val().grad(&grads).unwrap()))
    };
    let ((ones, through), (plain, gradient)) = (run(true), run(false));
    let expected: Vec<Vec<f32>> =
        plain.iter().map(|row| row.iter().map(|p| f32::from(*p > 0.0)).collect()).collect();
    assert!(close(&ones, &expected), "{ones:?}");
    assert!(close(&through, &gradient));
}

#[test]
fn noise_starts_with_the_deviation_of_softplus_of_zero_and_is_for_training_only() {
    let router = router(&RouterConfig::NoisyTopK(NoisyTopKRouterConfig::default()));
    let x = normal([2000, HIDDEN], 1.0, 3, &Device::flex());
    let context = BatchContext::new(1, 2000);
    let clean = router.route(x.clone(), &context).logits;
    let noisy = router.route(x, &context.with_training(4)).logits;
    let noise = floats(&(noisy - clean));
    let std = (noise.iter().map(|n| n * n).sum::<f32>() / noise.len() as f32).sqrt();
    assert!((std - 2.0_f32.ln()).abs() < 0.02, "{std}");
}

#[test]
fn the_noise_learns() {
    let device = Device::flex().autodiff();
    let router = router_on(&RouterConfig::NoisyTopK(NoisyTopKRouterConfig::default()), &device);
    let AnyRouter::NoisyTopK(inner) = &router else { panic!("not noisy top-k") };
    let x = normal([5, HIDDEN], 1.0, 5, &device);
    let weights = router.route(x, &BatchContext::new(1, 5).with_training(1)).weights;
    let grads = (weights * normal([5, EXPERTS], 1.0, 6, &device)).sum().backward();
    let gradient = floats(&inner.strategy.noise.weight.val().grad(&grads).unwrap());
    assert!(gradient.iter().any(|g| g.abs() > 1e-6));
}

/// Sparsegen as its definition reads, with sorting.
fn sparsegen_by_sorting(logits: &[f32], lambda: f64) -> Vec<f32> {
    let mut sorted: Vec<f64> = logits.iter().map(|z| f64::from(*z)).collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let mut best = (0.0, 1);
    let mut sum = 0.0;
    for (index, z) in sorted.iter().enumerate() {
        sum += z;
        let k = (index + 1) as f64;
        if 1.0 - lambda + k * z > sum {
            best = (sum, index + 1);
        }
    }
    let tau = (best.0 - 1.0 + lambda) / best.1 as f64;
    logits.iter().map(|z| ((f64::from(*z) - tau).max(0.0) / (1.0 - lambda)) as f32).collect()
}

#[test]
fn sparsegen_is_what_sorting_gives() {
    let device = Device::flex();
    for lambda in [-3.0, 0.0, 0.5, 0.99] {
        for std in [0.1, 1.0, 30.0] {
            let logits = normal([40, EXPERTS], std, 7, &device);
            let sparsity = Tensor::full([40, 1], lambda, &device);
            let found = rows(&select::sparsegen(logits.clone(), sparsity));
            let expected: Vec<Vec<f32>> =
                rows(&logits).iter().map(|row| sparsegen_by_sorting(row, lambda)).collect();
            let error = found.iter().flatten().zip(expected.iter().flatten());
            let error = error.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(error < 2e-4, "{lambda} {std} {error}");
        }
    }
}

#[test]
fn the_network_keeps_the_sparsity_below_one_and_learns() {
    let device = Device::flex().autodiff();
    let config =
        SparsegenRouterConfig { lambda: Lambda::Network { hidden_size: 16 }, ..Default::default() };
    let router = router_on(&RouterConfig::Sparsegen(config), &device);
    let AnyRouter::Sparsegen(inner) = &router else { panic!("not sparsegen") };
    // Large enough that hidden units are active although their biases start at -2.5.
    let x = normal([40, HIDDEN], 30.0, 8, &device);
    let routing = router.route(x, &BatchContext::new(1, 40));
    let lambda = floats(&routing.extras.lambda.clone().unwrap());
    assert!(lambda.iter().all(|lambda| *lambda < 1.0), "{lambda:?}");
    let lambda = routing.extras.lambda.unwrap();
    let grads = lambda.sum().backward();
    let network: &LambdaNetwork = inner.strategy.network.as_ref().unwrap();
    let gradient = floats(&network.hidden.weight.val().grad(&grads).unwrap());
    assert!(gradient.iter().any(|g| *g != 0.0));
}

#[test]
fn entropies_are_one_for_equal_and_almost_zero_for_certain_probabilities() {
    let p = [[0.25; 4], [1.0, 0.0, 0.0, 0.0]];
    let p = Tensor::<2>::from_data(p, &Device::flex());
    for entropy in [
        Entropy::Tsallis { q: 1.1 },
        Entropy::Tsallis { q: 1.0 },
        Entropy::Tsallis { q: 2.0 },
        Entropy::Renyi { q: 0.5 },
        Entropy::Renyi { q: 1.0 },
        Entropy::Renyi { q: 2.0 },
    ] {
        let found = floats(&entropy.of(p.clone(), 1e-9));
        assert!((found[0] - 1.0).abs() < 1e-4 && found[1].abs() < 2e-3, "{entropy:?} {found:?}");
    }
    assert_eq!(floats(&Entropy::default().of(Tensor::ones([1, 1], &Device::flex()), 1e-9)), [0.0]);
}

#[test]
fn entropies_follow_their_definitions() {
    let p = Tensor::<2>::from_data([[0.5, 0.3, 0.2]], &Device::flex());
    let found = |entropy: Entropy| floats(&entropy.of(p.clone(), 1e-12))[0];
    // sum p^2 = 0.38; the largest values are 2/3 and ln 3.
    assert!((found(Entropy::Tsallis { q: 2.0 }) - 0.62 * 1.5).abs() < 1e-5);
    let expected = -0.38_f32.ln() / 3.0_f32.ln();
    assert!((found(Entropy::Renyi { q: 2.0 }) - expected).abs() < 1e-5);
    let shannon = -(0.5 * 0.5_f32.ln() + 0.3 * 0.3_f32.ln() + 0.2 * 0.2_f32.ln()) / 3.0_f32.ln();
    assert!((found(Entropy::Renyi { q: 1.0 }) - shannon).abs() < 1e-5);
    assert!((found(Entropy::Tsallis { q: 1.001 }) - shannon).abs() < 1e-3);
}

#[test]
fn adamole_may_leave_a_token_without_experts_when_the_threshold_may_be_large() {
    let device = Device::flex();
    let config = AdamoleRouterConfig { max_threshold: Some(1.0), ..Default::default() };
    let mut router = router(&RouterConfig::Adamole(config));
    let AnyRouter::Adamole(inner) = &mut router else { panic!("not adamole") };
    inner.strategy.threshold.bias = Some(Param::from_data([20.0], &device));
    let x = Tensor::zeros([2, HIDDEN], &device);
    let routing = router.route(x, &BatchContext::new(1, 2));
    assert!(floats(&routing.weights).iter().all(|w| *w == 0.0));
}

fn sliding(change: impl FnOnce(&mut SlidingClusterRouterConfig)) -> AnyRouter {
    let mut config = SlidingClusterRouterConfig { k: EXPERTS, ..Default::default() };
    change(&mut config);
    let shape = RouterShape::new(HIDDEN, EXPERTS).with_identity_experts(2);
    try_router(&RouterConfig::SlidingCluster(config), &shape).unwrap()
}

#[test]
fn identity_experts_gain_far_from_the_clusters() {
    let context = BatchContext::new(1, 4);
    for yielding in [Yielding::Additive, Yielding::Multiplicative] {
        for distance in [Distance::Max, Distance::Mean, Distance::Rms] {
            let mut router = sliding(|config| {
                config.yielding = yielding;
                config.distance = distance;
            });
            let zero = Tensor::zeros([EXPERTS, HIDDEN], &Device::flex());
            *router.gate_weight_mut().unwrap() = Param::from_tensor(zero);
            let share = |scale| {
                let x = normal([4, HIDDEN], scale, 9, &Device::flex());
                let weights = router.route(x, &context).weights;
                floats(&weights.narrow(1, 0, 2).sum())[0] / 4.0
            };
            let (near, far) = (share(1.0), share(50.0));
            assert!(far > 0.9 && near < 0.8, "{yielding:?} {distance:?} {near} {far}");
        }
    }
}

#[test]
fn multiplicative_yielding_multiplies_probabilities() {
    let device = Device::flex();
    let router = sliding(|config| config.yielding = Yielding::Multiplicative);
    let x = normal([4, HIDDEN], 2.0, 10, &device);
    let context = BatchContext::new(1, 4);
    let routing = router.route(x.clone(), &context);
    let gate = router.gate_weight().unwrap().val();
    let plain = burn::tensor::activation::softmax(x.matmul(gate.transpose()), 1);
    let distance = floats(&routing.extras.distance.unwrap());
    let expected: Vec<Vec<f32>> = rows(&plain)
        .iter()
        .zip(distance)
        .map(|(row, d)| {
            let factor = |e| if e < 2 { 1.0 + d } else { 1.0 / (1.0 + d) };
            let row: Vec<f32> = row.iter().enumerate().map(|(e, p)| p * factor(e)).collect();
            let sum: f32 = row.iter().sum();
            row.iter().map(|p| p / sum).collect()
        })
        .collect();
    assert!(close(&rows(&routing.weights), &expected));
}

#[test]
fn distances_reduce_deviations_as_named() {
    let x = normal([1, HIDDEN], 2.0, 11, &Device::flex());
    let distance = |reduction| {
        let router = sliding(|config| {
            config.distance = reduction;
            config.num_clusters = 1;
        });
        let AnyRouter::SlidingCluster(inner) = &router else { panic!("not sliding cluster") };
        let centre = floats(&inner.strategy.clusters.centres.value());
        let deviations: Vec<f32> =
            floats(&x).iter().zip(centre).map(|(x, c)| (x - c).abs()).collect();
        let routing = router.route(x.clone(), &BatchContext::new(1, 1));
        (floats(&routing.extras.distance.unwrap())[0], deviations)
    };
    let (max, deviations) = distance(Distance::Max);
    let largest = deviations.iter().fold(0.0_f32, |a, b| a.max(*b));
    assert!((max - (largest - 1.0)).abs() < 1e-5);
    let (mean, _) = distance(Distance::Mean);
    let sum: f32 = deviations.iter().sum();
    assert!((mean - (sum / HIDDEN as f32 - 1.0)).abs() < 1e-5);
    let (rms, _) = distance(Distance::Rms);
    let square: f32 = deviations.iter().map(|d| d * d).sum();
    assert!((rms - ((square / HIDDEN as f32).sqrt() - 1.0)).abs() < 1e-5);
}

#[test]
fn uniform_routing_weighs_all_alike() {
    let x = normal([3, HIDDEN], 1.0, 12, &Device::flex());
    let found = weights(&router(&RouterConfig::Uniform {}), &x, &BatchContext::new(1, 3));
    assert!(close(&found, &vec![vec![1.0 / 6.0; EXPERTS]; 3]));
}
