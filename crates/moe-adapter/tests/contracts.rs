//! What an adapted model promises, on a model of two linears.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use balance_loss::{BalanceLossConfig, LocalizedBalancingConfig};
use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use fused_ops::Precision;
use moe_adapter::{
    ADAPTER_CONFIG_FILE, Adaptable, AdaptedLinear, AdaptedProjection, AdapterConfig, AdapterError,
    AdapterSize, Preset, Projection, StoredAdapter, TargetModules, adapter_state, attach,
    check_fit, detach, load_adapter, load_adapter_state, save_adapter,
};
use router::{BatchContext, RoutingTape, Site};

#[derive(Module, Debug)]
struct Pair<P: Projection> {
    up_proj: P,
    down_proj: P,
}

impl Pair<AdaptedLinear> {
    fn new(device: &Device) -> Self {
        let linear = |input, output| {
            let linear = LinearConfig::new(input, output).with_bias(false).init(device);
            let weight = Tensor::random([input, output], Distribution::Normal(0.0, 0.3), device);
            AdaptedLinear::from_linear(
                Linear { weight: Param::from_tensor(weight), ..linear }.no_grad(),
            )
        };
        Self { up_proj: linear(6, 10), down_proj: linear(10, 6) }
    }

    fn forward(&self, x: Tensor<3>, tape: &mut RoutingTape) -> Tensor<3> {
        let h = self.up_proj.forward(x, Site::new(0, "up_proj"), tape);
        self.down_proj.forward(h, Site::new(0, "down_proj"), tape)
    }

    fn weights(&self) -> [TensorData; 2] {
        [&self.up_proj, &self.down_proj].map(|p| p.linear().weight().into_data())
    }
}

impl Adaptable for Pair<AdaptedLinear> {
    type Projection = AdaptedLinear;

    fn visit_projections(&self, visit: &mut dyn FnMut(&str, Site, &AdaptedLinear)) {
        visit("layers.0.up_proj", Site::new(0, "up_proj"), &self.up_proj);
        visit("layers.0.down_proj", Site::new(0, "down_proj"), &self.down_proj);
    }

    fn visit_projections_mut(&mut self, visit: &mut dyn FnMut(&str, Site, &mut AdaptedLinear)) {
        visit("layers.0.up_proj", Site::new(0, "up_proj"), &mut self.up_proj);
        visit("layers.0.down_proj", Site::new(0, "down_proj"), &mut self.down_proj);
    }
}

fn loramoe() -> AdapterConfig {
    let mut config = Preset::LoramoePaper.config();
    config.target_modules = TargetModules::Names(vec!["up_proj".into(), "down_proj".into()]);
    config.lora_dropout = 0.0;
    config
}

fn lora() -> AdapterConfig {
    AdapterConfig { num_experts: 1, balance_loss: None, ..loramoe() }
}

fn input(device: &Device) -> Tensor<3> {
    Tensor::random([2, 3, 6], Distribution::Normal(0.0, 1.0), device)
}

fn tape() -> RoutingTape {
    RoutingTape::recording(BatchContext::new(2, 3))
}

fn output(model: &Pair<AdaptedLinear>, x: &Tensor<3>) -> TensorData {
    model.forward(x.clone(), &mut tape()).into_data()
}

/// A few steps towards a random target.
fn trained(model: Pair<AdaptedLinear>, x: &Tensor<3>) -> Pair<AdaptedLinear> {
    let mut model = model.train();
    let x = Tensor::from_inner(x.clone());
    let target: Tensor<3> = x.random_like(Distribution::Normal(0.0, 1.0));
    let balance = BalanceLossConfig::LocalizedBalancing(LocalizedBalancingConfig::default());
    let balance = balance.init().unwrap();
    let types = Tensor::<1, Int>::from_data([0, 1], &x.device());
    let mut optimizer = AdamWConfig::new().with_weight_decay(0.1).init();
    for _ in 0..3 {
        let context = BatchContext::new(2, 3).with_task_types(types.clone()).with_training(0);
        let mut tape = RoutingTape::recording(context);
        let difference = model.forward(x.clone(), &mut tape) - target.clone();
        let mut loss = difference.powi_scalar(2).mean();
        if let Some(balance) = balance.loss(&tape).unwrap() {
            loss = loss + balance;
        }
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-2, model, grads);
    }
    model.valid()
}

#[test]
fn adapted_model_starts_as_the_base_model() {
    let device = Device::flex();
    let mut model = Pair::new(&device);
    let x = input(&device);
    let base = output(&model, &x);
    for config in [lora(), loramoe()] {
        assert_eq!(attach(&mut model, &config, 7).unwrap(), 2);
        assert_eq!(output(&model, &x), base);
    }
}

