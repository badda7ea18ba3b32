//! Properties of the decoder: caches, padding, training, saving.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{Base, golden, largest_difference, load, logits, tiny_config};
use model_zoo::{
    BlockTable, CausalLm, Decoder, DecoderConfig, Family, LoadOptions, PaddingSide, PagedCache,
    TokenInput, WeightDType, Windows,
};
use moe_adapter::{
    Adaptable, AdaptedLinear, Preset, TargetModules, adapter_state, attach, attach_saved,
};
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
fn cached_and_uncached_logits_are_equal_in_every_family() {
    for family in Family::ALL {
        let model = Base::init_random(&family_config(family), 3, &Device::flex()).unwrap();
        let whole = logits(&model, &input(&IDS, 1), None);
        for parts in [vec![12], vec![5, 7], vec![1; 12], vec![3, 1, 1, 4, 3]] {
            let mut cache = model.new_cache();
            let mut found = Vec::new();
            let mut start = 0;
            for part in parts {
                let input = input(&IDS[start..start + part], 1);
                found.extend(logits(&model, &input, Some(&mut cache)));
                start += part;
            }
            assert_eq!(cache.len(), 12);
            close(&found, &whole);
        }
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
fn every_random_weight_of_every_family_gets_a_gradient() {
    for family in Family::ALL {
        let random = Base::init_random(&family_config(family), 3, &Device::flex()).unwrap();
        let model = random.clone().train();
        let device = model.device();
        let data = TensorData::new(IDS.to_vec(), [2, 6]);
        let input = TokenInput::new(Tensor::<2, Int>::from_data(data, &device));
        let mut tape = RoutingTape::new(input.context());
        let hidden = model.hidden_states(&input, None, &mut tape);
        let gradients = model.logits(hidden).square().mean().backward();
        let mut seen = Gradients { gradients: &gradients, seen: 0 };
        model.visit(&mut seen);
        assert_eq!(seen.seen, model.config().parameter_count(), "{family}");
        let outside = logits(&model.valid(), &self::input(&IDS, 2), None);
        close(&outside, &logits(&random, &self::input(&IDS, 2), None));
    }
}

/// Counts the weights of parameters with a gradient that is not 0.
struct Gradients<'a> {
    gradients: &'a burn::tensor::Gradients,
    seen: usize,
}

impl ModuleVisitor for Gradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.gradients).expect("a gradient");
        let size: f32 = gradient.abs().max().into_scalar();
        assert!(size.is_finite());
        // A bias of keys moves all scores of a query alike, which changes nothing without a cap.
        let count = param.val().shape().num_elements();
        self.seen += count;
        assert!(size > 0.0 || D == 1, "{:?}", param.val().dims());
    }
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
fn a_head_that_is_tied_says_so_and_may_be_untied() {
    let config = DecoderConfig { tie_word_embeddings: true, ..tiny_config() };
    let mut model = Decoder::<AdaptedLinear>::init_random(&config, 5, &Device::flex()).unwrap();
    let base = logits(&model, &input(&IDS, 2), None);
    let mut adapter = Preset::Lora.config();
    adapter.target_modules = TargetModules::all_linear();
    for head in
        [TargetModules::Names(vec!["lm_head".into()]), TargetModules::Pattern(".*lm_head".into())]
    {
        adapter.modules_to_save = Some(head);
        let error = attach(&mut model, &adapter, 0).unwrap_err().to_string();
        let expected = "`modules_to_save` names `lm_head`, which is tied: it has the weights of \
                        `model.embed_tokens`";
        assert!(error.contains(expected) && error.contains("untie_head = true"), "{error}");
    }
    adapter.modules_to_save = Some(TargetModules::Names(vec!["head".into()]));
    let error = attach(&mut model, &adapter, 0).unwrap_err().to_string();
    let expected = "[\"head\"] matches no module of the model; it has model.embed_tokens, \
                    model.layers.*.input_layernorm, model.layers.*.mlp.down_proj, \
                    model.layers.*.mlp.gate_proj, model.layers.*.mlp.up_proj, \
                    model.layers.*.post_attention_layernorm, model.layers.*.self_attn.k_proj, \
                    model.layers.*.self_attn.o_proj, model.layers.*.self_attn.q_proj, \
                    model.layers.*.self_attn.v_proj, model.norm";
    assert!(error.ends_with(expected), "{error}");

    model.untie_head();
    close(&logits(&model, &input(&IDS, 2), None), &base);
    adapter.modules_to_save = Some(TargetModules::Names(vec!["lm_head".into()]));
    attach(&mut model, &adapter, 0).unwrap();
    // The saved adapter unties the head of its base.
    let state = adapter_state(&model);
    assert_eq!(state["lm_head.weight"].shape().as_slice(), [40, 24]);
    let mut again = Decoder::<AdaptedLinear>::init_random(&config, 5, &Device::flex()).unwrap();
    attach_saved(&mut again, &adapter, state, "state").unwrap();
    assert!(again.lm_head.is_some() && !again.config().tie_word_embeddings);
    close(&logits(&again, &input(&IDS, 2), None), &base);
}

