use burn::module::Param;
use burn::tensor::{Device, Int, Tensor};

use super::*;
use crate::{DenseRouterConfig, GateInit, Scope};

fn dense(gate: GateConfig) -> AnyRouter {
    router(&RouterConfig::Dense { gate })
}

#[test]
fn weights_are_the_softmax_of_the_logits_over_the_temperature() {
    let device = Device::flex();
    for temperature in [1.0, 2.5] {
        let gate = GateConfig::default().with_temperature(temperature);
        let config = DenseRouterConfig::new(2, 3).with_gate(gate);
        let mut router = config.init(&mut SmallRng::seed_from_u64(0), &device).unwrap();
        router.weight = Param::from_data([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], &device);
        let x = Tensor::from_data([[0.5, -1.0]], &device);
        let found = floats(&router.route(x, &BatchContext::new(1, 1)).weights);
        let exp: Vec<f64> = [0.5, -1.0, -0.5].iter().map(|l| f64::exp(l / temperature)).collect();
        let sum: f64 = exp.iter().sum();
        for (got, want) in found.iter().zip(exp) {
            assert!((f64::from(*got) - want / sum).abs() < 1e-6);
        }
    }
}

#[test]
fn a_bias_is_added_to_the_logits() {
    let mut router = RouterConfig::Dense { gate: GateConfig { bias: true, ..Default::default() } }
        .init(&RouterShape::new(2, 2), &mut SmallRng::seed_from_u64(0), &Device::flex())
        .unwrap();
    let AnyRouter::Dense(dense) = &mut router else { panic!("not dense") };
    dense.bias = Some(Param::from_data([1.0, -2.0], &Device::flex()));
    let x = Tensor::zeros([1, 2], &Device::flex());
    assert_eq!(floats(&router.route(x, &BatchContext::new(1, 1)).logits), [1.0, -2.0]);
}

#[test]
fn a_sequence_is_routed_by_the_mean_of_its_tokens() {
    let device = Device::flex();
    let x = normal([6, HIDDEN], 1.0, 1, &device);
    let by_sequence = dense(GateConfig::default().with_scope(Scope::Sequence));
    let found = weights(&by_sequence, &x, &BatchContext::new(2, 3));
    let means = x.reshape([2, 3, HIDDEN]).mean_dim(1).squeeze_dim::<2>(1);
    let expected = weights(&dense(GateConfig::default()), &means, &BatchContext::new(2, 1));
    for (token, row) in found.iter().enumerate() {
        assert!(close(&[row.clone()], &[expected[token / 3].clone()]), "{token}");
    }
}

#[test]
fn every_strategy_gives_the_tokens_of_a_sequence_one_routing_in_training_too() {
    let gate = GateConfig {
        scope: Scope::Sequence,
        input_jitter: 0.1,
        input_dropout: 0.1,
        ..Default::default()
    };
    let x = normal([6, HIDDEN], 1.0, 2, &Device::flex());
    for (name, config) in strategies(&gate) {
        // Capacities and clusters are a matter of tokens.
        if ["switch", "expert_choice", "sliding_cluster"].contains(&name) {
            continue;
        }
        let found = weights(&router(&config), &x, &BatchContext::new(2, 3).with_training(5));
        assert!(found[..3].iter().all(|row| *row == found[0]), "{name} {found:?}");
        assert!(found[3..].iter().all(|row| *row == found[3]), "{name} {found:?}");
    }
}

#[test]
fn a_task_is_routed_by_its_row_of_the_table_and_without_a_task_by_their_mean() {
    let device = Device::flex();
    let gate = GateConfig::default().with_scope(Scope::Task { num_tasks: 3 });
    let mut router = router(&RouterConfig::Dense { gate });
    let table = normal([EXPERTS, 3], 1.0, 3, &device);
    *router.gate_weight_mut().unwrap() = Param::from_tensor(table.clone());
    let table = rows(&table.transpose());
    let x = normal([6, HIDDEN], 1.0, 4, &device);

    let types = Tensor::<1, Int>::from_data([2, 0, 5], &device);
    let context = BatchContext::new(3, 2).with_task_types(types);
    let found = rows(&router.route(x.clone(), &context).logits);
    let unknown = vec![0.0; EXPERTS];
    for (token, expected) in
        [&table[2], &table[2], &table[0], &table[0], &unknown].iter().enumerate()
    {
        assert!(close(&[found[token].clone()], &[expected.to_vec()]), "{token}");
    }

    let found = rows(&router.route(x, &BatchContext::new(3, 2)).logits);
    let mean: Vec<f32> =
        (0..EXPERTS).map(|e| table.iter().map(|row| row[e]).sum::<f32>() / 3.0).collect();
    assert!(close(&found, &vec![mean; 6]));
}

#[test]
fn the_table_of_tasks_learns() {
    let device = Device::flex().autodiff();
    let gate = GateConfig::default().with_scope(Scope::Task { num_tasks: 2 });
    let router = router_on(&RouterConfig::Dense { gate }, &device);
    let types = Tensor::<1, Int>::from_data([1, 1], &device);
    let context = BatchContext::new(2, 2).with_task_types(types);
    let x = normal([4, HIDDEN], 1.0, 5, &device);
    let loss = router.route(x, &context).weights.powi_scalar(2).sum();
    let grads = loss.backward();
    let gradient = rows(&router.gate_weight().unwrap().val().grad(&grads).unwrap());
    assert!(gradient.iter().all(|row| row[0] == 0.0), "a task that does not occur");
    assert!(gradient.iter().any(|row| row[1] != 0.0));
}

#[test]
fn gates_start_as_configured() {
    let shape = RouterShape::new(400, 50);
    let start = |init| {
        let config = RouterConfig::Dense { gate: GateConfig::default().with_init(init) };
        floats(&try_router(&config, &shape).unwrap().gate_weight().unwrap().val())
    };
    let moments = |values: &[f32]| {
        let square: f32 = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
        let largest = values.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        (square.sqrt(), largest)
    };
    let (std, largest) = moments(&start(GateInit::KaimingUniform));
    assert!((std - 0.05 / 3.0_f32.sqrt()).abs() < 1e-3 && largest <= 0.05, "{std} {largest}");
    let (std, largest) = moments(&start(GateInit::Normal { std: 0.02 }));
    assert!((std - 0.02).abs() < 1e-3 && largest > 0.05, "{std} {largest}");
    assert!(start(GateInit::Zeros).iter().all(|value| *value == 0.0));
}

#[test]
fn jitter_stays_within_its_bounds() {
    let gate = GateConfig { input_jitter: 0.1, ..Default::default() };
    let x = normal([50, HIDDEN], 1.0, 6, &Device::flex());
    let read = gate.read(x.clone(), &BatchContext::new(50, 1).with_training(1));
    let factors: Vec<f32> = floats(&read.rows).iter().zip(floats(&x)).map(|(a, b)| a / b).collect();
    assert!(factors.iter().all(|f| (0.899..=1.101).contains(f)));
    assert!(factors.iter().any(|f| *f < 0.95) && factors.iter().any(|f| *f > 1.05));
    assert_eq!(floats(&read.tokens), floats(&x), "strategies see the tokens as they are");
}
