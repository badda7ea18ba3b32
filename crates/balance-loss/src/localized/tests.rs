use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use router::{BatchContext, Routing, RoutingTape, Site};

use super::*;
use crate::BalanceLossConfig;

const FORMS: [VariationForm; 2] = [VariationForm::VarOverMean, VariationForm::Cv2];

/// Routing weights by sample, token and expert.
type Weights = Vec<Vec<Vec<f32>>>;

/// Arbitrary distributions over experts, the same for the same arguments.
fn weights(batch: usize, seq: usize, experts: usize) -> Weights {
    let token = |b: usize, s: usize| {
        let scores: Vec<f32> =
            (0..experts).map(|e| 1.0 + ((7 * b + 5 * s + 3 * e) % 11) as f32).collect();
        let sum: f32 = scores.iter().sum();
        scores.into_iter().map(|score| score / sum).collect()
    };
    (0..batch).map(|b| (0..seq).map(|s| token(b, s)).collect()).collect()
}

fn routing(weights: Tensor<2>) -> Routing {
    let logits = weights.clone().log();
    Routing::dense(logits, weights.clone(), weights)
}

fn context(weights: &Weights, types: Option<&[i64]>) -> BatchContext {
    let context = BatchContext::new(weights.len(), weights[0].len());
    match types {
        Some(types) => context.with_task_types(Tensor::<1, Int>::from_data(types, &Device::flex())),
        None => context,
    }
}

fn push(tape: &mut RoutingTape, layer: usize, weights: &Weights) {
    let (tokens, experts) = (weights.len() * weights[0].len(), weights[0][0].len());
    let values: Vec<f32> = weights.iter().flatten().flatten().copied().collect();
    let tensor = Tensor::from_data(TensorData::new(values, [tokens, experts]), &Device::flex());
    tape.push(Site::new(layer, "mlp.up_proj"), &routing(tensor), Vec::new);
}

fn tape(weights: &Weights, types: Option<&[i64]>) -> RoutingTape {
    let mut tape = RoutingTape::recording(context(weights, types));
    push(&mut tape, 0, weights);
    tape
}

fn scalar(loss: Option<Tensor<1>>) -> f64 {
    f64::from(loss.unwrap().into_scalar::<f32>())
}

fn value(config: &LocalizedBalancingConfig, tape: &RoutingTape) -> f64 {
    scalar(config.init().unwrap().loss(tape).unwrap())
}

/// The formula, entry by entry.
fn plain(
    weights: &Weights,
    types: &[i64],
    expert_types: &[i64],
    config: &LocalizedBalancingConfig,
) -> f64 {
    let mut z = Vec::new();
    for (sample, task) in weights.iter().zip(types) {
        for (e, expert) in expert_types.iter().enumerate() {
            let used: f64 = sample.iter().map(|token| f64::from(token[e])).sum();
            let sign = if task == expert { 1.0 } else { -1.0 };
            z.push(used * (1.0 + sign * config.blc_alpha));
        }
    }
    let mean = z.iter().sum::<f64>() / z.len() as f64;
    let variance = z.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / (z.len() - 1) as f64;
    config.blc_weight
        * match config.form {
            VariationForm::VarOverMean => variance / mean,
            VariationForm::Cv2 => variance / (mean * mean + 1e-10),
        }
}

fn assert_close(got: f64, want: f64) {
    assert!((got - want).abs() <= 1e-5 * want.abs().max(1e-3), "{got} instead of {want}");
}

#[test]
fn the_loss_is_the_formula_for_even_and_odd_numbers_of_experts() {
    let cases: [&[i64]; 4] = [&[1, 0], &[1, 1, 0, 0], &[1, 1, 1, 0, 0], &[1]];
    for form in FORMS {
        for expert_types in cases {
            let weights = weights(3, 4, expert_types.len());
            let config = LocalizedBalancingConfig {
                blc_weight: 0.3,
                blc_alpha: 0.2,
                form,
                ..Default::default()
            };
            let want = plain(&weights, &[1, 0, 0], expert_types, &config);
            assert_close(value(&config, &tape(&weights, Some(&[1, 0, 0]))), want);
        }
    }
}

