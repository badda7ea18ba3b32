//! Properties of the decoder: padding, saving, adapters, half types.

#![allow(clippy::unwrap_used)]

mod caches;
#[path = "../common/mod.rs"]
mod common;
mod embeddings;
mod training;

use std::fs;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{Base, golden, largest_difference, load, logits, tiny_config};
use model_zoo::{
    CausalLm, Decoder, DecoderConfig, Family, LoadOptions, PaddingSide, TokenInput, WeightDType,
    Windows,
};
use moe_adapter::{Adaptable, AdaptedLinear, Preset, TargetModules, attach};
use router::{RoutingTape, Site};

const IDS: [i64; 12] = [1, 5, 9, 31, 7, 22, 8, 13, 17, 39, 4, 6];

/// A small decoder of a family, with every option that its `config.json` has.
fn family_config(family: Family) -> DecoderConfig {
    let mut config = tiny_config().with_family(family);
    let traits = family.traits();
    config.attention_bias = traits.attention_bias_key;
    config.mlp_bias = traits.mlp_bias_key;
    config.rms_norm_eps = 1e-5;
    if traits.windows != Windows::Never {
        config.sliding_window = Some(3);
    }
    if traits.windows == Windows::Switched {
        config.full_attention_layers = vec![1];
    }
    if traits.query_scalar {
        config.query_pre_attn_scalar = Some(12.0);
    }
    if traits.attention_cap {
        config.attn_logit_softcapping = Some(5.0);
    }
    if traits.windows == Windows::SwitchedUnrotated {
        config.unrotated_layers = vec![1];
        config.full_attention_layers = vec![0];
    }
    if traits.partial_rotary {
        config.rope.partial_rotary_factor = 0.75;
    }
    if traits.multipliers {
        config.embedding_multiplier = 2.0;
        config.attention_multiplier = Some(0.25);
        config.residual_multiplier = 0.5;
        config.logits_scaling = 1.5;
    }
    if let Some(sparse) = &mut config.sparse {
        sparse.num_experts = 4;
        sparse.num_experts_per_tok = 2;
        sparse.moe_intermediate_size = if traits.experts.unwrap().own_keys { 20 } else { 36 };
    }
    config
}

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
fn padding_on_either_side_changes_nothing_in_any_family() {
    for family in Family::ALL {
        padding_changes_nothing(
            &Base::init_random(&family_config(family), 3, &Device::flex()).unwrap(),
        );
    }
}

fn padding_changes_nothing(model: &Base) {
    let device = Device::flex();
    let sequences = [vec![1u32, 5, 9, 31, 7], vec![1, 22, 8]];
    let vocab = model.vocab_size();
    let alone = logits(model, &input(&[1, 22, 8], 1), None);
    let right = TokenInput::from_sequences(&sequences, 0, PaddingSide::Right, &device);
    close(&logits(model, &right, None)[5 * vocab..8 * vocab], &alone);
    let left = TokenInput::from_sequences(&sequences, 0, PaddingSide::Left, &device);
    let found = logits(model, &left, None);
    close(&found[7 * vocab..], &alone);
    assert!(found.iter().all(|logit| logit.is_finite()), "padding gives numbers");
    // Also when the batch goes on from a cache.
    let mut cache = model.new_cache();
    logits(model, &left, Some(&mut cache));
    let next = logits(model, &input(&[4, 6], 2), Some(&mut cache));
    let alone = logits(model, &input(&[1, 22, 8, 6], 1), None);
    close(&next[vocab..], &alone[3 * vocab..]);
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
fn saved_models_of_every_family_are_loaded_bit_by_bit() {
    let folder = tempfile::tempdir().unwrap();
    for family in Family::ALL {
        for tied in [false, true] {
            let mut config = family_config(family);
            config.tie_word_embeddings = tied;
            let model = Base::init_random(&config, 9, &Device::flex()).unwrap();
            model.save(folder.path()).unwrap();
            let first = fs::read(folder.path().join("model.safetensors")).unwrap();
            let loaded = load(folder.path());
            assert_eq!(loaded.config(), &config);
            assert_eq!(count(&loaded).all, config.parameter_count(), "{family}");
            let input = input(&IDS, 2);
            assert_eq!(logits(&loaded, &input, None), logits(&model, &input, None), "{family}");
            loaded.save(folder.path()).unwrap();
            assert_eq!(fs::read(folder.path().join("model.safetensors")).unwrap(), first);
        }
    }
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing temporary is left: {names:?}");
}

#[test]
fn split_linears_compute_and_are_saved_as_the_fused_ones() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::flex();
    let mut config = family_config(Family::Phi3);
    let fused = Base::init_random(&config, 4, &device).unwrap();
    fused.save(folder.path()).unwrap();
    let saved = fs::read(folder.path().join("model.safetensors")).unwrap();
    let options = LoadOptions { split_fused: true, ..LoadOptions::default() };
    let loaded = Base::load(folder.path(), &options, &device).unwrap();
    config.fused_projections = false;
    assert_eq!(loaded.config(), &config);
    let random = Base::init_random(&config, 4, &device).unwrap();
    let input = input(&IDS, 2);
    for split in [loaded, random] {
        close(&logits(&split, &input, None), &logits(&fused, &input, None));
        split.save(folder.path()).unwrap();
        assert_eq!(fs::read(folder.path().join("model.safetensors")).unwrap(), saved);
    }
}

