//! Generation on a random model and a small tokenizer made in memory.

#![allow(clippy::unwrap_used)]

mod common;

use burn::tensor::Device;
use common::{Base, tiny_config};
use model_zoo::{
    CausalLm, Decoder, FinishReason, GenerationConfig, GenerationError, TextTokenizer, generate,
    generate_batch,
};
use tokenizers::Tokenizer;

fn model() -> Base {
    Decoder::init_random(&tiny_config(), 5, &Device::flex()).unwrap()
}

/// 40 tokens: three special ones, letters, and bytes of which three make a character.
fn tokenizer() -> TextTokenizer {
    let mut vocab = serde_json::Map::new();
    let bytes = ["<0xE2>", "<0x82>", "<0xAC>"];
    let special = ["<unk>", "<s>", "</s>", "<|end|>"];
    let letters: Vec<String> = ('a'..='z').chain('A'..='G').map(String::from).collect();
    let all = special.iter().copied().chain(bytes).chain(letters.iter().map(String::as_str));
    for (id, token) in all.enumerate() {
        vocab.insert(token.to_owned(), id.into());
    }
    let json = serde_json::json!({
        "version": "1.0",
        "added_tokens": [],
        "normalizer": null, "pre_tokenizer": null, "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "vocab": vocab, "merges": [], "unk_token": "<unk>"},
    });
    let tokenizer = Tokenizer::from_bytes(json.to_string()).unwrap();
    TextTokenizer::from_tokenizer(tokenizer, Some("<s>"), Some("</s>"), None).unwrap()
}

/// Never ends by itself.
fn config(max_new_tokens: usize) -> GenerationConfig {
    GenerationConfig { max_new_tokens, eos_token_ids: vec![999], ..Default::default() }
}

#[test]
fn what_is_streamed_is_what_is_returned() {
    let (model, tokenizer) = (model(), tokenizer());
    for seed in 0..8 {
        let config = GenerationConfig { temperature: 1.5, seed, ..config(40) };
        let mut streamed = String::new();
        let result =
            generate(&model, &tokenizer, &[1, 7], &config, |text| streamed.push_str(text)).unwrap();
        assert_eq!(streamed, result.text);
        assert_eq!(result.text, tokenizer.decode(&result.token_ids, true).unwrap());
        assert_eq!(result.finish_reason, FinishReason::Length);
        assert_eq!(result.token_ids.len(), 40);
        let again = generate(&model, &tokenizer, &[1, 7], &config, |_| ()).unwrap();
        assert_eq!(again, result, "seed {seed}");
    }
}

#[test]
fn end_tokens_and_stop_texts_end_it() {
    let (model, tokenizer) = (model(), tokenizer());
    let free = generate(&model, &tokenizer, &[1, 9], &config(30), |_| ()).unwrap();
    let eos = free.token_ids[10];
    let first = free.token_ids.iter().position(|token| *token == eos).unwrap();
    let ending = GenerationConfig { eos_token_ids: vec![eos], ..config(30) };
    let ended = generate(&model, &tokenizer, &[1, 9], &ending, |_| ()).unwrap();
    assert_eq!(ended.finish_reason, FinishReason::Eos);
    assert_eq!(ended.token_ids, free.token_ids[..first]);

    let cut = free.text.char_indices().nth(8).unwrap().0;
    let stop: String = free.text[cut..].chars().take(3).collect();
    let stopping = GenerationConfig { stop: vec![stop.clone()], ..config(30) };
    let mut streamed = String::new();
    let stopped = generate(&model, &tokenizer, &[1, 9], &stopping, |t| streamed.push_str(t));
    let stopped = stopped.unwrap();
    assert_eq!(stopped.finish_reason, FinishReason::Stop);
    assert_eq!(stopped.text, free.text[..free.text.find(&stop).unwrap()]);
    assert_eq!(streamed, stopped.text);
}

