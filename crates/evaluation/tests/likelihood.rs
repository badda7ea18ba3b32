//! Log-likelihoods in batches against one request at a time, computed as the formula reads.

#![allow(clippy::unwrap_used)]

mod common;

use burn::module::Param;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{base, models, tokenizer, tokens};
use evaluation::scoring::{
    Progress, Scorer, ScoringError, ScoringOptions, TokenRequest, TokenResponse,
};
use model_zoo::{CausalLm, GenerationConfig, TokenInput, generate_batch};
use router::RoutingTape;

const TOLERANCE: f64 = 1e-4;

/// The sum of `ln p` of the last tokens of a sequence, and whether each was the most probable.
fn oracle(model: &impl CausalLm, sequence: &[u32], last: usize) -> (f64, bool) {
    let ids: Vec<i64> = sequence.iter().map(|id| i64::from(*id)).collect();
    let data = TensorData::new(ids[..ids.len() - 1].to_vec(), [1, ids.len() - 1]);
    let input = TokenInput::new(Tensor::<2, Int>::from_data(data, &Device::flex()));
    let mut tape = RoutingTape::new(input.context());
    let hidden = model.hidden_states(&input, None, &mut tape);
    let logits = log_softmax(model.logits(hidden), 2).into_data().try_to_vec::<f32>().unwrap();
    let rows = logits.chunks(model.vocab_size()).zip(&sequence[1..]);
    let mut sum = 0.0;
    let mut greedy = true;
    for (row, token) in rows.skip(sequence.len() - 1 - last) {
        let log_probability = row[*token as usize];
        sum += f64::from(log_probability);
        greedy &= row.iter().all(|other| *other <= log_probability);
    }
    (sum, greedy)
}

fn expected(model: &impl CausalLm, request: &TokenRequest, max_length: usize) -> TokenResponse {
    match request {
        TokenRequest::LogLikelihood { context, continuation } => {
            let all = [context.as_slice(), continuation].concat();
            let kept = &all[all.len().saturating_sub(max_length + 1)..];
            let (log_likelihood, is_greedy) = oracle(model, kept, continuation.len());
            TokenResponse::LogLikelihood { log_likelihood, is_greedy }
        }
        TokenRequest::LogLikelihoodRolling { prefix, tokens } => {
            let all = [&[*prefix], tokens.as_slice()].concat();
            let mut log_likelihood = 0.0;
            let mut done = 0;
            while done < tokens.len() {
                let end = tokens.len().min(done + max_length);
                let from = if done == 0 { 0 } else { end - max_length };
                log_likelihood += oracle(model, &all[from..=end], end - done).0;
                done = end;
            }
            TokenResponse::LogLikelihoodRolling { log_likelihood }
        }
        TokenRequest::GenerateUntil { .. } => panic!("not a likelihood"),
    }
}

/// Questions whose choices share a context, after examples that many share; single continuations,
/// equal requests, and whole texts.
fn requests(model: &impl CausalLm) -> Vec<TokenRequest> {
    let vocab = model.vocab_size();
    let mut requests = Vec::new();
    let mut push = |context: &[u32], continuation: Vec<u32>| {
        requests.push(TokenRequest::LogLikelihood { context: context.to_vec(), continuation });
    };
    let examples = tokens(1, 29, vocab);
    for question in 0..14 {
        let own = tokens(10 + question, 3 + question as usize % 4, vocab);
        let context = [examples.as_slice(), &own].concat();
        for choice in 0..4 {
            let len = if question % 3 == 0 { 1 } else { 1 + choice as usize };
            push(&context, tokens(100 + 7 * question + choice, len, vocab));
        }
        // The same question without examples, and one choice twice.
        push(&own, tokens(500 + question, 5, vocab));
        push(&own, tokens(500 + question, 5, vocab));
        push(&own, tokens(600 + question, 2, vocab));
        let greedy = generate_batch(model, std::slice::from_ref(&context), 2, &[]).unwrap();
        push(&context, greedy[0].clone());
    }
    // One begins another, whose states are needed where the first ends.
    push(&[5, 6, 7], vec![8]);
    push(&[5], vec![6, 7, 8, 9]);
    push(&[1], vec![5]);
    push(&tokens(2, 60, vocab), tokens(3, 4, vocab));
    for (seed, len) in [(31, 0), (32, 1), (33, 40), (34, 41), (35, 95)] {
        let tokens = tokens(seed, len, vocab);
        requests.push(TokenRequest::LogLikelihoodRolling { prefix: 1, tokens });
    }
    requests
}

fn score(
    model: &impl CausalLm,
    requests: &[TokenRequest],
    options: &ScoringOptions,
) -> (Vec<TokenResponse>, Progress) {
    let tokenizer = tokenizer(model);
    let scorer = Scorer { options: options.clone(), ..Scorer::new(model, &tokenizer) };
    let mut found = vec![None; requests.len()];
    let mut last = Progress::default();
    scorer
        .score(requests, &mut |index, response, progress| {
            assert!(found[index].replace(response).is_none(), "one answer each");
            assert_eq!(progress.requests, last.requests + 1);
            last = progress;
            Ok::<_, ScoringError>(())
        })
        .unwrap();
    (found.into_iter().map(Option::unwrap).collect(), last)
}

fn value(response: &TokenResponse) -> (f64, Option<bool>) {
    match response {
        TokenResponse::LogLikelihood { log_likelihood, is_greedy } => {
            (*log_likelihood, Some(*is_greedy))
        }
        TokenResponse::LogLikelihoodRolling { log_likelihood } => (*log_likelihood, None),
        TokenResponse::Generated(_) => panic!("not a likelihood"),
    }
}

