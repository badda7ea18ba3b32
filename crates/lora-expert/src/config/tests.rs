use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Device;

use super::*;
use crate::testing::*;
use crate::{ExpertBank, IdentityMode};

const KINDS: [&str; 4] = ["lora", "hydra", "dora", "ia3"];

fn config(kind: &str) -> ExpertsConfig {
    serde_json::from_str(&format!(r#"{{"type": "{kind}"}}"#)).unwrap()
}

fn options() -> BankOptions {
    BankOptions {
        num_experts: E,
        slots: ExpertSlots::default(),
        scaling: 1.5,
        lora_dropout: 0.0,
        dropout_mask: DropoutMask::Shared,
        layer_seed: 0,
    }
}

fn factors(config: &ExpertsConfig, trained: usize, device: &Device) -> Option<Factors> {
    config.factors(trained).map(|(of_a, of_b)| Factors {
        lora_a: random([of_a, R, I], device),
        lora_b: random([of_b, O, R], device),
        expert_scaling: None,
    })
}

#[test]
fn every_kind_is_made_and_has_the_parameters_that_it_says() {
    struct Count {
        path: Vec<String>,
        names: Vec<String>,
        trained: usize,
    }
    impl ModuleVisitor for Count {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.push(if container.starts_with("Enum:") { "" } else { name }.into());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.names.push(self.path.concat());
            self.trained += param.val().dims().iter().product::<usize>();
        }
    }
    let device = Device::flex();
    let weight = random([I, O], &device);
    let slots = ExpertSlots { identity_experts: 2, shared_experts: 1, ..ExpertSlots::default() };
    let options = BankOptions { num_experts: 4, slots, ..options() };
    let trained = options.trained_experts();
    assert_eq!(trained, 3);
    let names: [&[&str]; 4] = [
        &["lora_a", "lora_b"],
        &["lora_a", "lora_b"],
        &["lora_a", "lora_b", "lora_magnitude_vector"],
        &["ia3_l"],
    ];
    for (kind, names) in KINDS.into_iter().zip(names) {
        let config = config(kind);
        assert_eq!(config.name(), kind);
        let bank = config.init(&options, factors(&config, trained, &device), &weight).unwrap();
        assert_eq!((bank.num_experts(), bank.shared_experts()), (4, 1), "{kind}");
        let plain = BankOptions { num_experts: trained, ..self::options() };
        let plain = config.init(&plain, factors(&config, trained, &device), &weight).unwrap();
        assert_eq!((plain.num_experts(), plain.shared_experts()), (trained, 0), "{kind}");
        let mut count = Count { path: Vec::new(), names: Vec::new(), trained: 0 };
        bank.visit(&mut count);
        assert_eq!(count.names, names);
        assert_eq!(count.trained, config.trainable_parameters(trained, R, I, O), "{kind}");
        assert!(bank.parameters().iter().all(|p| p.dims()[0] == trained || kind == "hydra"));
    }
}

#[test]
fn configurations_survive_a_file_and_unknown_keys_are_refused() {
    let merging = Some(DynamicMergingConfig::new(0.5).with_fixed_mask(7));
    let configs = [
        ExpertsConfig::default(),
        ExpertsConfig::Lora { merging, execution: Execution::Sparse },
        ExpertsConfig::Hydra {},
        ExpertsConfig::Dora {},
        ExpertsConfig::Ia3 {},
    ];
    for config in configs {
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<ExpertsConfig>(&json).unwrap(), config);
    }
    for kind in KINDS {
        let json = format!(r#"{{"type": "{kind}", "rank": 4}}"#);
        let error = serde_json::from_str::<ExpertsConfig>(&json).unwrap_err();
        assert!(error.to_string().contains("unknown field `rank`"), "{error}");
    }
    let json = r#"{"type": "lora", "merging": {"rate": 0.5, "p": 1}}"#;
    assert!(serde_json::from_str::<ExpertsConfig>(json).is_err());
}

#[test]
fn what_cannot_work_is_refused() {
    let device = Device::flex();
    let weight = random([I, O], &device);
    let refused = |kind: &str, options: BankOptions, given: usize| {
        let config = config(kind);
        config.init(&options, factors(&config, given, &device), &weight).unwrap_err()
    };
    for kind in ["hydra", "dora"] {
        let options = BankOptions { dropout_mask: DropoutMask::PerExpert, ..options() };
        assert_eq!(refused(kind, options, E), ExpertError::DropoutMask { kind });
    }
    for kind in ["lora", "hydra", "dora"] {
        let error = refused(kind, options(), E + 1);
        assert!(matches!(error, ExpertError::Slots { num_experts: E, found: 4, .. }), "{error}");
        let error = config(kind).init(&options(), None, &weight).unwrap_err();
        assert_eq!(error, ExpertError::NoFactors { kind });
        let other = random([I, O + 1], &device);
        let config = config(kind);
        let error = config.init(&options(), factors(&config, E, &device), &other).unwrap_err();
        assert_eq!(error, ExpertError::WeightShape { expected: [I, O], found: [I, O + 1] });
    }
    let given = factors(&config("lora"), E, &device);
    let error = config("hydra").init(&options(), given, &weight).unwrap_err();
    assert_eq!(error, ExpertError::Shapes { a: [E, R, I], b: [E, O, R] });
    for kind in KINDS {
        let slots = ExpertSlots { identity_experts: E, ..ExpertSlots::default() };
        let error = refused(kind, BankOptions { slots, ..options() }, 1);
        assert!(matches!(error, ExpertError::Slots { identity_experts: E, .. }), "{error}");
        let slots = ExpertSlots {
            identity_experts: 1,
            identity_mode: IdentityMode::PassThrough,
            shared_experts: 0,
        };
        let error = refused(kind, BankOptions { slots, ..options() }, E - 1);
        assert_eq!(error, ExpertError::PassThrough { in_features: I, out_features: O });
    }
    let merging = Some(DynamicMergingConfig::new(1.5));
    let error = ExpertsConfig::Lora { merging, execution: Execution::Auto }.check().unwrap_err();
    assert_eq!(error, ExpertError::MergingRate { value: 1.5 });
}