#[test]
fn uniform_routing_without_delta_costs_nothing() {
    let uniform = vec![vec![vec![0.25; 4]; 6]; 2];
    for form in FORMS {
        let config = LocalizedBalancingConfig { blc_alpha: 0.0, form, ..Default::default() };
        assert!(value(&config, &tape(&uniform, Some(&[0, 1]))).abs() < 1e-10);
        let skewed = tape(&weights(2, 6, 4), Some(&[0, 1]));
        assert!(value(&config, &skewed) > 1e-4);
    }
}

#[test]
fn one_sample_on_one_expert_has_no_spread() {
    let single = tape(&vec![vec![vec![1.0]; 3]], Some(&[1]));
    for form in FORMS {
        let config = LocalizedBalancingConfig { form, ..Default::default() };
        assert_eq!(value(&config, &single), 0.0);
    }
}

/// Follows the gradient from `logits`; the mean weight of each expert at the end.
fn descended(logits: [[f32; 4]; 2], delta: f64, form: VariationForm, reading: Reading) -> Vec<f32> {
    let device = Device::flex().autodiff();
    let config = LocalizedBalancingConfig {
        blc_weight: 1.0,
        blc_alpha: delta,
        form,
        reading,
        ..Default::default()
    };
    let loss = config.init().unwrap();
    let types = Tensor::<1, Int>::from_data([1], &device);
    let mut logits = Tensor::<2>::from_data(logits, &device);
    for _ in 0..300 {
        logits = logits.detach().require_grad();
        let context = BatchContext::new(1, 2).with_task_types(types.clone());
        let mut tape = RoutingTape::recording(context);
        tape.push(Site::new(0, "mlp.up_proj"), &routing(softmax(logits.clone(), 1)), Vec::new);
        let grads = loss.loss(&tape).unwrap().unwrap().backward();
        let gradient = Tensor::from_inner(logits.grad(&grads).unwrap());
        logits = logits - gradient;
    }
    softmax(logits, 1).mean_dim(0).into_data().iter::<f32>().collect()
}

#[test]
fn the_gradient_pushes_towards_balance() {
    for form in FORMS {
        let shares =
            descended([[1.0, 0.0, -1.0, 0.5], [0.5, 0.2, 0.0, 0.0]], 0.0, form, Reading::Paper);
        assert!(shares.iter().all(|share| (share - 0.25).abs() < 0.01), "{form:?}: {shares:?}");
    }
}

/// The spread of `I * Q` is zero where `Q` is in proportion to `1 / I`: as published, the formula
/// gives a sample's own experts less weight than the others, not more.
#[test]
fn with_delta_the_minimum_is_inverse_to_the_importance() {
    let delta = 0.2;
    for form in FORMS {
        let shares = descended([[0.0; 4]; 2], delta, form, Reading::Paper);
        for (share, importance) in shares.iter().zip([1.2, 1.2, 0.8, 0.8]) {
            let want = (1.0 / importance) / (2.0 / 1.2 + 2.0 / 0.8);
            assert!((f64::from(*share) - want).abs() < 0.01, "{form:?}: {shares:?}");
        }
    }
}

/// As the paper's text says: a sample's own experts together get `(1 + delta) / 2`.
#[test]
fn corrected_the_minimum_prefers_the_experts_of_the_sample() {
    for form in FORMS {
        let shares = descended([[0.0; 4]; 2], 0.2, form, Reading::Corrected);
        for (share, want) in shares.iter().zip([0.3, 0.3, 0.2, 0.2]) {
            assert!((share - want).abs() < 0.01, "{form:?}: {shares:?}");
        }
    }
}

/// With two types it is the published formula with the types exchanged; without delta there is one
/// reading.
#[test]
fn readings_differ_by_which_experts_are_the_samples_own() {
    let tape = tape(&weights(2, 5, 4), Some(&[1, 0]));
    for form in FORMS {
        let config = LocalizedBalancingConfig { form, ..Default::default() };
        let corrected = LocalizedBalancingConfig { reading: Reading::Corrected, ..config.clone() };
        let exchanged =
            LocalizedBalancingConfig { expert_types: Some(vec![0, 0, 1, 1]), ..config.clone() };
        assert_close(value(&corrected, &tape), value(&exchanged, &tape));
        assert!((value(&corrected, &tape) - value(&config, &tape)).abs() > 1e-4);
        let even = |reading| LocalizedBalancingConfig { blc_alpha: 0.0, reading, ..config.clone() };
        let values = [Reading::Paper, Reading::Corrected].map(|r| value(&even(r), &tape));
        assert_eq!(values[0], values[1]);
    }
}

