use super::*;
use crate::{Entropy, GateInit, Scope};

/// What a configuration is refused with, by `check` and by `init` alike.
fn refused(config: RouterConfig, shape: &RouterShape) -> RouterError {
    let error = config.check(shape).unwrap_err();
    assert_eq!(try_router(&config, shape).unwrap_err(), error);
    error
}

fn shape() -> RouterShape {
    RouterShape::new(HIDDEN, EXPERTS)
}

/// The field and value of an error about a number.
fn number(config: RouterConfig) -> (&'static str, f64) {
    match refused(config, &shape()) {
        RouterError::Number { field, value, .. } => (field, value),
        other => panic!("{other}"),
    }
}

/// The field and value of an error about a count.
fn count(config: RouterConfig, shape: &RouterShape) -> (&'static str, usize) {
    match refused(config, shape) {
        RouterError::Zero { field } => (field, 0),
        RouterError::Count { field, value, .. } => (field, value),
        other => panic!("{other}"),
    }
}

fn gate(change: impl FnOnce(&mut GateConfig)) -> RouterConfig {
    let mut gate = GateConfig::default();
    change(&mut gate);
    RouterConfig::Dense { gate }
}

#[test]
fn no_experts_and_no_inputs_are_refused() {
    for (name, config) in strategies(&GateConfig::default()) {
        let error = refused(config.clone(), &RouterShape::new(HIDDEN, 0));
        assert_eq!(error, RouterError::Zero { field: "num_experts" }, "{name}");
        if name != "uniform" {
            let error = refused(config, &RouterShape::new(0, EXPERTS));
            assert_eq!(error, RouterError::Zero { field: "hidden_size" }, "{name}");
        }
    }
}

#[test]
fn bad_temperatures_are_refused() {
    for value in [0.0, -1.0, f64::INFINITY] {
        assert_eq!(number(gate(|gate| gate.temperature = value)), ("gate.temperature", value));
    }
}

#[test]
fn bad_jitter_is_refused() {
    for value in [-0.1, 1.0] {
        assert_eq!(number(gate(|gate| gate.input_jitter = value)), ("gate.input_jitter", value));
    }
}

#[test]
fn bad_input_dropout_is_refused() {
    for value in [-0.1, 1.0] {
        assert_eq!(number(gate(|gate| gate.input_dropout = value)), ("gate.input_dropout", value));
    }
}

#[test]
fn a_bad_deviation_of_the_start_is_refused() {
    let config = gate(|gate| gate.init = GateInit::Normal { std: 0.0 });
    assert_eq!(number(config), ("gate.init.normal.std", 0.0));
}

#[test]
fn no_tasks_are_refused() {
    let config = gate(|gate| gate.scope = Scope::Task { num_tasks: 0 });
    assert_eq!(count(config, &shape()), ("gate.scope.task.num_tasks", 0));
}

#[test]
fn gates_are_checked_whatever_the_strategy() {
    for (name, config) in strategies(&GateConfig::default().with_temperature(0.0)) {
        if name != "uniform" {
            assert_eq!(number(config), ("gate.temperature", 0.0), "{name}");
        }
    }
}

#[test]
fn bad_numbers_of_selected_experts_are_refused() {
    for k in [0, EXPERTS + 1] {
        let gate = GateConfig::default;
        for config in [
            RouterConfig::TopK(TopKRouterConfig { k, ..Default::default() }),
            RouterConfig::NoisyTopK(NoisyTopKRouterConfig { k, gate: gate() }),
            RouterConfig::Sigmoid(SigmoidRouterConfig { k, ..Default::default() }),
            RouterConfig::SlidingCluster(SlidingClusterRouterConfig { k, ..Default::default() }),
        ] {
            assert_eq!(count(config, &shape()), ("k", k));
        }
        for config in [
            RouterConfig::TopP(TopPRouterConfig { min_experts: k, ..Default::default() }),
            RouterConfig::Dynmole(DynmoleRouterConfig { min_experts: k, ..Default::default() }),
        ] {
            assert_eq!(count(config, &shape()), ("min_experts", k));
        }
    }
}

#[test]
fn straight_through_of_several_experts_is_refused() {
    let config = TopKRouterConfig { k: 2, straight_through: true, ..Default::default() };
    assert_eq!(count(RouterConfig::TopK(config), &shape()), ("k", 2));
}

#[test]
fn bad_probabilities_to_cover_are_refused() {
    for p in [0.0, 1.01, f64::NEG_INFINITY] {
        let config = TopPRouterConfig { p, ..Default::default() };
        assert_eq!(number(RouterConfig::TopP(config)), ("p", p));
        let config = DynmoleRouterConfig { p, ..Default::default() };
        assert_eq!(number(RouterConfig::Dynmole(config)), ("p", p));
    }
}

#[test]
fn bad_thresholds_are_refused() {
    for value in [0.0, 1.5] {
        let config = AdamoleRouterConfig { max_threshold: Some(value), ..Default::default() };
        assert_eq!(number(RouterConfig::Adamole(config)), ("max_threshold", value));
    }
}

