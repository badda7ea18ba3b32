//! What the parts of an adapter compute by themselves, on numbers that can be followed by hand.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use moe_adapter::{
    Adaptable, AdaptedLinear, AdapterConfig, AdapterError, AdapterFiles, Preset, Projection,
    StartFactors, TargetModules, attach, parameter_names,
};
use router::Site;

#[derive(Module, Debug)]
struct Model {
    layer: AdaptedLinear,
    head: Linear,
}

impl Model {
    fn new(device: &Device) -> Self {
        let linear = |input, output| LinearConfig::new(input, output).init(device).no_grad();
        Self { layer: AdaptedLinear::from_linear(linear(4, 4)), head: linear(4, 3) }
    }
}

impl Adaptable for Model {
    type Projection = AdaptedLinear;

    fn visit_projections(&self, visit: &mut dyn FnMut(&str, Site, &AdaptedLinear)) {
        visit("layer", Site::new(0, "layer"), &self.layer);
    }

    fn visit_projections_mut(&mut self, visit: &mut dyn FnMut(&str, Site, &mut AdaptedLinear)) {
        visit("layer", Site::new(0, "layer"), &mut self.layer);
    }

    fn tied_modules(&self) -> Vec<(&'static str, &'static str)> {
        vec![("output.head", "embeddings")]
    }
}

fn config(modules_to_save: &[&str]) -> AdapterConfig {
    let mut config = Preset::LoramoePaper.config();
    config.target_modules = TargetModules::Names(vec!["layer".into()]);
    let names = modules_to_save.iter().map(|name| (*name).to_owned()).collect();
    config.modules_to_save = (!modules_to_save.is_empty()).then_some(TargetModules::Names(names));
    config
}

#[test]
fn start_factors_are_the_sum_of_the_experts_products() {
    let device = Device::flex();
    // Two experts of rank 3, from 2 features to 1: all three sizes differ.
    let a = Tensor::<3>::from_data(
        [[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[7.0, 8.0], [9.0, 10.0], [11.0, 12.0]]],
        &device,
    );
    let b = Tensor::<3>::from_data([[[1.0, -1.0, 2.0]], [[0.5, 1.5, -2.0]]], &device);
    let base = Tensor::<2>::from_data([[100.0], [200.0]], &device);
    let factors = StartFactors::new(a, b, &base);
    let (stacked_a, stacked_b) = factors.stacked();
    assert_eq!((stacked_a.dims(), stacked_b.dims()), ([6, 2], [1, 6]));
    // Of the first feature 1 - 3 + 10 + 3.5 + 13.5 - 22, of the second 2 - 4 + 12 + 4 + 15 - 24.
    let residual = factors.residual(base.clone()).into_data();
    assert_eq!(residual, TensorData::from([[97.0f32], [195.0]]));
    let residual = Tensor::<2>::from_data([[97.0], [195.0]], &device);
    assert_eq!(factors.base(residual).into_data(), base.clone().into_data());
    assert!(factors.fits(&base));
    assert!(!factors.fits(&(base + 1.0)));
}

#[test]
fn every_parameter_has_a_name_of_its_own() {
    #[derive(Default)]
    struct Ids(BTreeSet<ParamId>);
    impl ModuleVisitor for Ids {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.insert(param.id);
        }
    }
    let mut model = Model::new(&Device::flex());
    attach(&mut model, &config(&[]), 1).unwrap();
    let mut ids = Ids::default();
    model.visit(&mut ids);
    let names = parameter_names(&model);
    assert_eq!(names.keys().copied().collect::<BTreeSet<_>>(), ids.0);
    let found: BTreeSet<_> = names.values().map(String::as_str).collect();
    assert_eq!(found.len(), ids.0.len(), "{found:?}");
    for name in ["layer.weight", "layer.bias", "head.weight", "head.bias"] {
        assert!(found.contains(name), "{name}: {found:?}");
    }
    let adapter: Vec<_> = found.iter().filter(|name| name.contains("lora_")).collect();
    assert!(!adapter.is_empty() && adapter.iter().all(|name| name.starts_with("layer.")));
}

#[test]
fn a_module_to_save_that_is_nowhere_is_told_from_one_that_is_tied() {
    let mut model = Model::new(&Device::flex());
    // `head` is found, and would also be the end of the path of a tied module.
    match attach(&mut model, &config(&["head", "nowhere"]), 1) {
        Err(AdapterError::ModulesToSave { targets, available }) => {
            assert_eq!(targets, "[\"nowhere\"]");
            assert!(available.contains("head"), "{available}");
        }
        other => panic!("{other:?}"),
    }
    match attach(&mut model, &config(&["output.head"]), 1) {
        Err(AdapterError::TiedModule { module, owner }) => {
            assert_eq!((module.as_str(), owner.as_str()), ("output.head", "embeddings"));
        }
        other => panic!("{other:?}"),
    }
    assert!(attach(&mut model, &config(&["head"]), 1).is_ok());
}

#[test]
fn tokens_of_a_model_without_rows_for_them_are_refused() {
    let indices = serde_json::from_str("[1]").unwrap();
    let config = AdapterConfig { trainable_token_indices: Some(indices), ..config(&[]) };
    match attach(&mut Model::new(&Device::flex()), &config, 1) {
        Err(AdapterError::TokenModule { module, available }) => {
            assert_eq!((module.as_str(), available.as_str()), ("embed_tokens", ""));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_folder_of_an_adapter_is_said() {
    let said = |folder: &Path| match AdapterFiles::read(folder) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{} was read", folder.display()),
    };
    let folder = tempfile::tempdir().unwrap();
    assert!(said(&folder.path().join("x")).contains("there is no such folder"));
    assert!(said(folder.path()).contains("it has no adapter_config.json"));
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    assert!(said(folder.path()).contains("is the folder of a model, not of an adapter"));
}