#[test]
fn padding_changes_nothing_unless_it_is_included() {
    let real = weights(2, 3, 4);
    let mut padded = real.clone();
    for sample in &mut padded {
        sample.insert(0, vec![1.0, 0.0, 0.0, 0.0]);
        sample.push(vec![0.0, 0.0, 0.0, 1.0]);
    }
    let types: &[i64] = &[1, 0];
    let row = [false, true, true, true, false];
    let mask = Tensor::<2, Bool>::from_data([row, row], &Device::flex());
    let mut masked = RoutingTape::recording(context(&padded, Some(types)).with_token_mask(mask));
    push(&mut masked, 0, &padded);

    for form in FORMS {
        let exclude = LocalizedBalancingConfig { form, ..Default::default() };
        let include =
            LocalizedBalancingConfig { padding: PaddingPolicy::Include, ..exclude.clone() };
        let want = value(&exclude, &tape(&real, Some(types)));
        assert_close(value(&exclude, &masked), want);
        assert!((value(&include, &masked) - want).abs() > 0.01 * want);
        assert_close(value(&include, &masked), value(&exclude, &tape(&padded, Some(types))));
    }
}

#[test]
fn expert_types_can_be_given() {
    let weights = weights(2, 5, 4);
    let tape = tape(&weights, Some(&[1, 0]));
    let of = |expert_types| LocalizedBalancingConfig { expert_types, ..Default::default() };
    let by_default = value(&of(None), &tape);
    assert_eq!(value(&of(Some(vec![1, 1, 0, 0])), &tape), by_default);
    let config = of(Some(vec![0, 1, 0, 1]));
    let given = value(&config, &tape);
    assert_close(given, plain(&weights, &[1, 0], &[0, 1, 0, 1], &config));
    assert!((given - by_default).abs() > 1e-5);
}

/// Three groups of unequal size, and a sample of a type that no expert has.
#[test]
fn any_grouping_of_experts_and_tasks_is_possible() {
    let types: &[i64] = &[0, 7, 40_000, 3];
    let weights = weights(4, 5, 5);
    let config = LocalizedBalancingConfig {
        expert_types: Some(vec![7, 40_000, 7, 0, 7]),
        ..Default::default()
    };
    let want = plain(&weights, types, &[7, 40_000, 7, 0, 7], &config);
    assert_close(value(&config, &tape(&weights, Some(types))), want);
}

#[test]
fn layers_can_be_taken_as_one() {
    let layers = [weights(2, 5, 4), vec![vec![vec![0.7, 0.1, 0.1, 0.1]; 5]; 2]];
    let types: &[i64] = &[1, 0];
    let mut all = RoutingTape::recording(context(&layers[0], Some(types)));
    for (i, weights) in layers.iter().enumerate() {
        push(&mut all, i, weights);
    }
    // The tokens of both layers of a sample, one after the other.
    let joined: Weights =
        (0..2).map(|b| layers.iter().flat_map(|layer| layer[b].clone()).collect()).collect();
    for form in FORMS {
        let aggregation = Aggregation::Concatenate;
        let config = LocalizedBalancingConfig { form, aggregation, ..Default::default() };
        assert_close(value(&config, &all), plain(&joined, types, &[1, 1, 0, 0], &config));
    }
}

#[test]
fn expert_types_that_do_not_fit_the_layer_are_refused() {
    let config =
        LocalizedBalancingConfig { expert_types: Some(vec![1, 0, 0]), ..Default::default() };
    let error = config.init().unwrap().loss(&tape(&weights(2, 3, 4), Some(&[1, 0]))).unwrap_err();
    let site = "layers.0.mlp.up_proj".to_owned();
    assert_eq!(error, BalanceLossError::ExpertTypes { given: 3, found: 4, site });
}

