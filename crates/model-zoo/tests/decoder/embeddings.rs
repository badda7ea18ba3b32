//! Embeddings, and heads that have their weights.

use burn::tensor::Device;
use model_zoo::{CausalLm, Decoder, DecoderConfig};
use moe_adapter::{AdaptedLinear, Preset, TargetModules, adapter_state, attach, attach_saved};

use super::{IDS, close, count, input};
use crate::common::{Base, logits, tiny_config};

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