#[test]
fn bad_entropies_are_refused() {
    let dynmole = |change: &dyn Fn(&mut DynmoleRouterConfig)| {
        let mut config = DynmoleRouterConfig::default();
        change(&mut config);
        number(RouterConfig::Dynmole(config))
    };
    assert_eq!(dynmole(&|c| c.entropy_threshold = 1.5), ("entropy_threshold", 1.5));
    assert_eq!(dynmole(&|c| c.entropy = Entropy::Renyi { q: 0.0 }), ("entropy.q", 0.0));
    assert_eq!(dynmole(&|c| c.epsilon = 0.0), ("epsilon", 0.0));
}

#[test]
fn a_sparsity_of_one_is_refused() {
    let lambda = Lambda::Fixed { value: 1.0 };
    let config = SparsegenRouterConfig { lambda, ..Default::default() };
    assert_eq!(number(RouterConfig::Sparsegen(config)), ("lambda.fixed.value", 1.0));
}

#[test]
fn a_network_without_hidden_units_is_refused() {
    let lambda = Lambda::Network { hidden_size: 0 };
    let config = RouterConfig::Sparsegen(SparsegenRouterConfig { lambda, ..Default::default() });
    assert_eq!(count(config, &shape()), ("lambda.network.hidden_size", 0));
}

#[test]
fn bad_capacities_are_refused() {
    for capacity_factor in [0.0, -1.0] {
        let config = SwitchRouterConfig { capacity_factor, ..Default::default() };
        let expected = ("capacity_factor", capacity_factor);
        assert_eq!(number(RouterConfig::Switch(config)), expected);
        let config = ExpertChoiceRouterConfig { capacity_factor, ..Default::default() };
        assert_eq!(number(RouterConfig::ExpertChoice(config)), expected);
    }
}

#[test]
fn a_negative_update_rate_is_refused() {
    let config = SigmoidRouterConfig { bias_update_rate: -1.0, ..Default::default() };
    assert_eq!(number(RouterConfig::Sigmoid(config)), ("bias_update_rate", -1.0));
}

#[test]
fn bad_clusters_are_refused() {
    let sliding = |change: &dyn Fn(&mut SlidingClusterRouterConfig)| {
        let mut config = SlidingClusterRouterConfig::default();
        change(&mut config);
        RouterConfig::SlidingCluster(config)
    };
    assert_eq!(count(sliding(&|c| c.num_clusters = 0), &shape()), ("num_clusters", 0));
    assert_eq!(number(sliding(&|c| c.momentum = 1.0)), ("momentum", 1.0));
    assert_eq!(number(sliding(&|c| c.momentum = -0.1)), ("momentum", -0.1));
    assert_eq!(number(sliding(&|c| c.gamma = -0.1)), ("gamma", -0.1));
    let all_identity = shape().with_identity_experts(EXPERTS);
    assert_eq!(count(sliding(&|_| ()), &all_identity), ("identity_experts", EXPERTS));
}

#[test]
fn errors_name_field_value_and_what_is_allowed() {
    let error =
        refused(RouterConfig::TopK(TopKRouterConfig { k: 9, ..Default::default() }), &shape());
    let expected = "router: `k` is 9, but must be at most the number of experts, 6";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn every_configuration_survives_being_written_and_read() {
    for (name, config) in strategies(&GateConfig::default().with_scope(Scope::Sequence)) {
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<RouterConfig>(&text).unwrap(), config, "{name}\n{text}");
    }
}

#[test]
fn every_strategy_can_be_named_alone() {
    for (name, _) in strategies(&GateConfig::default()) {
        if name != "sparsegen with a network" {
            let config: RouterConfig = toml::from_str(&format!("type = \"{name}\"")).unwrap();
            config.check(&shape()).unwrap();
        }
    }
}

#[test]
fn options_are_read_by_their_names() {
    let text = r#"
        type = "dynmole"
        entropy = { renyi = { q = 2.0 } }
        [gate]
        scope = { task = { num_tasks = 3 } }
        init = { normal = { std = 0.02 } }
    "#;
    let gate = GateConfig {
        scope: Scope::Task { num_tasks: 3 },
        init: GateInit::Normal { std: 0.02 },
        ..Default::default()
    };
    let entropy = Entropy::Renyi { q: 2.0 };
    let expected = DynmoleRouterConfig { entropy, gate, ..Default::default() };
    assert_eq!(toml::from_str::<RouterConfig>(text).unwrap(), RouterConfig::Dynmole(expected));
}

#[test]
fn unknown_keys_are_refused() {
    for (text, key) in [
        ("type = \"top_k\"\ntop_k = 2", "top_k"),
        ("type = \"dense\"\ntemperature = 2.0", "temperature"),
        ("type = \"uniform\"\nk = 2", "k"),
        ("type = \"top_p\"\ngate = { temp = 1.0 }", "temp"),
        ("type = \"top_p\"\ngate = { scope = { task = { tasks = 1 } } }", "tasks"),
    ] {
        let error = toml::from_str::<RouterConfig>(text).unwrap_err().to_string();
        assert!(error.contains(&format!("unknown field `{key}`")), "{text}\n{error}");
    }
}
