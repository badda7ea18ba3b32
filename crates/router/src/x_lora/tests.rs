use burn::module::Param;
use burn::tensor::{Device, Distribution, Tensor};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::*;
use crate::{BatchContext, Decided, RouterConfig, RouterError, RouterShape, Routing, Site};

const EXPERTS: usize = 4;

fn sites() -> Vec<Site> {
    vec![Site::new(0, "q_proj"), Site::new(0, "v_proj"), Site::new(1, "q_proj")]
}

fn classifier(config: &XLoraConfig) -> XLoraClassifier {
    let shape = RouterShape::new(8, EXPERTS);
    config.init(&shape, sites(), &mut SmallRng::seed_from_u64(3), &Device::flex()).unwrap()
}

fn hidden() -> Tensor<3> {
    Tensor::random([2, 5, 8], Distribution::Normal(0.0, 2.0), &Device::flex())
}

fn at(decided: &Decided, site: usize) -> Routing {
    decided.at(sites()[site], [10, EXPERTS], &Device::flex()).unwrap()
}

fn rows(tensor: &Tensor<2>) -> Vec<Vec<f32>> {
    let values: Vec<f32> = tensor.clone().into_data().iter::<f32>().collect();
    values.chunks(EXPERTS).map(<[f32]>::to_vec).collect()
}

#[test]
fn all_linears_have_one_decision_or_each_its_own() {
    let context = BatchContext::new(2, 5);
    let one = classifier(&XLoraConfig::default()).decide(hidden(), &context);
    assert_eq!(rows(&at(&one, 0).weights), rows(&at(&one, 2).weights));
    let config = XLoraConfig { layerwise_scalings: true, ..XLoraConfig::default() };
    let each = classifier(&config).decide(hidden(), &context);
    assert_ne!(rows(&at(&each, 0).weights), rows(&at(&each, 2).weights));
    for row in rows(&at(&each, 1).weights) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{row:?}");
    }
    assert!(each.at(Site::new(7, "q_proj"), [10, EXPERTS], &Device::flex()).is_none());
}

#[test]
fn the_largest_scalings_stay_as_they_are_or_are_normalised_again() {
    let (x, context) = (hidden(), BatchContext::new(2, 5));
    let all = classifier(&XLoraConfig::default()).decide(x.clone(), &context);
    let config = XLoraConfig { top_k_lora: Some(2), ..XLoraConfig::default() };
    let few = classifier(&config).decide(x.clone(), &context);
    let config = XLoraConfig { enable_softmax_topk: true, ..config };
    let again = classifier(&config).decide(x, &context);
    let [all, few, again] = [&all, &few, &again].map(|decided| rows(&at(decided, 0).weights));
    for ((all, few), again) in all.iter().zip(&few).zip(&again) {
        let kept: Vec<usize> = (0..EXPERTS).filter(|e| few[*e] > 0.0).collect();
        assert_eq!(kept.len(), 2);
        assert!(kept.iter().all(|e| few[*e] == all[*e]), "{few:?} {all:?}");
        let sum: f32 = kept.iter().map(|e| few[*e].exp()).sum();
        assert!(kept.iter().all(|e| (again[*e] - few[*e].exp() / sum).abs() < 1e-5), "{again:?}");
    }
}

#[test]
fn weights_are_scores_without_a_softmax_and_have_a_common_factor() {
    let (x, context) = (hidden(), BatchContext::new(2, 5));
    let config =
        XLoraConfig { enable_softmax: false, global_scaling_weight: 0.5, ..XLoraConfig::default() };
    let routing = at(&classifier(&config).decide(x, &context), 0);
    let expected = rows(&(routing.logits * 0.5));
    assert_eq!(rows(&routing.weights), expected);
}

