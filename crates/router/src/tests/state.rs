use burn::module::Module;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Tensor};

use super::*;
use crate::Scope;

fn clusters() -> RouterConfig {
    RouterConfig::SlidingCluster(SlidingClusterRouterConfig::default())
}

fn sigmoid() -> RouterConfig {
    RouterConfig::Sigmoid(SigmoidRouterConfig { bias_update_rate: 0.5, ..Default::default() })
}

fn train(router: &AnyRouter, seed: u64, device: &Device) {
    let x = normal([12, HIDDEN], 2.0, seed, device);
    router.route(x, &BatchContext::new(3, 4).with_training(seed));
}

#[test]
fn state_moves_in_training_and_is_saved_and_loaded_with_the_router() {
    let device = Device::flex();
    for config in [clusters(), sigmoid()] {
        let trained = router(&config);
        let before = record(&trained);
        train(&trained, 1, &device);
        let after = record(&trained);
        assert_ne!(before, after, "{config:?}");
        let loaded = router(&config).load_record(trained.clone().into_record());
        assert_eq!(record(&loaded), after, "{config:?}");
    }
}

#[test]
fn state_has_no_gradient_and_no_optimiser_moves_it() {
    let device = Device::flex().autodiff();
    for config in [clusters(), sigmoid()] {
        let router = router_on(&config, &device);
        let x = normal([12, HIDDEN], 2.0, 1, &device).require_grad();
        let routing = router.route(x, &BatchContext::new(3, 4).with_training(1));
        let state = record(&router);
        let direction = normal([12, EXPERTS], 1.0, 2, &device);
        let grads = (routing.weights * direction).sum().backward();
        let grads = GradientsParams::from_grads(grads, &router);
        assert_eq!(grads.len(), 1, "the gate alone has a gradient");
        let mut optimizer = SgdConfig::new().init();
        let stepped = record(&optimizer.step(0.1, router, grads));
        assert_ne!(state[0], stepped[0], "the gate learns");
        assert_eq!(state[1..], stepped[1..], "state stays: {config:?}");
    }
}

#[test]
fn validation_sees_the_state_of_training() {
    let device = Device::flex().autodiff();
    for config in [clusters(), sigmoid()] {
        let router = router_on(&config, &device);
        train(&router, 1, &device);
        let valid = router.valid();
        assert_eq!(record(&router), record(&valid));
        train(&valid.train(), 2, &device);
        assert_ne!(record(&router), record(&router_on(&config, &device)));
    }
}

#[test]
fn the_balancing_bias_grows_where_load_is_missing_and_evens_it_out() {
    let device = Device::flex();
    let config = SigmoidRouterConfig { k: 1, bias_update_rate: 0.02, ..Default::default() };
    let router = router(&RouterConfig::Sigmoid(config));
    let AnyRouter::Sigmoid(inner) = &router else { panic!("not sigmoid") };
    // A common part of all tokens favours some experts.
    let x = normal([240, HIDDEN], 1.0, 3, &device) + normal([1, HIDDEN], 3.0, 4, &device);
    let context = BatchContext::new(1, 240);
    let load = |context: &BatchContext| -> Vec<f32> {
        let selected = router.route(x.clone(), context).selection.unwrap();
        floats(&selected.sum_dim(0))
    };
    let before = load(&context);
    let largest = |load: &[f32]| load.iter().fold(0.0_f32, |a, b| a.max(*b));
    assert!(largest(&before) > 100.0, "{before:?}");
    load(&context.clone().with_training(0));
    let moved = floats(&inner.strategy.bias.value());
    for (bias, load) in moved.iter().zip(&before) {
        assert_eq!(*bias, 0.02 * (40.0 - load).signum(), "{before:?}");
    }
    for _ in 0..200 {
        load(&context.clone().with_training(0));
    }
    assert!(largest(&load(&context)) < 70.0, "{:?}", load(&context));
}

#[test]
fn the_bias_selects_but_does_not_weigh() {
    let device = Device::flex();
    let config = SigmoidRouterConfig { renormalise: false, ..Default::default() };
    let router = router(&RouterConfig::Sigmoid(config));
    let AnyRouter::Sigmoid(inner) = &router else { panic!("not sigmoid") };
    inner.strategy.bias.set(Tensor::from_data([0.0, 0.0, 0.0, 5.0, 0.0, 5.0], &device));
    let x = normal([4, HIDDEN], 1.0, 5, &device);
    let routing = router.route(x, &BatchContext::new(1, 4));
    let logits = rows(&routing.logits);
    for (token, row) in rows(&routing.weights).iter().enumerate() {
        for (expert, weight) in row.iter().enumerate() {
            let score = 1.0 / (1.0 + (-logits[token][expert]).exp());
            let expected = if expert == 3 || expert == 5 { score } else { 0.0 };
            assert!((weight - expected).abs() < 1e-6);
        }
    }
}

#[test]
fn clusters_find_the_data() {
    let device = Device::flex();
    let config =
        SlidingClusterRouterConfig { num_clusters: 1, momentum: 0.5, ..Default::default() };
    let router = router(&RouterConfig::SlidingCluster(config));
    let x = normal([200, HIDDEN], 0.5, 6, &device) + 3.0;
    let distance = |x: &Tensor<2>, context: BatchContext| {
        floats(&router.route(x.clone(), &context).extras.distance.unwrap().mean())[0]
    };
    let before = distance(&x, BatchContext::new(1, 200));
    for step in 0..30 {
        distance(&x, BatchContext::new(1, 200).with_training(step));
    }
    let after = distance(&x, BatchContext::new(1, 200));
    let far = distance(&(x + 10.0), BatchContext::new(1, 200));
    assert!(after < before && after < 2.0 && far > 10.0, "{before} {after} {far}");
}

#[test]
fn a_sample_has_one_cluster_and_one_distance() {
    let device = Device::flex();
    let gate = GateConfig::default().with_scope(Scope::Token);
    let config =
        SlidingClusterRouterConfig { assignment: Assignment::Sample, gate, ..Default::default() };
    let router = router(&RouterConfig::SlidingCluster(config));
    let routing = router.route(normal([6, HIDDEN], 2.0, 7, &device), &BatchContext::new(2, 3));
    let distance = floats(&routing.extras.distance.unwrap());
    assert!(distance[..3].iter().all(|d| *d == distance[0]) && distance[0] != distance[3]);
    assert_eq!(routing.extras.cluster.unwrap().dims(), [6]);
}
