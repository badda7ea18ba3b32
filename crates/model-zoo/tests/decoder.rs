//! Properties of the decoder: caches, padding, training, saving.

#![allow(clippy::unwrap_used)]

mod common;

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{Base, golden, largest_difference, load, logits, tiny_config};
use model_zoo::{CausalLm, Decoder, LoadOptions, PaddingSide, TokenInput, WeightDType};
use moe_adapter::Adaptable;
use router::{RoutingTape, Site};

const IDS: [i64; 12] = [1, 5, 9, 31, 7, 22, 8, 13, 17, 39, 4, 6];

fn tiny() -> Base {
    Decoder::init_random(&tiny_config(), 3, &Device::flex()).unwrap()
}

fn input(ids: &[i64], batch_size: usize) -> TokenInput {
    let data = TensorData::new(ids.to_vec(), [batch_size, ids.len() / batch_size]);
    TokenInput::new(Tensor::<2, Int>::from_data(data, &Device::flex()))
}

fn close(a: &[f32], b: &[f32]) {
    let error = largest_difference(a, b);
    assert!(error < 2e-5, "difference {error:e}");
}

#[test]
fn cached_and_uncached_logits_are_equal() {
    let model = tiny();
    let whole = logits(&model, &input(&IDS, 1), None);
    for parts in [vec![12], vec![5, 7], vec![1; 12], vec![3, 1, 1, 4, 3]] {
        let mut cache = model.new_cache();
        let mut found = Vec::new();
        let mut start = 0;
        for part in parts {
            found.extend(logits(&model, &input(&IDS[start..start + part], 1), Some(&mut cache)));
            start += part;
        }
        assert_eq!(cache.len(), 12);
        close(&found, &whole);
    }
}

#[test]
fn a_cache_grows_past_its_first_capacity() {
    let model = tiny();
    let ids: Vec<i64> = (0..150).map(|i| (i * 7) % 40).collect();
    let whole = logits(&model, &input(&ids, 1), None);
    let mut cache = model.new_cache();
    let mut found = logits(&model, &input(&ids[..60], 1), Some(&mut cache));
    for id in &ids[60..] {
        found.extend(logits(&model, &input(&[*id], 1), Some(&mut cache)));
    }
    close(&found, &whole);
}

#[test]
fn padding_on_either_side_changes_nothing() {
    let model = tiny();
    let device = Device::flex();
    let sequences = [vec![1u32, 5, 9, 31, 7], vec![1, 22, 8]];
    let vocab = model.vocab_size();
    let alone = logits(&model, &input(&[1, 22, 8], 1), None);
    let right = TokenInput::from_sequences(&sequences, 0, PaddingSide::Right, &device);
    close(&logits(&model, &right, None)[5 * vocab..8 * vocab], &alone);
    let left = TokenInput::from_sequences(&sequences, 0, PaddingSide::Left, &device);
    let found = logits(&model, &left, None);
    close(&found[7 * vocab..], &alone);
    assert!(found.iter().all(|logit| logit.is_finite()), "padding gives numbers");
    // Also when the batch goes on from a cache.
    let mut cache = model.new_cache();
    logits(&model, &left, Some(&mut cache));
    let next = logits(&model, &input(&[4, 6], 2), Some(&mut cache));
    let alone = logits(&model, &input(&[1, 22, 8, 6], 1), None);
    close(&next[vocab..], &alone[3 * vocab..]);
    // And when only one of its sequences does.
    cache.select(&[1], &device);
    let next = logits(&model, &input(&[9], 1), Some(&mut cache));
    let alone = logits(&model, &input(&[1, 22, 8, 6, 9], 1), None);
    close(&next, &alone[4 * vocab..]);
}

#[test]
fn later_tokens_do_not_change_earlier_logits() {
    let model = tiny();
    let mut other = IDS;
    other[8..].copy_from_slice(&[2, 2, 2, 2]);
    let end = 8 * model.vocab_size();
    let (a, b) = (logits(&model, &input(&IDS, 1), None), logits(&model, &input(&other, 1), None));
    assert_eq!(a[..end], b[..end]);
}

