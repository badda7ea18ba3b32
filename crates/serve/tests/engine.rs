//! The engine without HTTP.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use model_zoo::{FinishReason, GenerationConfig, generate};
use moe_adapter::Preset;
use serve::engine::{EngineConfig, EngineError, Event, Request};
use support::{Outcome, ask, engine, greedy, prompt};

const PRESETS: [Preset; 4] =
    [Preset::LoramoePaper, Preset::GoatPaper, Preset::Slim, Preset::Mixlora];

/// Requests of all adapters and of none, with prompts of all lengths.
fn requests() -> Vec<Request> {
    let adapter = |i: usize| PRESETS.get(i % 5).map(|preset| preset.name());
    let request = |i: usize| greedy(prompt(i as u32, 3 + 9 * i), 6 + i % 7, adapter(i));
    (0..16).map(request).collect()
}

fn alone() -> Vec<Outcome> {
    let config = EngineConfig { share_prefixes: false, ..EngineConfig::default() };
    let engine = engine(config, &PRESETS);
    requests().into_iter().map(|request| ask(&engine, vec![request]).remove(0)).collect()
}

fn assert_same(found: &[Outcome], expected: &[Outcome]) {
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.error, None, "request {i}");
        assert_eq!(found.ids(), expected.ids(), "request {i}");
        assert_eq!(found.text, expected.text, "request {i}");
        for (a, b) in found.tokens.iter().zip(&expected.tokens) {
            let [a, b] = [a, b].map(|token| token.score.clone().unwrap());
            assert!((a.logprob - b.logprob).abs() < 1e-4, "request {i}: {a:?} and {b:?}");
        }
    }
}

#[test]
fn a_request_is_answered_alike_alone_in_a_batch_and_after_it_made_room() {
    let expected = alone();
    let config = || EngineConfig { share_prefixes: false, ..EngineConfig::default() };
    let together = engine(config(), &PRESETS);
    assert_same(&ask(&together, requests()), &expected);
    assert!(together.stats().steps.load(Ordering::Relaxed) < 60, "the requests ran together");

    // Room for two or three of the longest.
    let small = EngineConfig { cache_tokens: 420, prompt_tokens: 32, ..config() };
    let small = engine(small, &PRESETS);
    assert_same(&ask(&small, requests()), &expected);

    // Requests that come while others run.
    let few = engine(EngineConfig { max_rows: 3, prompt_tokens: 20, ..config() }, &PRESETS);
    assert_same(&ask(&few, requests()), &expected);
}

#[test]
fn rows_make_room_and_come_back() {
    // All are admitted while they are short, and do not fit when they have grown.
    let grown = |i: usize| greedy(prompt(i as u32, 4), 100, PRESETS.get(i).map(|p| p.name()));
    let config = EngineConfig { share_prefixes: false, cache_tokens: 220, ..Default::default() };
    let engine = engine(config, &PRESETS);
    let apart: Vec<_> = (0..5).map(|i| ask(&engine, vec![grown(i)]).remove(0)).collect();
    assert_eq!(engine.stats().preempted.load(Ordering::Relaxed), 0);
    assert_same(&ask(&engine, (0..5).map(grown).collect()), &apart);
    assert!(engine.stats().preempted.load(Ordering::Relaxed) > 0, "none had to make room");
}

#[test]
fn beginnings_that_are_known_change_nothing() {
    let begun = |i: usize| {
        let mut tokens = prompt(1, 90);
        tokens.extend(prompt(i as u32, 5));
        greedy(tokens, 6, PRESETS.get(i % 2).map(|preset| preset.name()))
    };
    let [apart, shared] = [false, true].map(|share_prefixes| {
        let config = EngineConfig { share_prefixes, ..EngineConfig::default() };
        let engine = engine(config, &PRESETS);
        let outcomes: Vec<_> = (0..6).map(|i| ask(&engine, vec![begun(i)]).remove(0)).collect();
        (outcomes, engine.stats().prefix_tokens.load(Ordering::Relaxed))
    });
    assert_eq!(apart.1, 0);
    assert!(shared.1 >= 4 * 90, "{} tokens were known", shared.1);
    assert_same(&shared.0, &apart.0);
    // Another adapter has other keys and values.
    assert_eq!(shared.0[1].cached, 0);
    assert!(shared.0[2].cached >= 90);
}