#[test]
fn batches_give_what_single_prompts_give() {
    let (model, tokenizer) = (model(), tokenizer());
    let prompts: Vec<Vec<u32>> =
        (0..70).map(|i| (0..1 + i % 9).map(|j| (i * 13 + j * 7) as u32 % 40).collect()).collect();
    let eos = model.eos_token_ids();
    let batch = generate_batch(&model, &prompts, 12, eos).unwrap();
    let mut ended = 0;
    for (prompt, found) in prompts.iter().zip(&batch) {
        let config = GenerationConfig { max_new_tokens: 12, ..Default::default() };
        let single = generate(&model, &tokenizer, prompt, &config, |_| ()).unwrap();
        assert_eq!(*found, single.token_ids, "{prompt:?}");
        ended += usize::from(single.finish_reason == FinishReason::Eos);
    }
    assert!(ended > 0 && ended < 70, "both kinds of sequences: {ended}");
    assert_eq!(generate_batch(&model, &prompts, 0, eos).unwrap(), vec![Vec::<u32>::new(); 70]);
    assert!(generate_batch(&model, &[], 5, eos).unwrap().is_empty());
}

#[test]
fn rows_are_dropped_while_the_cache_has_padding() {
    let model = model();
    let short: Vec<Vec<u32>> = (4..40).map(|token| vec![token]).collect();
    let long = vec![1, 8, 9, 10];
    let expected = &generate_batch(&model, std::slice::from_ref(&long), 6, &[]).unwrap()[0];
    let first = generate_batch(&model, &short, 1, &[]).unwrap();
    let mut dropped = 0;
    for (prompt, token) in short.iter().zip(first.iter().map(|tokens| tokens[0])) {
        // The longer prompt is padded neither by itself nor here, the shorter one is, and ends.
        let prompts = [prompt.clone(), long.clone()];
        let found = generate_batch(&model, &prompts, 6, &[token]).unwrap();
        let kept = expected.iter().take_while(|other| **other != token).count();
        assert_eq!(found, [vec![], expected[..kept].to_vec()]);
        dropped += usize::from(kept == 6);
    }
    assert!(dropped > 0);
}

#[test]
fn prompts_that_cannot_be_continued_are_refused() {
    let (model, tokenizer) = (model(), tokenizer());
    let run = |prompt: &[u32]| generate(&model, &tokenizer, prompt, &config(3), |_| ());
    assert!(matches!(run(&[]), Err(GenerationError::EmptyPrompt { index: 0 })));
    assert!(matches!(
        run(&[1, 40]),
        Err(GenerationError::TokenOutOfRange { token: 40, vocab_size: 40, .. })
    ));
    let result = generate_batch(&model, &[vec![1], vec![]], 3, &[]);
    assert!(matches!(result, Err(GenerationError::EmptyPrompt { index: 1 })));
    let wrong = GenerationConfig { top_p: Some(0.0), ..config(3) };
    let result = generate(&model, &tokenizer, &[1], &wrong, |_| ());
    assert!(matches!(result, Err(GenerationError::Field { field: "top_p", .. })));
}

#[test]
fn scores_that_are_no_numbers_are_an_error() {
    let (mut model, tokenizer) = (model(), tokenizer());
    let norm = model.model.norm.weight.val() * f32::NAN;
    model.model.norm.weight = burn::module::Param::from_tensor(norm);
    let result = generate(&model, &tokenizer, &[1, 2, 3], &config(3), |_| ());
    assert!(matches!(result, Err(GenerationError::NotFinite { position: 3 })));
    let result = generate_batch(&model, &[vec![1, 2, 3]], 3, &[]);
    assert!(matches!(result, Err(GenerationError::NotFinite { position: 3 })));
}

#[test]
fn a_tokenizer_of_another_model_is_an_error_of_its_own() {
    let inner = tokenizer().tokenizer().clone();
    let result = TextTokenizer::from_tokenizer(inner, Some("<bos>"), None, None);
    assert_eq!(
        result.unwrap_err().to_string(),
        "tokenizer: `bos_token` is \"<bos>\", which is not in the vocabulary"
    );
}