#[test]
fn seeds_decide_the_weights() {
    let device = Device::flex();
    let run = |seed| {
        let model = Base::init_random(&tiny_config(), seed, &device).unwrap();
        logits(&model, &input(&IDS, 1), None)
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

/// Counts float parameters, and those that train.
#[derive(Default)]
struct Counter {
    all: usize,
    trainable: usize,
}

impl ModuleVisitor for Counter {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let count = param.val().shape().num_elements();
        self.all += count;
        if param.is_require_grad() {
            self.trainable += count;
        }
    }
}

fn count(model: &Base) -> Counter {
    let mut counter = Counter::default();
    model.visit(&mut counter);
    counter
}

#[test]
fn random_models_train_and_loaded_ones_are_frozen() {
    let random = tiny().train();
    let counted = count(&random);
    assert_eq!(counted.all, tiny_config().parameter_count());
    assert_eq!(counted.trainable, counted.all);
    let loaded = load(&golden("llama3"));
    assert_eq!(count(&loaded).all, loaded.config().parameter_count());
    assert_eq!(count(&loaded.train()).trainable, 0);
}

#[test]
fn every_random_weight_gets_a_gradient() {
    let model = tiny().train();
    let device = model.device();
    let data = TensorData::new(IDS.to_vec(), [2, 6]);
    let input = TokenInput::new(Tensor::<2, Int>::from_data(data, &device));
    let mut tape = RoutingTape::new(input.context());
    let hidden = model.hidden_states(&input, None, &mut tape);
    let gradients = model.logits(hidden).square().mean().backward();
    model.visit_projections(&mut |path, _, linear: &Linear| {
        let gradient = linear.weight.val().grad(&gradients);
        let size: f32 = gradient.unwrap_or_else(|| panic!("{path}")).abs().max().into_scalar();
        assert!(size > 0.0 && size.is_finite(), "{path}: {size}");
    });
    assert!(model.model.embed_tokens.weight.val().grad(&gradients).is_some());
    let valid = model.valid();
    let outside = logits(&valid, &self::input(&IDS, 2), None);
    close(&outside, &logits(&tiny(), &self::input(&IDS, 2), None));
}

#[test]
fn saved_models_are_loaded_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    for tied in [false, true] {
        let mut config = tiny_config();
        config.tie_word_embeddings = tied;
        let model = Base::init_random(&config, 9, &Device::flex()).unwrap();
        model.save(folder.path()).unwrap();
        let loaded = load(folder.path());
        assert_eq!(loaded.config(), &config);
        let input = input(&IDS, 2);
        assert_eq!(logits(&loaded, &input, None), logits(&model, &input, None));
    }
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing temporary is left: {names:?}");
}

#[test]
fn bf16_weights_may_stay_bf16() {
    let folder = golden("llama2_sharded_bf16");
    let options = LoadOptions { dtype: WeightDType::AsStored, ..LoadOptions::default() };
    let model = Base::load(&folder, &options, &Device::flex()).unwrap();
    let reference = common::Reference::read(&folder);
    let found = logits(&model, &reference.input(), None);
    let error = largest_difference(&found, &reference.logits) / reference.largest();
    assert!(error < 0.03, "{error}");
    let copy = tempfile::tempdir().unwrap();
    model.save(copy.path()).unwrap();
    let again = Base::load(copy.path(), &options, &Device::flex()).unwrap();
    assert_eq!(logits(&again, &reference.input(), None), found);
}

#[test]
fn projections_are_visited_in_the_order_of_the_forward_pass() {
    let mut model = tiny();
    let mut paths = Vec::new();
    model.visit_projections(&mut |path, site, _| paths.push((path.to_owned(), site)));
    assert_eq!(paths.len(), 14);
    assert_eq!(paths[0].0, "model.layers.0.self_attn.q_proj");
    assert_eq!(paths[6], ("model.layers.0.mlp.down_proj".into(), Site::new(0, "mlp.down_proj")));
    assert_eq!(paths[13].1, Site::new(1, "mlp.down_proj"));
    let mut again = Vec::new();
    model.visit_projections_mut(&mut |path, site, _| again.push((path.to_owned(), site)));
    assert_eq!(paths, again);
}