#[test]
fn training_changes_the_adapter_and_nothing_else() {
    let device = Device::flex();
    let mut model = Pair::new(&device);
    attach(&mut model, &loramoe(), 7).unwrap();
    let (weights, state) = (model.weights(), adapter_state(&model));
    let x = input(&device);
    let model = trained(model, &x);
    assert_eq!(model.weights(), weights);
    let changed = adapter_state(&model);
    assert_eq!(changed.len(), 6);
    for (name, data) in changed {
        assert_ne!(data, state[&name], "{name}");
    }
}

#[test]
fn gradient_reaches_the_adapter_only() {
    let mut model = Pair::new(&Device::flex());
    attach(&mut model, &loramoe(), 7).unwrap();
    let model = model.train();
    let x = Tensor::from_inner(input(&Device::flex()));
    let grads = model.forward(x, &mut tape()).sum().backward();
    assert!(model.up_proj.linear().weight().grad(&grads).is_none());
    assert_eq!(GradientsParams::from_grads(grads, &model).len(), 6);
}

#[test]
fn every_mixture_reports_its_routing() {
    let device = Device::flex();
    let mut model = Pair::new(&device);
    attach(&mut model, &loramoe(), 7).unwrap();
    let mut recording = tape();
    model.forward(input(&device), &mut recording);
    let sites: Vec<_> = recording.records().iter().map(|r| r.site.module).collect();
    assert_eq!(sites, ["up_proj", "down_proj"]);
    let mut silent = RoutingTape::new(BatchContext::new(2, 3));
    model.forward(input(&device), &mut silent);
    assert!(silent.records().is_empty());
}

#[test]
fn saved_adapters_load_bit_for_bit() {
    let device = Device::flex();
    for config in [lora(), loramoe()] {
        let folder = tempfile::tempdir().unwrap();
        let mut base = Pair::new(&device);
        let x = input(&device);
        let mut model = base.clone();
        attach(&mut model, &config, 7).unwrap();
        let model = trained(model, &x);
        save_adapter(&model, &config, Some("base"), folder.path()).unwrap();

        let (loaded, state) = load_adapter(folder.path()).unwrap();
        assert_eq!(loaded, config);
        attach(&mut base, &loaded, 99).unwrap();
        load_adapter_state(&mut base, state, "adapter").unwrap();
        assert_eq!(adapter_state(&base), adapter_state(&model));
        assert_eq!(output(&base, &x), output(&model, &x));
    }
}

#[test]
fn a_folder_says_how_its_adapter_was_trained_where_that_is_known() {
    let mut model = Pair::new(&Device::flex());
    attach(&mut model, &lora(), 7).unwrap();
    let unknown = StoredAdapter::of(&model, &lora(), None);
    for precision in [None, Some(Precision::F32), Some(Precision::Bf16)] {
        let folder = tempfile::tempdir().unwrap();
        let stored = StoredAdapter { precision, ..unknown.clone() };
        stored.write(folder.path()).unwrap();
        let text = std::fs::read_to_string(folder.path().join(ADAPTER_CONFIG_FILE)).unwrap();
        assert_eq!(text.contains("precision"), precision.is_some(), "{text}");
        assert_eq!(StoredAdapter::read(folder.path()).unwrap(), stored);
    }
}

#[test]
fn a_single_lora_is_saved_as_peft_does() {
    let mut model = Pair::new(&Device::flex());
    attach(&mut model, &lora(), 7).unwrap();
    let state = adapter_state(&model);
    let shapes: Vec<_> =
        state.iter().map(|(name, data)| (name.as_str(), data.shape().as_slice())).collect();
    assert_eq!(
        shapes,
        [
            ("layers.0.down_proj.lora_A.weight", &[4, 10][..]),
            ("layers.0.down_proj.lora_B.weight", &[6, 4][..]),
            ("layers.0.up_proj.lora_A.weight", &[4, 6][..]),
            ("layers.0.up_proj.lora_B.weight", &[10, 4][..]),
        ]
    );
}

#[test]
fn the_same_seed_gives_the_same_adapter() {
    let state = |seed| {
        let mut model = Pair::new(&Device::flex());
        attach(&mut model, &loramoe(), seed).unwrap();
        adapter_state(&model)
    };
    assert_eq!(state(1), state(1));
    assert_ne!(state(1), state(2));
}

#[test]
fn layers_and_targets_that_are_not_there_are_refused() {
    let mut model = Pair::new(&Device::flex());
    let mut config = loramoe();
    config.target_modules = TargetModules::Names(vec!["up_proj".into(), "q_proj".into()]);
    let error = attach(&mut model, &config, 0).unwrap_err().to_string();
    assert!(error.contains("q_proj") && error.contains("down_proj, up_proj"), "{error}");
    let mut config = loramoe();
    config.layers_to_transform = Some(moe_adapter::LayersToTransform::One(3));
    let error = attach(&mut model, &config, 0).unwrap_err();
    assert!(matches!(error, AdapterError::LayerNotFound { layer: 3, layers: 1 }));
    assert!(model.up_proj.adapter().is_none());
}