#[test]
fn answers_are_those_of_generate() {
    let (model, tokenizer) = support::model();
    let engine = engine(EngineConfig::default(), &[]);
    let adapted = support::adapted(&model, &support::config(Preset::LoramoePaper), 7);
    let with = self::engine(EngineConfig::default(), &PRESETS);
    for (model, engine, adapter) in
        [(&model, &engine, None), (&adapted, &with, Some("loramoe-paper"))]
    {
        let config = GenerationConfig {
            max_new_tokens: 24,
            temperature: 0.8,
            top_k: Some(20),
            seed: 5,
            ..GenerationConfig::default()
        };
        let prompt = prompt(3, 12);
        let expected = generate(model, &tokenizer, &prompt, &config, |_| ()).unwrap();
        let request = Request {
            prompt,
            generation: config,
            adapter: adapter.map(str::to_owned),
            ..Request::default()
        };
        let found = ask(engine, vec![request]).remove(0);
        let mut ids = found.ids();
        if found.reason == Some(FinishReason::Eos) {
            ids.pop();
        }
        assert_eq!(ids, expected.token_ids);
        assert_eq!(found.text, expected.text);
    }
}

#[test]
fn rows_whose_routers_look_beyond_a_token_are_computed_as_alone() {
    let (model, tokenizer) = support::model();
    let config = EngineConfig { cache_tokens: 130, prompt_tokens: 9, ..EngineConfig::default() };
    let engine = engine(config, &PRESETS[..1]);
    let mut models = Vec::new();
    for (name, router) in [
        ("sequence", serde_json::json!({"type": "dense", "gate": {"scope": "sequence"}})),
        ("choice", serde_json::json!({"type": "expert_choice"})),
    ] {
        let mut config = support::config(Preset::LoramoePaper);
        config.router = serde_json::from_value(router).unwrap();
        let adapted = support::adapted(&model, &config, 9);
        let layers = moe_adapter::AdapterLayers::of(&adapted);
        assert_ne!(layers.reach(), router::Reach::Token);
        engine.add_adapter(name, None, layers).unwrap();
        models.push((name, adapted));
    }
    let asked = |i: usize| {
        let name = ["sequence", "choice", "loramoe-paper"][i % 3];
        greedy(prompt(i as u32, 10 + 5 * (i % 3)), 55, Some(name))
    };
    let outcomes = ask(&engine, (0..6).map(asked).collect());
    for (i, outcome) in outcomes.iter().enumerate() {
        let request = asked(i);
        let Some((_, model)) =
            models.iter().find(|(name, _)| request.adapter.as_deref() == Some(name))
        else {
            continue;
        };
        // No token ends the sequence.
        let config = GenerationConfig { eos_token_ids: vec![u32::MAX], ..request.generation };
        let expected = generate(model, &tokenizer, &request.prompt, &config, |_| ()).unwrap();
        assert_eq!(outcome.ids(), expected.token_ids, "request {i}");
    }
    assert!(engine.stats().preempted.load(Ordering::Relaxed) > 0, "none had to make room");
}

#[test]
fn scores_of_a_prompt_are_those_of_its_tokens_as_answers() {
    let engine = engine(EngineConfig { prompt_tokens: 7, ..EngineConfig::default() }, &PRESETS);
    for (len, adapter) in [(4, None), (30, Some("goat-paper")), (90, Some("mixlora"))] {
        let answer = ask(&engine, vec![greedy(prompt(2, len), 8, adapter)]).remove(0);
        let all = [prompt(2, len), answer.ids()].concat();
        let scored = Request { prompt_logprobs: Some(2), ..greedy(all.clone(), 0, adapter) };
        let scored = ask(&engine, vec![scored]).remove(0);
        assert_eq!(scored.reason, Some(FinishReason::Length));
        assert!(scored.tokens.is_empty());
        assert_eq!(scored.prompt.len(), all.len() - 1);
        for (token, score) in answer.tokens.iter().zip(&scored.prompt[len - 1..]) {
            let expected = token.score.clone().unwrap();
            assert_eq!(expected.token, score.token);
            assert!((expected.logprob - score.logprob).abs() < 1e-4);
            // The tokens are greedy.
            assert_eq!(score.top[0].0, score.token);
        }
    }
}

#[test]
fn routings_are_given_where_asked_for() {
    let engine = engine(EngineConfig::default(), &PRESETS);
    let asks = |adapter: Option<&str>, routing: bool| Request {
        routing,
        ..greedy(prompt(1, 6), 4, adapter)
    };
    let requests = vec![
        asks(Some("loramoe-paper"), true),
        asks(None, true),
        asks(Some("mixlora"), true),
        asks(Some("slim"), false),
    ];
    let outcomes = ask(&engine, requests);
    for (i, experts) in [(0, Preset::LoramoePaper), (2, Preset::Mixlora)] {
        let experts = experts.config().num_experts;
        for token in &outcomes[i].tokens {
            let layers = token.routing.clone().unwrap();
            assert_eq!(layers.len(), 2);
            for layer in layers {
                let sum: f32 = layer.weights.iter().sum();
                assert_eq!(layer.weights.len(), experts);
                assert!((sum - 1.0).abs() < 1e-4, "{sum}");
            }
        }
    }
    assert!(outcomes[1].tokens.iter().all(|token| token.routing.clone().unwrap().is_empty()));
    assert!(outcomes[3].tokens.iter().all(|token| token.routing.is_none()));
}