/// The names that adapters target, by the configuration and by the model itself.
#[test]
fn adapters_of_all_linears_start_as_the_base_model_in_every_family() {
    let device = Device::flex();
    for family in Family::ALL {
        let mut configs = vec![family_config(family)];
        if configs[0].fused_projections {
            configs.push(DecoderConfig { fused_projections: false, ..configs[0].clone() });
        }
        for config in configs {
            let mut model = Decoder::<AdaptedLinear>::init_random(&config, 5, &device).unwrap();
            let base = logits(&model, &input(&IDS, 2), None);
            let mut adapter = Preset::LoramoePaper.config();
            adapter.target_modules = TargetModules::all_linear();
            let names = config.target_modules();
            let experts = config.sparse.as_ref().map_or(1, |sparse| sparse.num_experts);
            if experts > 1 {
                let error = attach(&mut model, &adapter, 0).unwrap_err().to_string();
                assert!(error.contains("is in an expert of the base model"), "{error}");
                assert!(error.contains(r#"exclude_modules = ".*\\.experts\\..*""#), "{error}");
                adapter.exclude_modules = Some(TargetModules::Pattern(r".*\.experts\..*".into()));
                let count = attach(&mut model, &adapter, 0).unwrap();
                assert_eq!(count, config.num_hidden_layers * 4, "{family}: attention");
                adapter = Preset::Lora.config();
                adapter.target_modules = TargetModules::all_linear();
            }
            let adapted = attach(&mut model, &adapter, 0).unwrap();
            assert_eq!(adapted, config.num_hidden_layers * (4 + (names.len() - 4) * experts));
            assert_eq!(logits(&model, &input(&IDS, 2), None), base, "{family}");
            adapter.target_modules =
                TargetModules::Names(names.iter().map(|name| name.to_string()).collect());
            assert_eq!(attach(&mut model, &adapter, 0).unwrap(), adapted, "{family}");
            let mut blocks = 0;
            model.visit_blocks(&mut |_, _, _| blocks += 1);
            let none = config.fused_projections || config.sparse.is_some();
            assert_eq!(blocks, if none { 0 } else { 2 }, "{family}");
        }
    }
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

/// Matrices in a half type compute as the same numbers in f32 do.
#[test]
fn every_family_computes_with_matrices_in_half_types() {
    let [folder, copy] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let options = LoadOptions { dtype: WeightDType::BF16, ..LoadOptions::default() };
    for family in Family::ALL {
        let random = Base::init_random(&family_config(family), 9, &Device::flex()).unwrap();
        random.save(folder.path()).unwrap();
        let half = Base::load(folder.path(), &options, &Device::flex()).unwrap();
        half.save(copy.path()).unwrap();
        let input = input(&IDS, 2);
        let (found, expected) =
            (logits(&half, &input, None), logits(&load(copy.path()), &input, None));
        let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let error = largest_difference(&found, &expected) / largest;
        assert!(error < 1e-5, "{family}: {error:e}");
    }
}

#[test]
fn an_expert_that_no_token_chose_computes_nothing() {
    let config = family_config(Family::Qwen3Moe);
    let model = Decoder::<AdaptedLinear>::init_random(&config, 3, &Device::flex()).unwrap();
    let input = input(&IDS[..1], 1);
    let mut tape = RoutingTape::measuring_inputs(input.context());
    model.hidden_states(&input, None, &mut tape);
    let experts = tape.input_moments().filter(|(site, _)| site.module.contains(".experts."));
    let sizes: Vec<_> = experts.map(|(_, moment)| moment.dims()[0]).collect();
    // Two of four experts in each of two layers, three linears each.
    assert_eq!(sizes.len(), 12);
    assert_eq!(sizes.iter().filter(|size| **size == 24).count(), 8);
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
