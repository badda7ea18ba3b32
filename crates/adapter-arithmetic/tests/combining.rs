//! Adapters of every method merged, taken out again, and combined, on a model of the zoo.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;

use adapter_arithmetic::{
    ArithmeticError, FixedRouting, MergeRecord, MixOptions, extract_expert, extract_mixture,
    fixed_routing, from_burn_lora, merge_adapters, mix_adapters, to_burn_lora, train_router_only,
    unmerge_adapters,
};
use burn::module::{Lora, LoraAdapter, Module, Param, ParamGroup, Reparameterizer};
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use model_zoo::{CausalLm, Decoder, DecoderConfig, Family, TokenInput};
use moe_adapter::{
    Adaptable, AdapterConfig, AdapterError, AdapterState, BaseLinear, Preset, Projection,
    RouterScope, StoredAdapter, TargetModules, adapter_state, attach, attach_saved,
    trainable_parameters,
};
use router::{RouterConfig, RoutingTape};
use svd_init::{InitConfig, PrincipalConfig};

fn base() -> Decoder {
    let mut config = DecoderConfig::new(40, 32, 48, 4, 4);
    config.initializer_range = 0.2;
    Decoder::init_random(&config, 0, &Device::flex()).unwrap().no_grad()
}

/// An adapter with values that do something, as after training.
fn trained(config: &AdapterConfig) -> Decoder {
    trained_on(base(), config)
}

fn trained_on(mut model: Decoder, config: &AdapterConfig) -> Decoder {
    attach(&mut model, config, 1).unwrap();
    let mut state = adapter_state(&model);
    let mut seed = 1_u64;
    for (name, data) in &mut state {
        if name.contains(".start.") || name.contains("expert_scaling") {
            continue;
        }
        let values: Vec<f32> = data
            .iter::<f32>()
            .map(|value| {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                value + 0.1 * ((seed >> 40) as f32 / (1 << 23) as f32 - 1.0)
            })
            .collect();
        *data = TensorData::new(values, data.shape().clone());
    }
    moe_adapter::load_adapter_state(&mut model, state, "test").unwrap();
    model
}

fn logits<P: Projection>(model: &Decoder<P>) -> TensorData {
    let ids: Vec<i64> = (0..20).map(|at| (7 * at) % 40).collect();
    let ids = Tensor::from_data(TensorData::new(ids, [2, 10]), &Device::flex());
    let input = TokenInput::new(ids);
    let mut tape = RoutingTape::new(input.context());
    model.logits(model.hidden_states(&input, None, &mut tape)).into_data()
}