#[test]
fn dropout_is_only_in_training_and_follows_from_the_seed() {
    let config = XLoraConfig { xlora_depth: 3, xlora_size: 16, ..XLoraConfig::default() };
    let (classifier, x) = (classifier(&config), hidden());
    let weights =
        |context: &BatchContext| rows(&at(&classifier.decide(x.clone(), context), 0).weights);
    let plain = BatchContext::new(2, 5);
    let training = |seed| BatchContext::new(2, 5).with_training(seed);
    assert_eq!(weights(&plain), weights(&plain));
    assert_eq!(weights(&training(1)), weights(&training(1)));
    assert_ne!(weights(&training(1)), weights(&training(2)));
    assert_ne!(weights(&training(1)), weights(&plain));
}

#[test]
fn the_first_pass_is_that_of_the_base_model_or_has_constant_weights() {
    let first = |config: XLoraConfig| classifier(&config).first_pass();
    assert!(matches!(first(XLoraConfig::default()), Decided::Nothing));
    let config = XLoraConfig {
        scaling_pass_value: 0.25,
        global_scaling_weight: 2.0,
        ..XLoraConfig::default()
    };
    let weights = rows(&at(&first(config), 1).weights);
    assert_eq!(weights, vec![vec![0.5; EXPERTS]; 10]);
}

#[test]
fn what_cannot_work_is_refused_by_its_key() {
    let field = |change: fn(&mut XLoraConfig)| {
        let mut config = XLoraConfig::default();
        change(&mut config);
        match config.check(EXPERTS).unwrap_err() {
            RouterError::Zero { field }
            | RouterError::Count { field, .. }
            | RouterError::Number { field, .. }
            | RouterError::Needs { field, .. } => field,
            other => panic!("{other}"),
        }
    };
    assert_eq!(field(|c| c.xlora_depth = 0), "xlora_depth");
    assert_eq!(field(|c| c.xlora_size = 0), "xlora_size");
    assert_eq!(field(|c| c.xlora_dropout_p = 1.0), "xlora_dropout_p");
    assert_eq!(field(|c| c.softmax_temperature = 0.0), "softmax_temperature");
    assert_eq!(field(|c| c.global_scaling_weight = f64::NAN), "global_scaling_weight");
    assert_eq!(field(|c| c.scaling_pass_value = f64::INFINITY), "scaling_pass_value");
    assert_eq!(field(|c| c.top_k_lora = Some(5)), "top_k_lora");
    assert_eq!(field(|c| c.enable_softmax_topk = true), "enable_softmax_topk");
    let ties = |c: &mut XLoraConfig| (c.top_k_lora, c.scaling_pass_value) = (Some(2), 0.1);
    assert_eq!(field(ties), "scaling_pass_value");
}

#[test]
fn it_is_no_router_of_one_linear() {
    let config = RouterConfig::XLora(XLoraConfig::default());
    let shape = RouterShape::new(8, EXPERTS);
    let error = config.check(&shape).unwrap_err();
    assert!(error.to_string().contains("x_lora"), "{error}");
    let rng = &mut SmallRng::seed_from_u64(0);
    assert_eq!(config.init(&shape, rng, &Device::flex()).unwrap_err(), error);
}

#[test]
fn each_layer_of_the_classifier_drops_others() {
    let config = XLoraConfig {
        xlora_depth: 3,
        xlora_size: EXPERTS,
        xlora_dropout_p: 0.5,
        ..XLoraConfig::default()
    };
    let (shape, device) = (RouterShape::new(EXPERTS, EXPERTS), Device::flex());
    let mut classifier =
        config.init(&shape, sites(), &mut SmallRng::seed_from_u64(3), &device).unwrap();
    for layer in &mut classifier.layers {
        layer.weight = Param::from_tensor(Tensor::eye(EXPERTS, &device));
        layer.bias = None;
    }
    let context = BatchContext::new(1, 400).with_training(5);
    let decided = classifier.decide(Tensor::ones([1, 400, EXPERTS], &device), &context);
    let weights = decided.at(sites()[0], [400, EXPERTS], &device).unwrap().weights;
    let alike = rows(&weights).iter().filter(|row| row.iter().all(|x| *x == row[0])).count();
    // A score is kept by both layers or 0: of four of them all are alike in 0.75^4 + 0.25^4 of the tokens, and were
    // in 2 * 0.5^4 of them if both layers dropped the same.
    assert!((100..160).contains(&alike), "{alike} of 400");
}