#[test]
fn batches_without_task_types_are_refused() {
    let loss = LocalizedBalancingConfig::default().init().unwrap();
    let error = loss.loss(&tape(&weights(2, 3, 4), None)).unwrap_err();
    assert_eq!(error, BalanceLossError::MissingTaskTypes);
}

#[test]
fn without_coefficient_or_routing_there_is_no_loss() {
    let off = LocalizedBalancingConfig { blc_weight: 0.0, ..Default::default() };
    assert!(off.init().unwrap().loss(&tape(&weights(2, 3, 4), None)).unwrap().is_none());
    let on = LocalizedBalancingConfig::default().init().unwrap();
    let empty = RoutingTape::recording(BatchContext::new(2, 3));
    assert!(on.loss(&empty).unwrap().is_none());
}

#[test]
fn layers_are_summed_or_averaged() {
    let layers: Vec<_> = [3, 4, 6].map(|experts| weights(2, 5, experts)).to_vec();
    let types: &[i64] = &[1, 0];
    let mut all = RoutingTape::recording(context(&layers[0], Some(types)));
    for (i, weights) in layers.iter().enumerate() {
        push(&mut all, i, weights);
    }
    let sum = LocalizedBalancingConfig::default();
    let mean = LocalizedBalancingConfig { aggregation: Aggregation::Mean, ..sum.clone() };
    let want: f64 = layers.iter().map(|layer| value(&sum, &tape(layer, Some(types)))).sum();
    assert_close(value(&sum, &all), want);
    assert_close(value(&mean, &all), want / 3.0);
}

#[test]
fn the_coefficient_scales_the_loss() {
    let tape = tape(&weights(2, 5, 4), Some(&[1, 0]));
    let of = |blc_weight| LocalizedBalancingConfig { blc_weight, ..Default::default() };
    assert_close(value(&of(0.5), &tape), 5.0 * value(&of(0.1), &tape));
}

#[test]
fn values_out_of_range_are_refused_by_name() {
    for value in [-0.1, f64::INFINITY, f64::NAN] {
        let config = LocalizedBalancingConfig { blc_weight: value, ..Default::default() };
        let error = config.init().unwrap_err();
        assert!(
            matches!(error, BalanceLossError::Coefficient { field: "blc_weight", .. }),
            "{error}"
        );
    }
    for value in [-0.1, 1.1, f64::NAN] {
        let config = LocalizedBalancingConfig { blc_alpha: value, ..Default::default() };
        let error = config.init().unwrap_err();
        assert!(matches!(error, BalanceLossError::Delta { .. }), "{error}");
    }
}

#[test]
fn configurations_survive_a_file() {
    let config = BalanceLossConfig::LocalizedBalancing(LocalizedBalancingConfig {
        blc_weight: 0.02,
        blc_alpha: 0.3,
        form: VariationForm::Cv2,
        reading: Reading::Corrected,
        expert_types: Some(vec![1, 0, 0]),
        padding: PaddingPolicy::Include,
        aggregation: Aggregation::Mean,
    });
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<BalanceLossConfig>(&json).unwrap(), config, "{json}");
}

#[test]
fn missing_keys_take_their_defaults_and_unknown_keys_are_refused() {
    let parse = serde_json::from_str::<BalanceLossConfig>;
    let default = BalanceLossConfig::LocalizedBalancing(LocalizedBalancingConfig::default());
    assert_eq!(parse(r#"{"type": "localized_balancing"}"#).unwrap(), default);
    let error = parse(r#"{"type": "localized_balancing", "beta": 0.1}"#).unwrap_err();
    assert!(error.to_string().contains("unknown field `beta`"), "{error}");
    let error = parse(r#"{"type": "balancing"}"#).unwrap_err();
    assert!(error.to_string().contains("localized_balancing"), "{error}");
}

#[test]
fn the_variation_of_next_to_nothing_is_held_down() {
    let config = LocalizedBalancingConfig { form: VariationForm::Cv2, ..Default::default() };
    let loss = config.init().unwrap();
    let weighted = Tensor::<3>::from_data([[[0.0, 1e-5]]], &Device::flex());
    let spread: f32 = loss.spreads(weighted).into_scalar();
    // A variance of 5e-11 over the squared mean, 2.5e-11, and 1e-10.
    assert!((spread - 0.4).abs() < 1e-4, "{spread}");
}