/// As transformers does it: around the mean, by a hundred-thousandth of the spread.
#[test]
fn new_rows_of_embeddings_are_the_mean_of_the_old_ones() {
    let device = Device::flex();
    for tied in [true, false] {
        let config = DecoderConfig { tie_word_embeddings: tied, ..tiny_config() };
        let old = Base::init_random(&config, 5, &device).unwrap();
        let mut model = old.clone();
        model.resize_embeddings(43, 7);
        model.resize_embeddings(30, 7);
        assert_eq!((model.vocab_size(), model.config().parameter_count()), (43, count(&model).all));
        let found = logits(&model, &input(&IDS, 1), None);
        let expected = logits(&old, &input(&IDS, 1), None);
        for (found, expected) in found.chunks(43).zip(expected.chunks(40)) {
            close(&found[..40], expected);
            let mean = expected.iter().sum::<f32>() / 40.0;
            for new in &found[40..] {
                assert!((new - mean).abs() < 1e-3 && *new != mean, "{new} {mean}");
            }
        }
        let rows = model.model.embed_tokens.weight.val();
        let mean = old.model.embed_tokens.weight.val().mean_dim(0);
        let spread = (rows.narrow(0, 40, 3) - mean).abs().max().into_scalar::<f32>();
        assert!(spread > 0.0 && spread < 5e-5, "{spread:e}");
        let mut again = old.clone();
        again.resize_embeddings(43, 7);
        assert_eq!(logits(&again, &input(&IDS, 1), None), found);
    }
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

/// The scores after each new token of rows over a cache of blocks.
fn paged(
    model: &Base,
    cache: &mut PagedCache,
    rows: &mut [(&mut BlockTable, &[i64])],
) -> Vec<Vec<f32>> {
    let vocab = model.vocab_size();
    let tokens: Vec<i64> = rows.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
    for (table, ids) in rows.iter_mut() {
        assert!(cache.reserve(table, ids.len()));
    }
    let parts = rows.iter_mut().map(|(table, ids)| (&mut **table, ids.len()));
    let cache = cache.pass(parts);
    let all = logits(model, &input(&tokens, tokens.len()), Some(cache));
    all.chunks(vocab).map(<[f32]>::to_vec).collect()
}

#[test]
fn rows_in_blocks_are_those_of_any_family() {
    for family in Family::ALL {
        let model = Base::init_random(&family_config(family), 3, &Device::flex()).unwrap();
        let vocab = model.vocab_size();
        let long: Vec<i64> = (0..45).map(|i| (i * 7 + i * i) % 40).collect();
        let alone = |ids: &[i64]| logits(&model, &input(ids, 1), None);
        let mut cache = PagedCache::new(&model, 100);
        let [mut first, mut second] = [BlockTable::default(), BlockTable::default()];
        let found =
            paged(&model, &mut cache, &mut [(&mut first, &long[..43]), (&mut second, &IDS)]);
        let found = [
            found,
            paged(&model, &mut cache, &mut [(&mut first, &long[43..44]), (&mut second, &[5])]),
            paged(&model, &mut cache, &mut [(&mut first, &long[44..])]),
        ]
        .concat();
        let of_long =
            [&found[..43], &[found[43 + IDS.len()].clone()], &[found[45 + IDS.len()].clone()]];
        close(&of_long.concat().concat(), &alone(&long));
        let of_other = [&found[43..43 + IDS.len()], &[found[44 + IDS.len()].clone()]];
        close(&of_other.concat().concat(), &alone(&[&IDS[..], &[5]].concat()));
        assert_eq!(found[0].len(), vocab);
    }
}

#[test]
fn rows_in_blocks_continue_as_alone_and_share_their_beginnings() {
    let model = tiny();
    let vocab = model.vocab_size();
    let alone = |ids: &[i64]| {
        let all = logits(&model, &input(ids, 1), None);
        all[all.len() - vocab..].to_vec()
    };
    let long: Vec<i64> = (0..37).map(|i| (i * 7 + i * i) % 40).collect();
    let mut cache = PagedCache::new(&model, 10 * PagedCache::BLOCK);
    let [mut first, mut second] = [BlockTable::default(), BlockTable::default()];
    // Rows of different lengths are read in one pass, and continued with different numbers.
    let found = paged(&model, &mut cache, &mut [(&mut first, &long), (&mut second, &IDS)]);
    close(&found[36], &alone(&long));
    close(&found[36 + IDS.len()], &alone(&IDS));
    let next = paged(&model, &mut cache, &mut [(&mut first, &[2]), (&mut second, &[9, 3])]);
    close(&next[0], &alone(&[&long[..], &[2]].concat()));
    close(&next[2], &alone(&[&IDS[..], &[9, 3]].concat()));
    // Of a beginning of 35 tokens, two blocks are shared and the third is a copy.
    assert_eq!((first.num_blocks(), second.num_blocks(), cache.free_blocks()), (3, 1, 6));
    let mut third = cache.share(&first, 35).unwrap();
    assert_eq!((third.len(), third.num_blocks(), cache.free_blocks()), (35, 3, 5));
    let kept = cache.keep(&first);
    let next = paged(&model, &mut cache, &mut [(&mut third, &[30, 2]), (&mut first, &[5])]);
    close(&next[1], &alone(&[&long[..35], &[30, 2]].concat()));
    close(&next[2], &alone(&[&long[..], &[2, 5]].concat()));
    // What was kept is as it was, also when the row is gone.
    cache.release(first);
    cache.release(third);
    let mut fourth = cache.share(&kept, 38).unwrap();
    let next = paged(&model, &mut cache, &mut [(&mut fourth, &[11])]);
    close(&next[0], &alone(&[&long[..], &[2, 11]].concat()));
    for table in [kept, second, fourth] {
        cache.release(table);
    }
    assert_eq!(cache.free_blocks(), cache.total_blocks());
    assert!(!cache.reserve(&mut BlockTable::default(), 161));
}

#[test]
fn a_beginning_is_copied_also_where_the_pool_has_to_grow_for_it() {
    let model = tiny();
    let vocab = model.vocab_size();
    let ids: Vec<i64> = (0..24).map(|i| (i * 7 + i * i) % 40).collect();
    let whole = logits(&model, &input(&[&ids[..], &[3]].concat(), 1), None);
    let mut cache = PagedCache::new(&model, 200 * PagedCache::BLOCK);
    let mut first = BlockTable::default();
    paged(&model, &mut cache, &mut [(&mut first, &ids)]);
    for _ in 0..150 {
        let mut other = cache.share(&first, 24).unwrap();
        let next = paged(&model, &mut cache, &mut [(&mut other, &[3])]);
        close(&next[0], &whole[24 * vocab..]);
    }
}