#[test]
fn stop_texts_end_an_answer_wherever_tokens_divide_them() {
    let engine = engine(EngineConfig::default(), &[]);
    let whole = ask(&engine, vec![greedy(prompt(4, 8), 20, None)]).remove(0);
    // A part of the text from the middle of one token into another.
    let middle = whole.text.len() / 2;
    let start = (middle..).find(|at| whole.text.is_char_boundary(*at)).unwrap();
    let end = (start + 4..).find(|at| whole.text.is_char_boundary(*at)).unwrap();
    let stop = whole.text[start..end].to_owned();
    let mut request = greedy(prompt(4, 8), 20, None);
    request.generation.stop = vec![stop.clone()];
    let stopped = ask(&engine, vec![request]).remove(0);
    assert_eq!(stopped.reason, Some(FinishReason::Stop));
    assert_eq!(stopped.text, whole.text[..whole.text.find(&stop).unwrap()]);
}

#[test]
fn adapters_come_and_go_while_others_run() {
    let engine = engine(EngineConfig::default(), &PRESETS[..1]);
    let (model, _) = support::model();
    let layers = || {
        let adapted = support::adapted(&model, &support::config(Preset::Lora), 1);
        moe_adapter::AdapterLayers::of(&adapted)
    };
    let name = |error: Option<EngineError>| error.unwrap().to_string();
    let unknown = engine.submit(vec![(greedy(prompt(1, 4), 4, Some("x")), Box::new(|_| true))]);
    assert!(name(unknown.err()).contains("`x`"));
    engine.add_adapter("x", None, layers()).unwrap();
    assert!(name(engine.add_adapter("x", None, layers()).err()).contains("loaded already"));
    let (sender, events) = mpsc::channel();
    let sink = Box::new(move |event| sender.send(event).is_ok());
    engine.submit(vec![(greedy(prompt(1, 4), 60, Some("x")), sink)]).unwrap();
    engine.remove_adapter("x").unwrap();
    assert!(engine.remove_adapter("x").is_err());
    // What named it before is continued with it.
    let last = events.iter().last().unwrap();
    assert!(matches!(last, Event::Done { reason: FinishReason::Length, .. }));
}

#[test]
fn requests_that_cannot_work_are_refused_and_others_go_on() {
    let config = EngineConfig { max_queue: 2, max_rows: 1, ..EngineConfig::default() };
    let engine = engine(config, &[]);
    let refused = |request: Request| engine.submit(vec![(request, Box::new(|_| true))]);
    for (request, expected) in [
        (greedy(vec![], 4, None), "no tokens"),
        (greedy(vec![1_000_000], 4, None), "1000000"),
        (greedy(prompt(1, 250), 20, None), "at most 256"),
        (greedy(prompt(1, 4), usize::MAX, None), "at most 256"),
    ] {
        let error = refused(request).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let (sender, events) = mpsc::channel();
    let submit = |new: usize, deadline: Option<Instant>| {
        let own = sender.clone();
        let sink = Box::new(move |event| own.send((new, event)).is_ok());
        engine.submit(vec![(Request { deadline, ..greedy(prompt(1, 4), new, None) }, sink)])
    };
    // One runs, one leaves, one comes too late, one is too many.
    submit(200, None).unwrap();
    while engine.stats().running.load(Ordering::Relaxed) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let leaves = submit(201, None).unwrap()[0];
    submit(202, Some(Instant::now())).unwrap();
    assert!(matches!(submit(203, None), Err(EngineError::QueueFull { .. })));
    engine.cancel(leaves);
    drop(sender);
    let mut ended: Vec<_> = events
        .iter()
        .filter_map(|(new, event)| match event {
            Event::Done { .. } => Some((new, true)),
            Event::Failed(error) => {
                assert_eq!(error, EngineError::TimedOut);
                Some((new, false))
            }
            _ => None,
        })
        .collect();
    ended.sort_unstable();
    assert_eq!(ended, [(200, true), (202, false)]);
    assert_eq!(engine.stats().cancelled.load(Ordering::Relaxed), 1);
}

#[test]
fn a_closed_engine_finishes_what_runs_and_refuses_the_rest() {
    let engine = engine(EngineConfig::default(), &[]);
    let (sender, events) = mpsc::channel();
    let sink = Box::new(move |event| sender.send(event).is_ok());
    engine.submit(vec![(greedy(prompt(1, 4), 50, None), sink)]).unwrap();
    engine.close(Duration::from_secs(60));
    let late = engine.submit(vec![(greedy(prompt(1, 4), 5, None), Box::new(|_| true))]);
    assert_eq!(late.err(), Some(EngineError::Closing));
    assert!(matches!(events.iter().last(), Some(Event::Done { .. })));
}
