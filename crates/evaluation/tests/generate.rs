//! Generation in batches against one prompt at a time.

#![allow(clippy::unwrap_used)]

mod common;

use common::{models, tokenizer, tokens};
use evaluation::scoring::{Scorer, ScoringError, ScoringOptions, TokenRequest, TokenResponse};
use model_zoo::{CausalLm, FinishReason, Generation, GenerationConfig, generate};

/// Prompts of many lengths with and without a common beginning, each with its own limit, stops and
/// way to choose tokens.
fn requests(vocab: usize, stops: &[&str]) -> Vec<(Vec<u32>, GenerationConfig)> {
    let examples = tokens(1, 33, vocab);
    (0..48)
        .map(|i| {
            let own = tokens(20 + i, 1 + (i as usize * 7) % 13, vocab);
            let prompt = if i % 6 == 5 { own } else { [examples.as_slice(), &own].concat() };
            let config = GenerationConfig {
                max_new_tokens: 1 + (i as usize * 5) % 17,
                temperature: if i % 4 == 0 { 0.8 } else { 0.0 },
                seed: u64::from(i),
                repetition_penalty: if i % 7 == 0 { 1.3 } else { 1.0 },
                stop: stops.iter().map(|stop| (*stop).to_owned()).collect(),
                ..GenerationConfig::default()
            };
            (prompt, config)
        })
        .collect()
}

fn generated(
    model: &impl CausalLm,
    requests: &[(Vec<u32>, GenerationConfig)],
    options: &ScoringOptions,
) -> Vec<Generation> {
    let tokenizer = tokenizer(model);
    let scorer = Scorer { options: options.clone(), ..Scorer::new(model, &tokenizer) };
    let requests: Vec<_> = requests
        .iter()
        .map(|(prompt, generation)| TokenRequest::GenerateUntil {
            prompt: prompt.clone(),
            generation: generation.clone(),
        })
        .collect();
    let mut found = vec![None; requests.len()];
    let on_done = &mut |index: usize, response, _| {
        let TokenResponse::Generated(generation) = response else { panic!("not generated") };
        assert!(found[index].replace(generation).is_none(), "one answer each");
        Ok::<_, ScoringError>(())
    };
    scorer.score(&requests, on_done).unwrap();
    found.into_iter().map(Option::unwrap).collect()
}

#[test]
fn batches_give_what_single_prompts_give() {
    for (name, model) in models() {
        let tokenizer = tokenizer(&model);
        // Stops that some of the texts have.
        let free = &requests(model.vocab_size(), &[])[1];
        let free = generate(&model, &tokenizer, &free.0, &free.1, |_| ()).unwrap().text;
        let common: String = free.chars().take(1).collect();
        let requests = requests(model.vocab_size(), &[&common, "no such text"]);
        let expected: Vec<Generation> = requests
            .iter()
            .map(|(prompt, config)| generate(&model, &tokenizer, prompt, config, |_| ()).unwrap())
            .collect();
        let count = |reason| expected.iter().filter(|found| found.finish_reason == reason).count();
        assert!(count(FinishReason::Stop) > 0 && count(FinishReason::Length) > 0, "{name}");
        // All at once, and few at a time, so that rows join others.
        for (batch_tokens, cache_tokens) in [(4096, 1 << 16), (60, 400)] {
            let options =
                ScoringOptions { batch_tokens, cache_tokens, ..ScoringOptions::default() };
            let found = generated(&model, &requests, &options);
            for ((found, expected), (prompt, config)) in found.iter().zip(&expected).zip(&requests)
            {
                assert_eq!(found, expected, "{name}, {cache_tokens}: {prompt:?} {config:?}");
            }
        }
    }
}

#[test]
fn prompts_are_cut_from_the_left() {
    let (_, model) = models().swap_remove(0);
    let config = GenerationConfig { max_new_tokens: 4, ..GenerationConfig::default() };
    let prompt = tokens(3, 30, model.vocab_size());
    let options = ScoringOptions { max_length: Some(12), ..ScoringOptions::default() };
    let long = generated(&model, &[(prompt.clone(), config.clone())], &options);
    let short = generated(&model, &[(prompt[22..].to_vec(), config)], &options);
    assert_eq!(long, short);
}

#[test]
fn what_leaves_no_room_for_the_prompt_is_refused() {
    let (_, model) = models().swap_remove(0);
    let tokenizer = tokenizer(&model);
    let mut scorer = Scorer::new(&model, &tokenizer);
    scorer.options.max_length = Some(12);
    let generation = GenerationConfig { max_new_tokens: 12, ..GenerationConfig::default() };
    let request = TokenRequest::GenerateUntil { prompt: vec![5], generation };
    let error = scorer
        .score::<ScoringError>(&[request], &mut |_, _, _| panic!("nothing is computed"))
        .unwrap_err();
    assert!(error.to_string().contains("reads at most 12"), "{error}");
}