#[test]
fn batches_give_what_single_requests_give() {
    for (name, model) in models() {
        let requests = requests(&model);
        let max_length = 40;
        let expected: Vec<_> =
            requests.iter().map(|request| expected(&model, request, max_length)).collect();
        assert!(expected.iter().any(|response| value(response).1 == Some(true)), "{name}");
        for batch_tokens in [1, 100, 4096] {
            let options = ScoringOptions {
                batch_tokens,
                max_length: Some(max_length),
                ..ScoringOptions::default()
            };
            let (found, progress) = score(&model, &requests, &options);
            assert_eq!(progress.requests, requests.len());
            for ((found, expected), request) in found.iter().zip(&expected).zip(&requests) {
                let ((found, greedy), (expected, expected_greedy)) =
                    (value(found), value(expected));
                assert!(
                    (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0),
                    "{name}, {batch_tokens}: {found}, expected {expected}: {request:?}"
                );
                assert_eq!(greedy, expected_greedy, "{name}, {batch_tokens}: {request:?}");
            }
        }
    }
}

#[test]
fn parts_that_are_answered_apart_are_the_whole_bit_by_bit() {
    for (name, model) in models() {
        let mut requests = requests(&model);
        let vocab = model.vocab_size();
        requests.extend((0..3).map(|at| TokenRequest::GenerateUntil {
            prompt: tokens(900 + at, 4, vocab),
            generation: GenerationConfig { max_new_tokens: 3, ..GenerationConfig::default() },
        }));
        let options =
            ScoringOptions { batch_tokens: 100, max_length: Some(40), ..ScoringOptions::default() };
        let tokenizer = tokenizer(&model);
        let (whole, all) = score(&model, &requests, &options);
        let scorer = Scorer { options, ..Scorer::new(&model, &tokenizer) };
        for of in [1, 2, 3] {
            let parts = scorer.parts(&requests, of).unwrap();
            let (mut found, mut computed) = (vec![None; requests.len()], 0);
            for part in 0..of {
                let known: Vec<bool> = parts.iter().map(|own| *own != part).collect();
                let mut last = 0;
                scorer
                    .score_unknown::<ScoringError>(
                        &requests,
                        &known,
                        &mut |at, response, so_far| {
                            last = so_far.computed;
                            if parts[at] == part {
                                found[at] = Some(response);
                            }
                            Ok(())
                        },
                    )
                    .unwrap();
                computed += last;
                assert!(parts.contains(&part), "{name}: part {part} of {of} has nothing");
            }
            let found: Vec<TokenResponse> = found.into_iter().map(Option::unwrap).collect();
            assert_eq!(found, whole, "{name}, {of} parts");
            // Only texts of several windows, and beginnings that batches share, are computed again.
            assert!(computed >= all.computed && computed < of * all.computed || of == 1, "{name}");
        }
    }
}

#[test]
fn what_requests_share_is_computed_once() {
    let model = base("llama3");
    let vocab = model.vocab_size();
    let context = tokens(1, 30, vocab);
    let choice = |seed| TokenRequest::LogLikelihood {
        context: context.clone(),
        continuation: tokens(seed, 3, vocab),
    };
    let requests: Vec<_> = (2..6).map(choice).collect();
    let (_, progress) = score(&model, &requests, &ScoringOptions::default());
    assert_eq!((progress.tokens, progress.computed), (4 * 32, 30 + 4 * 2));
}

#[test]
fn requests_that_cannot_be_answered_are_named() {
    let model = base("llama3");
    let tokenizer = tokenizer(&model);
    let mut scorer = Scorer::new(&model, &tokenizer);
    scorer.options.max_length = Some(4);
    let error = |context: &[u32], continuation: &[u32]| {
        let good = TokenRequest::LogLikelihood { context: vec![1], continuation: vec![2] };
        let bad = TokenRequest::LogLikelihood {
            context: context.to_vec(),
            continuation: continuation.to_vec(),
        };
        scorer
            .score::<ScoringError>(&[good, bad], &mut |_, _, _| panic!("nothing is computed"))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(error(&[], &[1]), "request 1: the context has no tokens");
    assert_eq!(error(&[1], &[]), "request 1: the continuation has no tokens");
    assert!(error(&[1], &[1; 5]).contains("has 5 tokens, but the model reads at most 4"));
    assert!(error(&[1], &[9999]).contains("the token 9999"));
}

#[test]
fn scores_that_are_no_numbers_and_errors_of_the_caller_end_it() {
    let mut model = base("llama3");
    let tokenizer = tokenizer(&model);
    let request = TokenRequest::LogLikelihood { context: vec![1], continuation: vec![5] };
    let requests = [request.clone(), request];
    let mut seen = 0;
    let result = Scorer::new(&model, &tokenizer).score(&requests, &mut |_, _, _| {
        seen += 1;
        Err(ScoringError::NoPrefixToken)
    });
    assert!(matches!(result, Err(ScoringError::NoPrefixToken)) && seen == 1);
    let norm = model.model.norm.weight.val() * f32::NAN;
    model.model.norm.weight = Param::from_tensor(norm);
    let result = Scorer::new(&model, &tokenizer)
        .score::<ScoringError>(&requests, &mut |_, _, _| panic!("nothing is known"));
    assert!(matches!(result, Err(ScoringError::NotFinite { .. })));
}