/// The configuration with keys as a file has them.
fn with(keys: serde_json::Value) -> AdapterConfig {
    let mut config = serde_json::to_value(loramoe()).unwrap();
    config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

#[test]
fn what_training_would_refuse_is_told_from_shapes_alone() {
    let model = Pair::new(&Device::flex());
    let init = |start: &str| serde_json::json!({ "type": start });
    let six = serde_json::json!({ "num_experts": 3, "r": 4, "balance_loss": null });
    let of_six = |start: &str| {
        let mut keys = six.clone();
        keys["init"] = init(start);
        keys
    };
    for (keys, expected) in [
        (serde_json::json!({ "identity_experts": 1, "identity_mode": "pass_through" }), "up_proj"),
        (of_six("pissa"), "3 experts of rank 4 take 12 directions of the weight, which has 6"),
        (of_six("goat"), "(for `layers.0.up_proj`)"),
        (of_six("olora"), "directions of the weight"),
        (of_six("corda"), "directions of the weight"),
        (of_six("eva"), "directions of the input covariance"),
        (of_six("lora_ga"), "directions of the gradient"),
        (
            serde_json::json!({ "experts": { "type": "hydra" }, "init": { "type": "pissa" } }),
            "share a factor",
        ),
        (
            serde_json::json!({ "experts": { "type": "hydra" }, "dropout_mask": "per_expert" }),
            "dropout_mask",
        ),
        (serde_json::json!({ "balance_loss": { "type": "load" } }), "the router"),
    ] {
        let config = with(keys.clone());
        let error = check_fit(&model, &config).unwrap_err().to_string();
        assert!(error.contains(expected), "{keys}: {error}");
        assert_eq!(AdapterSize::of(&model, &config).unwrap_err().to_string(), error, "{keys}");
    }
    check_fit(&model, &with(of_six("lora"))).unwrap();
    let noisy = serde_json::json!({
        "balance_loss": { "type": "load" },
        "router": { "type": "noisy_top_k", "k": 2 },
    });
    check_fit(&model, &with(noisy)).unwrap();
}

#[test]
fn every_preset_fits_linears_that_are_large_enough() {
    let device = Device::flex();
    let linear = |input, output| {
        AdaptedLinear::from_linear(LinearConfig::new(input, output).init(&device).no_grad())
    };
    let model = Pair { up_proj: linear(192, 320), down_proj: linear(320, 192) };
    for preset in Preset::ALL {
        let config = AdapterConfig {
            target_modules: TargetModules::Names(vec!["up_proj".into(), "down_proj".into()]),
            ..preset.config()
        };
        match check_fit(&model, &config) {
            // This model has no blocks and makes no first pass.
            Ok(()) | Err(AdapterError::NoFeedForward | AdapterError::NoFirstPass) => {}
            Err(error) => panic!("{preset:?}: {error}"),
        }
    }
}

#[test]
fn detached_models_are_the_base_model() {
    let device = Device::flex();
    let mut model = Pair::new(&device);
    let x = input(&device);
    let base = output(&model, &x);
    attach(&mut model, &loramoe(), 7).unwrap();
    let mut model = trained(model, &x);
    assert_ne!(output(&model, &x), base);
    detach(&mut model);
    assert_eq!(output(&model, &x), base);
}

#[test]
fn broken_folders_give_errors_that_name_file_and_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let error = load_adapter(folder.path()).unwrap_err().to_string();
    assert!(error.contains("adapter_config.json"), "{error}");
    assert!(matches!(
        save_adapter(&Pair::new(&Device::flex()), &lora(), None, folder.path()),
        Err(AdapterError::NoAdapter)
    ));

    let mut model = Pair::new(&Device::flex());
    attach(&mut model, &loramoe(), 7).unwrap();
    save_adapter(&model, &loramoe(), None, folder.path()).unwrap();
    truncate(&folder.path().join("adapter_model.safetensors"));
    let error = load_adapter(folder.path()).unwrap_err().to_string();
    assert!(error.contains("adapter_model.safetensors"), "{error}");

    let mut state = adapter_state(&model);
    let data = state.remove("layers.0.up_proj.lora_A.weight").unwrap();
    let error = load_adapter_state(&mut model, state.clone(), "file").unwrap_err().to_string();
    assert!(error.contains("`layers.0.up_proj.lora_A.weight` is missing"), "{error}");
    state.insert("layers.0.up_proj.lora_A.weight".into(), data.clone());
    state.insert("layers.0.up_proj.lora_C.weight".into(), data);
    let error = load_adapter_state(&mut model, state.clone(), "file").unwrap_err().to_string();
    assert!(error.contains("lora_C"), "{error}");
    state.remove("layers.0.up_proj.lora_C.weight");
    state.insert("layers.0.up_proj.lora_A.weight".into(), TensorData::zeros::<f32, _>([1, 2]));
    let error = load_adapter_state(&mut model, state, "file").unwrap_err();
    assert!(matches!(error, AdapterError::TensorMismatch { .. }), "{error}");
}

fn truncate(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..bytes.len() - 8]).unwrap();
}