/// The largest difference, relative to the largest value.
fn difference(found: &TensorData, expected: &TensorData) -> f32 {
    let largest = expected.iter::<f32>().fold(0.0, |largest: f32, value| largest.max(value.abs()));
    let pairs = found.iter::<f32>().zip(expected.iter::<f32>());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

fn weights(model: &Decoder) -> BTreeMap<String, TensorData> {
    let mut weights = BTreeMap::new();
    model.visit_projections(&mut |path, _, projection| {
        weights.insert(path.to_owned(), projection.linear().weight().into_data());
    });
    weights
}

fn uniform() -> RouterConfig {
    RouterConfig::Uniform {}
}

/// The methods, mixtures with a uniform router, and what is hardest to take out.
fn cases() -> Vec<(String, AdapterConfig)> {
    let presets = Preset::ALL.into_iter().map(|preset| {
        let mut config = preset.config();
        if config.is_mixture() {
            (config.router, config.balance_loss) = (uniform(), None);
            config.router_scope = RouterScope::Projection;
            config.top_k_by_layer = None;
        }
        (preset.to_string(), config)
    });
    let pissa = InitConfig::Pissa(PrincipalConfig::default());
    let dora = AdapterConfig { init: pissa, ..Preset::Dora.config() };
    let through = AdapterConfig {
        target_modules: TargetModules::Names(vec!["q_proj".into()]),
        identity_experts: 1,
        identity_mode: serde_json::from_str("\"pass_through\"").unwrap(),
        router: uniform(),
        balance_loss: None,
        ..Preset::Slim.config()
    };
    let more = [("dora over pissa", dora), ("pass through", through)];
    presets.chain(more.map(|(name, config)| (name.to_owned(), config))).collect()
}

#[test]
fn what_is_merged_is_taken_out_again() {
    let expected = weights(&base());
    for (name, config) in cases() {
        let model = trained(&config);
        let state = adapter_state(&model);
        let mut merged = model.clone();
        let mut record = merge_adapters(&mut merged, &FixedRouting::new()).unwrap();
        let off = difference(&logits(&merged), &logits(&model));
        assert!(off < 1e-5, "{name}: merged is {off:.1e} away");
        record.complete(&base());
        let folder = tempfile::tempdir().unwrap();
        record.write(folder.path()).unwrap();
        let read = MergeRecord::read(folder.path(), &Device::flex()).unwrap().unwrap();
        read.check_adapter(&state).unwrap();
        let mut undone = merged.clone();
        unmerge_adapters(&mut undone, &read).unwrap();
        let mut worst = 0.0_f32;
        for (path, weight) in weights(&undone) {
            worst = worst.max(difference(&weight, &expected[&path]));
        }
        println!("{name}: {worst:e}, {} recorded as they were", record.base.len());
        assert!(worst <= 1e-6, "{name}: {worst:e}");
        let off = difference(&logits(&merged), &logits(&undone));
        assert!(off > 1e-3, "{name}: the adapter changes nothing");

        let of_adapter = MergeRecord::of_adapter(&merged, &config, state, "adapter");
        assert_eq!(record.implied, of_adapter.is_ok(), "{name}");
        if let Ok(record) = of_adapter {
            let mut undone = merged.clone();
            unmerge_adapters(&mut undone, &record).unwrap();
            for (path, weight) in weights(&undone) {
                let off = difference(&weight, &expected[&path]);
                assert!(off <= 1e-6, "{name}: {off:e}");
            }
        }
    }
}

/// The linears of a base model's experts are adapted and merged as any others.
#[test]
fn adapters_of_every_family_are_merged_and_taken_out() {
    for family in Family::ALL {
        let mut config = DecoderConfig::new(40, 32, 48, 2, 4).with_family(family);
        config.initializer_range = 0.2;
        if let Some(sparse) = &mut config.sparse {
            (sparse.num_experts, sparse.num_experts_per_tok) = (4, 2);
        }
        let base: Decoder = Decoder::init_random(&config, 0, &Device::flex()).unwrap().no_grad();
        let lora = AdapterConfig::lora(4, 8.0, TargetModules::all_linear());
        let model = trained_on(base.clone(), &lora);
        let mut merged = model.clone();
        let mut record = merge_adapters(&mut merged, &FixedRouting::new()).unwrap();
        let off = difference(&logits(&merged), &logits(&model));
        assert!(off < 1e-5, "{family}: merged is {off:.1e} away");
        let off = difference(&logits(&merged), &logits(&base));
        assert!(off > 1e-3, "{family}: the adapter changes nothing");
        record.complete(&base);
        unmerge_adapters(&mut merged, &record).unwrap();
        let off = difference(&logits(&merged), &logits(&base));
        assert!(off < 1e-5, "{family}: taken out is {off:.1e} away");
    }
}

#[test]
fn given_weights_are_those_of_the_static_mixture() {
    let config = AdapterConfig { num_experts: 2, ..Preset::Hydralora.config() };
    let model = trained(&config);
    let routing = fixed_routing(&model, &[0.2, 0.8]).unwrap();
    let mut merged = model.clone();
    merge_adapters(&mut merged, &routing).unwrap();
    // Twice the weight of each expert is twice the difference from the base model.
    let mut twice = model.clone();
    let routing = fixed_routing(&model, &[0.4, 1.6]).unwrap();
    merge_adapters(&mut twice, &routing).unwrap();
    let (once, twice, base) = (weights(&merged), weights(&twice), weights(&base()));
    for (path, weight) in &base {
        let moved = |weights: &BTreeMap<String, TensorData>| -> Vec<f32> {
            let pairs = weights[path].iter::<f32>().zip(weight.iter::<f32>());
            pairs.map(|(a, b)| a - b).collect()
        };
        for (once, twice) in moved(&once).into_iter().zip(moved(&twice)) {
            assert!((2.0 * once - twice).abs() < 1e-5, "{path}");
        }
    }
    let single = fixed_routing(&trained(&Preset::Lora.config()), &[1.0]).unwrap_err();
    assert!(single.to_string().contains("no router"), "{single}");
    let (single, _) = stored(&Preset::Lora.config());
    let error = extract_mixture(&single, Some(&[1.0])).unwrap_err().to_string();
    assert!(error.contains("single adapter already"), "{error}");
    // Where a router decides for the whole model, its weights are those of every place.
    let whole = AdapterConfig { num_experts: 2, ..Preset::XLora.config() };
    assert!(!fixed_routing(&trained(&whole), &[0.2, 0.8]).unwrap().is_empty());
    let blocks = fixed_routing(&trained(&Preset::Mixlora.config()), &[0.125; 8]).unwrap_err();
    assert!(matches!(blocks, ArithmeticError::BlockRouter { .. }), "{blocks}");
    for found in [vec![1.0], vec![0.5, f64::NAN]] {
        let error = fixed_routing(&model, &found).unwrap_err();
        assert!(matches!(error, ArithmeticError::ExpertWeights { experts: 2, .. }), "{error}");
    }
}

#[test]
fn a_record_of_another_model_is_refused() {
    let config = Preset::Lora.config();
    let mut merged = trained(&config);
    let record = merge_adapters(&mut merged, &FixedRouting::new()).unwrap();
    let other = DecoderConfig::new(40, 16, 24, 2, 4);
    let mut other: Decoder = Decoder::init_random(&other, 0, &Device::flex()).unwrap();
    let error = unmerge_adapters(&mut other, &record).unwrap_err();
    assert!(matches!(error, ArithmeticError::MergeRecord { .. }), "{error}");
    let mut record = merge_adapters(&mut trained(&Preset::Full.config()), &FixedRouting::new());
    let record = record.as_mut().unwrap();
    let error = unmerge_adapters(&mut base(), record).unwrap_err();
    assert!(
        matches!(error, ArithmeticError::Adapter(AdapterError::MissingTensor { .. })),
        "{error}"
    );
}

#[test]
fn dora_over_a_residual_loads_as_it_was() {
    let init = InitConfig::Pissa(PrincipalConfig::default());
    let config = AdapterConfig { init, ..Preset::Dora.config() };
    let model = trained(&config);
    let state: AdapterState = adapter_state(&model);
    let mut loaded = base();
    attach_saved(&mut loaded, &config, state, "adapter").unwrap();
    let off = difference(&logits(&loaded), &logits(&model));
    assert!(off < 1e-6, "{off:e}");
}

/// A mixture as its folder holds it, and its model.
fn stored(config: &AdapterConfig) -> (StoredAdapter, Decoder) {
    let model = trained(config);
    (StoredAdapter::of(&model, config, None), model)
}

fn loaded(adapter: &StoredAdapter) -> Decoder {
    let mut model = base();
    attach_saved(&mut model, &adapter.config, adapter.state.clone(), "adapter").unwrap();
    model
}

/// A mixture merged at fixed weights, which is computed in another way.
fn merged_at(model: &Decoder, weights: &[f64]) -> Decoder {
    let mut merged = model.clone();
    let routing = fixed_routing(model, weights).unwrap();
    merge_adapters(&mut merged, &routing).unwrap();
    merged
}

/// Mixtures of three routed experts of every kind.
fn mixtures() -> Vec<(&'static str, AdapterConfig)> {
    let three = |preset: Preset| AdapterConfig {
        num_experts: 3,
        num_experts_by_layer: None,
        balance_loss: None,
        router: RouterConfig::default(),
        ..preset.config()
    };
    let fixed = serde_json::json!({
        "type": "lora", "merging": { "rate": 0.5, "mask": "fixed", "seed": 3 },
    });
    vec![
        ("loramoe", three(Preset::LoramoePaper)),
        ("by linear", {
            let mut config = three(Preset::LoramoePaper);
            config.rank_pattern.insert("up_proj".into(), 2);
            config.alpha_pattern.insert("down_proj".into(), 3.0);
            config
        }),
        ("hydra", three(Preset::Hydralora)),
        ("goat", AdapterConfig { r: 12, ..three(Preset::GoatPaper) }),
        ("dora", AdapterConfig { num_experts: 3, balance_loss: None, ..Preset::Dora.config() }),
        ("mov", three(Preset::Mov)),
        (
            "fixed masks",
            AdapterConfig {
                experts: serde_json::from_value(fixed).unwrap(),
                ..three(Preset::LoramoePaper)
            },
        ),
    ]
}

#[test]
fn an_expert_computes_alone_what_it_did_in_the_mixture() {
    for (name, config) in mixtures() {
        let (adapter, model) = stored(&config);
        for expert in 0..3 {
            let single = extract_expert(&adapter, expert).unwrap();
            assert!(!single.config.is_mixture());
            let mut weights = [0.0; 3];
            weights[expert] = 1.0;
            let expected = logits(&merged_at(&model, &weights));
            let off = difference(&logits(&loaded(&single)), &expected);
            assert!(off < 1e-5, "{name}: expert {expert} is {off:e} away");
        }
        let error = extract_expert(&adapter, 3).unwrap_err();
        assert!(
            matches!(error, ArithmeticError::ExpertNotFound { experts: 3, .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_static_mixture_is_one_lora() {
    let weights = [0.2, 1.1, -0.3];
    for (name, config) in mixtures() {
        let (adapter, model) = stored(&config);
        let mixture = extract_mixture(&adapter, Some(&weights));
        if name == "dora" {
            assert!(mixture.unwrap_err().to_string().contains("DoRA"));
            continue;
        }
        let mixture = mixture.unwrap();
        let off = difference(&logits(&loaded(&mixture)), &logits(&merged_at(&model, &weights)));
        assert!(off < 1e-5, "{name} is {off:e} away");
        let r = |config: &AdapterConfig| config.sizes(0, 1).rank;
        match name {
            "loramoe" => assert_eq!(r(&mixture.config), 3 * r(&config)),
            "hydra" => assert_eq!(r(&mixture.config), r(&config)),
            "goat" => assert_eq!(r(&mixture.config), 6 * r(&config)),
            _ => {}
        }
        let error = extract_mixture(&adapter, None).unwrap_err();
        assert!(matches!(error, ArithmeticError::InputDependent { .. }), "{error}");
        let error = extract_mixture(&adapter, Some(&[1.0])).unwrap_err();
        assert!(matches!(error, ArithmeticError::ExpertWeights { experts: 3, .. }), "{error}");
        let uniform = AdapterConfig { router: uniform(), ..config };
        let (adapter, model) = stored(&uniform);
        let mean = extract_mixture(&adapter, None).unwrap();
        let off = difference(&logits(&loaded(&mean)), &logits(&model));
        assert!(off < 1e-5, "{name}: the mean is {off:e} away");
    }
}

#[test]
fn identity_and_shared_experts_are_counted_as_the_router_counts() {
    let config = AdapterConfig {
        num_experts: 2,
        identity_experts: 1,
        shared_experts: 1,
        balance_loss: None,
        router: RouterConfig::default(),
        ..Preset::LoramoePaper.config()
    };
    let (adapter, model) = stored(&config);
    let error = extract_expert(&adapter, 0).unwrap_err().to_string();
    assert!(error.contains("identity"), "{error}");
    // The mixture with all weight on an expert is that expert and the shared one.
    let of = |expert: usize| extract_expert(&adapter, expert).unwrap();
    assert_ne!(of(1).state, of(2).state);
    assert_ne!(of(2).state, of(3).state);
    assert!(matches!(extract_expert(&adapter, 4), Err(ArithmeticError::ExpertNotFound { .. })));
    let weights = [0.3, 0.5, 0.2];
    let mixture = extract_mixture(&adapter, Some(&weights)).unwrap();
    let off = difference(&logits(&loaded(&mixture)), &logits(&merged_at(&model, &weights)));
    assert!(off < 1e-5, "{off:e}");
}

#[test]
fn an_expert_of_blocks_is_taken_out_of_all_their_linears() {
    let mut config = Preset::Mixlora.config();
    // With a gate of zeros the only selected expert is the first, with weight 1.
    config.router = serde_json::from_value(
        serde_json::json!({ "type": "top_k", "k": 1, "gate": { "init": "zeros" } }),
    )
    .unwrap();
    let (mut adapter, _) = stored(&config);
    for (name, data) in &mut adapter.state {
        if name.contains(".router.") {
            *data = TensorData::new(vec![0.0_f32; data.num_elements()], data.shape().clone());
        }
    }
    let single = extract_expert(&adapter, 0).unwrap();
    let off = difference(&logits(&loaded(&single)), &logits(&loaded(&adapter)));
    assert!(off < 1e-5, "{off:e}");
    let error = extract_mixture(&adapter, Some(&[0.125; 8])).unwrap_err();
    assert!(matches!(error, ArithmeticError::BlockRouter { .. }), "{error}");
}

#[test]
fn a_start_that_is_not_stored_is_refused() {
    let config = Preset::GoatPaper.config();
    let (mut adapter, _) = stored(&config);
    adapter.state.retain(|name, _| !name.contains(".start."));
    let error = extract_expert(&adapter, 0).unwrap_err().to_string();
    assert!(error.contains("goat") && error.contains("--to native"), "{error}");
    let (adapter, _) = stored(&Preset::Full.config());
    let error = extract_expert(&adapter, 0).unwrap_err().to_string();
    assert!(error.contains("no experts"), "{error}");
}

/// Single adapters of different ranks, scalings, starts and targets.
fn singles() -> Vec<AdapterConfig> {
    let targets = |names: [&str; 2]| TargetModules::Names(names.map(String::from).to_vec());
    vec![
        AdapterConfig::lora(2, 4.0, targets(["q_proj", "up_proj"])),
        AdapterConfig {
            use_rslora: true,
            ..AdapterConfig::lora(3, 4.0, targets(["q_proj", "o_proj"]))
        },
        AdapterConfig {
            init: InitConfig::Pissa(PrincipalConfig::default()),
            ..AdapterConfig::lora(2, 2.0, targets(["up_proj", "down_proj"]))
        },
    ]
}

#[test]
fn a_mixture_of_adapters_starts_as_their_mean() {
    let models: Vec<_> = singles().iter().map(stored).collect();
    let adapters: Vec<_> = models.iter().map(|(adapter, _)| adapter.clone()).collect();
    let mut mean = weights(&base());
    for (_, model) in &models {
        let mut merged = model.clone();
        merge_adapters(&mut merged, &FixedRouting::new()).unwrap();
        let (merged, base) = (weights(&merged), weights(&base()));
        for (path, weight) in &mut mean {
            let moved = merged[path].iter::<f32>().zip(base[path].iter::<f32>());
            let sum: Vec<f32> = weight
                .iter::<f32>()
                .zip(moved)
                .map(|(sum, (merged, base))| sum + (merged - base) / 3.0)
                .collect();
            *weight = TensorData::new(sum, weight.shape().clone());
        }
    }
    let mut expected = base();
    expected.visit_projections_mut(&mut |path, _, projection| {
        let weight = Tensor::from_data(mean[path].clone(), &Device::flex());
        moe_adapter::AdaptedProjection::replace_weight(projection, weight);
    });
    for router in ["dense", "uniform"] {
        let options = MixOptions::named(router).unwrap();
        let mixed = mix_adapters(&adapters, &options, &Device::flex()).unwrap();
        assert_eq!(mixed.adapter.config.num_experts, 3);
        assert_eq!(mixed.notes.len(), 3, "{:?}", mixed.notes);
        assert!(mixed.notes[0].contains("adapter 1 adapts 8 of 16"), "{:?}", mixed.notes);
        let model = loaded(&mixed.adapter);
        let off = difference(&logits(&model), &logits(&expected));
        assert!(off < 1e-5, "{router} is {off:e} away");
        // Every expert is still what its adapter was.
        for (index, (_, alone)) in models.iter().enumerate() {
            let single = extract_expert(&mixed.adapter, index).unwrap();
            let off = difference(&logits(&loaded(&single)), &logits(alone));
            assert!(off < 1e-5, "expert {index} is {off:e} away");
        }
    }
    let mixed = mix_adapters(&adapters, &MixOptions::named("top_k").unwrap(), &Device::flex());
    let notes = mixed.unwrap().notes;
    assert!(notes.last().unwrap().contains("does not start as the mean"), "{notes:?}");
    let random = MixOptions { router_seed: Some(1), ..MixOptions::default() };
    let mixed = mix_adapters(&adapters, &random, &Device::flex()).unwrap();
    let gate = mixed.adapter.state.iter().find(|(name, _)| name.ends_with("router.weight"));
    assert!(gate.unwrap().1.iter::<f32>().any(|value| value != 0.0));
}

#[test]
fn what_cannot_be_mixed_is_refused_by_its_reason() {
    let (lora, _) = stored(&singles()[0]);
    let mixed = |other: &AdapterConfig| {
        let adapters = [lora.clone(), stored(other).0];
        mix_adapters(&adapters, &MixOptions::default(), &Device::flex()).unwrap_err().to_string()
    };
    assert!(mixed(&mixtures()[0].1).contains("adapter 2: it is a mixture already"));
    assert!(mixed(&Preset::Dora.config()).contains("DoRA"));
    assert!(mixed(&Preset::Full.config()).contains("as a whole"));
    let dora = |target: &str| AdapterConfig {
        target_modules: TargetModules::Names(vec![target.into()]),
        ..Preset::Dora.config()
    };
    let mix = |targets: [&str; 2]| {
        let models = targets.map(|target| stored(&dora(target)));
        let adapters = models.each_ref().map(|(adapter, _)| adapter.clone());
        (mix_adapters(&adapters, &MixOptions::default(), &Device::flex()), models)
    };
    assert!(mix(["q_proj", "k_proj"]).0.unwrap_err().to_string().contains("norm"));
    let (mixed, models) = mix(["q_proj", "q_proj"]);
    let mixed = mixed.unwrap();
    assert!(mixed.notes.is_empty());
    let single = extract_expert(&mixed.adapter, 1).unwrap();
    let off = difference(&logits(&loaded(&single)), &logits(&models[1].1));
    assert!(off < 1e-5, "{off:e}");
}

#[test]
fn only_routers_with_parameters_are_trained_alone() {
    let model = trained(&mixtures()[0].1);
    let mut frozen = model.clone();
    let count = train_router_only(&mut frozen).unwrap();
    assert_eq!(trainable_parameters(&frozen), count);
    // Three experts on each of 4 layers' linears with 32, 32 and 48 inputs.
    assert_eq!(count, 4 * 3 * (32 + 32 + 48));
    let refused =
        |config: &AdapterConfig| train_router_only(&mut trained(config)).unwrap_err().to_string();
    assert!(refused(&Preset::Lora.config()).contains("no router"));
    let uniform = AdapterConfig { router: uniform(), ..mixtures()[0].1.clone() };
    assert!(refused(&uniform).contains("no router"));
    let whole = AdapterConfig {
        modules_to_save: Some(TargetModules::Names(vec!["lm_head".into()])),
        ..mixtures()[0].1.clone()
    };
    assert!(refused(&whole).contains("modules_to_save"));
}

/// The base model with Burn's linears.
fn burn_base() -> Decoder<BaseLinear> {
    let mut config = DecoderConfig::new(40, 32, 48, 4, 4);
    config.initializer_range = 0.2;
    Decoder::init_random(&config, 0, &Device::flex()).unwrap()
}

/// Fills Burn's LoRA with values that do something.
fn filled(mut model: Decoder<BaseLinear>) -> Decoder<BaseLinear> {
    struct Fill(Option<LoraAdapter>);
    impl Reparameterizer for Fill {
        type Reparam = LoraAdapter;
        fn reparameterize<const D: usize>(
            &mut self,
            _path: &str,
            param: Param<Tensor<D>>,
        ) -> (Param<Tensor<D>>, Option<LoraAdapter>) {
            (param, self.0.take())
        }
    }
    model.visit_projections_mut(&mut |_, _, linear| {
        let BaseLinear::Dense(linear) = linear else { return };
        let Some(LoraAdapter { a, b, scale }) = linear.weight.adapter().cloned() else { return };
        let b = b.map(|b| b.random_like(Distribution::Normal(0.0, 0.2)));
        let weight = Param::from_tensor(linear.weight.base());
        linear.weight = weight.apply_reparameterization(Fill(Some(LoraAdapter { a, b, scale })));
    });
    model
}

#[test]
fn loras_of_burn_come_in_and_go_out_with_equal_logits() {
    assert_eq!(logits(&burn_base()), logits(&base()));
    let linears = ParamGroup::from_any_predicates(vec!["q_proj", "up_proj"]);
    let model = filled(burn_base().apply_lora(Lora::new(3, 6.0).set_param_group(linears)));
    let adapter = from_burn_lora(&model, Some("base")).unwrap();
    assert_eq!((adapter.config.r, adapter.config.lora_alpha), (3, 6.0));
    let names = ["q_proj", "up_proj"].map(String::from).to_vec();
    assert_eq!(adapter.config.target_modules, TargetModules::Names(names));
    let off = difference(&logits(&loaded(&adapter)), &logits(&model));
    assert!(off < 1e-5, "in: {off:e}");
    assert!(difference(&logits(&model), &logits(&base())) > 1e-3);

    for config in singles() {
        let (adapter, expected) = stored(&config);
        let mut model = burn_base();
        assert_eq!(to_burn_lora(&mut model, &adapter).unwrap(), 8);
        let off = difference(&logits(&model), &logits(&expected));
        assert!(off < 1e-5, "out: {off:e}");
        let again = from_burn_lora(&model, None).unwrap();
        let off = difference(&logits(&loaded(&again)), &logits(&expected));
        assert!(off < 1e-5, "back: {off:e}");
        let error = to_burn_lora(&mut model, &adapter).unwrap_err().to_string();
        assert!(error.contains("already"), "{error}");
    }
}

#[test]
fn what_burn_has_no_place_for_is_refused() {
    let refused = |config: &AdapterConfig| {
        to_burn_lora(&mut burn_base(), &stored(config).0).unwrap_err().to_string()
    };
    assert!(refused(&mixtures()[0].1).contains("mixtures"));
    assert!(refused(&Preset::Dora.config()).contains("magnitudes"));
    assert!(refused(&Preset::Full.config()).contains("as a whole"));
    assert!(matches!(
        from_burn_lora(&burn_base(), None),
        Err(ArithmeticError::Adapter(AdapterError::NoAdapter))
    ));
    let everywhere = burn_base().apply_lora(Lora::new(2, 2.0));
    let error = from_burn_lora(&everywhere, None).unwrap_err().to_string();
    assert!(error.contains("embed_tokens") && error.contains("ParamGroup"), "{error}");
}

#[test]
fn every_published_router_mixes_adapters() {
    let adapters: Vec<_> = singles().iter().map(|config| stored(config).0).collect();
    for preset in Preset::ALL {
        let config = preset.config();
        if !config.is_mixture() || config.router_scope == RouterScope::FeedForward {
            continue;
        }
        let options = MixOptions::named(preset.name()).unwrap();
        let mixed = mix_adapters(&adapters, &options, &Device::flex()).unwrap();
        let adapter = StoredAdapter { source: None, ..mixed.adapter };
        let folder = tempfile::tempdir().unwrap();
        adapter.write(folder.path()).unwrap();
        assert_eq!(StoredAdapter::read(folder.path()).unwrap(), adapter, "{preset}");
        assert!(logits(&loaded(&adapter)).iter::<f32>().all(f32::is_finite), "{preset}");
    }
}
