//! Adapters folded into weights, and taken out of them again.

use std::collections::BTreeMap;

use adapter_arithmetic::{
    ArithmeticError, FixedRouting, MergeRecord, extract_mixture, fixed_routing, merge_adapters,
    unmerge_adapters,
};
use burn::module::Module;
use burn::tensor::{Device, TensorData};
use model_zoo::{Decoder, DecoderConfig, Family};
use moe_adapter::{
    AdapterConfig, AdapterError, AdapterState, Preset, RouterScope, TargetModules, adapter_state,
    attach_saved,
};
use svd_init::{InitConfig, PrincipalConfig};

use super::{base, difference, logits, stored, trained, trained_on, uniform, weights};

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
