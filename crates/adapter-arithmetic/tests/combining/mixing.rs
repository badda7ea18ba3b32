//! Mixtures of adapters that were trained one by one.

use adapter_arithmetic::{
    FixedRouting, MixOptions, extract_expert, merge_adapters, mix_adapters, train_router_only,
};
use burn::tensor::{Device, Tensor, TensorData};
use moe_adapter::{
    Adaptable, AdapterConfig, Preset, RouterScope, StoredAdapter, TargetModules,
    trainable_parameters,
};

use super::{
    base, difference, loaded, logits, mixtures, singles, stored, trained, uniform, weights,
};

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
