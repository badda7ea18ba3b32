use std::sync::Arc;

use model_zoo::FinishReason;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::app::{App, now};
use super::asked::Asked;
use super::error::ApiError;
use crate::engine::{Event, LayerRouting, Request, Sink, TokenScore};

/// The most weights of experts that an answer gives.
const ROUTING_VALUES: usize = 1 << 20;

/// What an answer looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Completion,
    Chat,
}

/// A prompt of a request.
pub(super) struct Prompt {
    pub(super) tokens: Vec<u32>,
    /// Its text, where the answer is to begin with it.
    pub(super) echo: Option<String>,
}

/// An answer while it comes.
pub(super) struct Answer {
    app: Arc<App>,
    kind: Kind,
    id: String,
    created: u64,
    model: String,
    pub(super) include_usage: bool,
    choices: Vec<Choice>,
    prompt_tokens: usize,
    routing_values: usize,
    pub(super) events: UnboundedReceiver<(usize, Event)>,
    ids: Vec<u64>,
}

/// One of the answers to one of the prompts.
#[derive(Default)]
struct Choice {
    echo: Option<String>,
    first_token: Option<u32>,
    begun: bool,
    /// The characters so far.
    offset: usize,
    tokens: usize,
    cached: usize,
    scored: bool,
    done: bool,
}

/// What an event adds to a choice.
#[derive(Default)]
pub(super) struct Delta {
    pub(super) index: usize,
    text: String,
    scores: Vec<(u32, Option<TokenScore>)>,
    routing: Vec<Value>,
    finish: Option<&'static str>,
    begins: bool,
}

impl Answer {
    /// Asks the engine to continue each prompt as often as asked.
    pub(super) fn new(
        app: &Arc<App>,
        kind: Kind,
        asked: &Asked,
        prompts: Vec<Prompt>,
    ) -> Result<Self, ApiError> {
        let (sender, events) = unbounded_channel();
        let mut requests: Vec<(Request, Sink)> = Vec::new();
        let mut choices = Vec::new();
        let mut prompt_tokens = 0;
        for prompt in prompts {
            prompt_tokens += prompt.tokens.len();
            for answer in 0..asked.n {
                let index = choices.len();
                let sender = sender.clone();
                let sink: Sink = Box::new(move |event| sender.send((index, event)).is_ok());
                let mut request = asked.request.clone();
                let seed = request.generation.seed;
                request.generation.seed = seed.wrapping_add(answer as u64);
                choices.push(Choice {
                    echo: prompt.echo.clone(),
                    first_token: prompt.tokens.first().copied(),
                    scored: request.logprobs.is_some(),
                    ..Choice::default()
                });
                request.prompt = prompt.tokens.clone();
                requests.push((request, sink));
            }
        }
        let adapter = asked.request.adapter.clone();
        let ids = app.engine.submit(requests)?;
        let prefix = if kind == Kind::Chat { "chatcmpl" } else { "cmpl" };
        Ok(Self {
            kind,
            id: format!("{prefix}-{:x}-{:x}", now(), ids.first().copied().unwrap_or(0)),
            created: now(),
            model: adapter.unwrap_or_else(|| app.name.clone()),
            include_usage: asked.include_usage,
            choices,
            prompt_tokens,
            routing_values: 0,
            events,
            ids,
            app: Arc::clone(app),
        })
    }

    /// Whether all answers are complete.
    pub(super) fn is_done(&self) -> bool {
        self.choices.iter().all(|choice| choice.done)
    }

    /// What an event adds; nothing where that is nothing.
    pub(super) fn delta(&mut self, index: usize, event: Event) -> Result<Option<Delta>, ApiError> {
        let Some(choice) = self.choices.get_mut(index) else { return Ok(None) };
        let mut delta = Delta { index, begins: !choice.begun, ..Delta::default() };
        choice.begun = true;
        delta.text.extend(choice.echo.take());
        match event {
            Event::Prompt(scores) => {
                let first = choice.first_token.map(|token| (token, None));
                let scores = scores.into_iter().map(|score| (score.token, Some(score)));
                delta.scores = first.into_iter().chain(scores).collect();
            }
            Event::Token(token) => {
                choice.tokens += 1;
                delta.text.push_str(&token.text);
                if choice.scored {
                    delta.scores.push((token.token, token.score));
                }
                if let Some(layers) = token.routing {
                    let values = layers.iter().map(|layer| layer.weights.len()).sum::<usize>();
                    self.routing_values += values;
                    delta.routing.push(match self.routing_values <= ROUTING_VALUES {
                        true => routing(&layers),
                        false => Value::Null,
                    });
                }
            }
            Event::Done { reason, text, cached } => {
                choice.done = true;
                choice.cached = cached;
                delta.text.push_str(&text);
                delta.finish = Some(match reason {
                    FinishReason::Length => "length",
                    FinishReason::Eos | FinishReason::Stop => "stop",
                });
            }
            Event::Failed(error) => {
                choice.done = true;
                return Err(error.into());
            }
        }
        let empty = delta.text.is_empty()
            && delta.scores.is_empty()
            && delta.routing.is_empty()
            && delta.finish.is_none();
        Ok((!empty).then_some(delta))
    }

    /// The whole answer.
    pub(super) async fn whole(mut self) -> Result<Value, ApiError> {
        let mut all: Vec<Delta> =
            (0..self.choices.len()).map(|index| Delta { index, ..Delta::default() }).collect();
        while !self.is_done() {
            let (index, event) = self.events.recv().await.ok_or_else(failed)?;
            if let Some(delta) = self.delta(index, event)? {
                let whole = &mut all[index];
                whole.text.push_str(&delta.text);
                whole.scores.extend(delta.scores);
                whole.routing.extend(delta.routing);
                whole.finish = whole.finish.or(delta.finish);
            }
        }
        let choices = all.into_iter().map(|delta| {
            let logprobs = self.logprobs(&delta);
            let mut choice = match self.kind {
                Kind::Completion => json!({"text": delta.text}),
                Kind::Chat => json!({"message": {"role": "assistant", "content": delta.text}}),
            };
            choice["index"] = json!(delta.index);
            choice["logprobs"] = logprobs;
            choice["finish_reason"] = json!(delta.finish);
            if !delta.routing.is_empty() {
                choice["routing"] = Value::Array(delta.routing);
            }
            choice
        });
        let choices: Vec<Value> = choices.collect();
        let object = match self.kind {
            Kind::Completion => "text_completion",
            Kind::Chat => "chat.completion",
        };
        Ok(self.framed(object, choices, Some(self.usage())))
    }

    /// The part of a stream that a delta makes.
    pub(super) fn part(&mut self, delta: Delta) -> Value {
        let logprobs = self.logprobs(&delta);
        let mut choice = match self.kind {
            Kind::Completion => json!({"text": delta.text}),
            Kind::Chat => {
                let mut message = json!({"content": delta.text});
                if delta.begins {
                    message["role"] = json!("assistant");
                }
                json!({"delta": message})
            }
        };
        choice["index"] = json!(delta.index);
        choice["logprobs"] = logprobs;
        choice["finish_reason"] = json!(delta.finish);
        if !delta.routing.is_empty() {
            choice["routing"] = Value::Array(delta.routing);
        }
        let object = match self.kind {
            Kind::Completion => "text_completion",
            Kind::Chat => "chat.completion.chunk",
        };
        self.framed(object, vec![choice], None)
    }

    /// The part of a stream that counts the tokens.
    pub(super) fn usage_part(&self) -> Value {
        let object = match self.kind {
            Kind::Completion => "text_completion",
            Kind::Chat => "chat.completion.chunk",
        };
        self.framed(object, Vec::new(), Some(self.usage()))
    }

    fn framed(&self, object: &str, choices: Vec<Value>, usage: Option<Value>) -> Value {
        let mut whole = json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        });
        if let Some(usage) = usage {
            whole["usage"] = usage;
        }
        whole
    }

    fn usage(&self) -> Value {
        let new: usize = self.choices.iter().map(|choice| choice.tokens).sum();
        let cached: usize = self.choices.iter().map(|choice| choice.cached).max().unwrap_or(0);
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": new,
            "total_tokens": self.prompt_tokens + new,
            "prompt_tokens_details": {"cached_tokens": cached},
        })
    }

    /// The log-probabilities of a delta, in the form of the kind.
    fn logprobs(&mut self, delta: &Delta) -> Value {
        let choice = &mut self.choices[delta.index];
        if delta.scores.is_empty() {
            return Value::Null;
        }
        let tokenizer = &self.app.tokenizer;
        let text = |token: u32| tokenizer.decode(&[token], false).unwrap_or_default();
        if self.kind == Kind::Chat {
            let entry = |token: u32, logprob: f32| {
                let text = text(token);
                json!({"token": text, "logprob": logprob, "bytes": text.as_bytes()})
            };
            let scored = delta.scores.iter().filter_map(|(_, score)| score.as_ref());
            let content = scored.map(|score| {
                let mut content = entry(score.token, score.logprob);
                content["top_logprobs"] =
                    score.top.iter().map(|(token, logprob)| entry(*token, *logprob)).collect();
                content
            });
            return json!({"content": content.collect::<Vec<_>>()});
        }
        let (mut tokens, mut logprobs, mut tops, mut offsets) = (vec![], vec![], vec![], vec![]);
        for (token, score) in &delta.scores {
            let own = text(*token);
            offsets.push(choice.offset);
            choice.offset += own.chars().count();
            logprobs.push(score.as_ref().map(|score| score.logprob));
            tops.push(score.as_ref().map(|score| {
                let mut top = serde_json::Map::new();
                for (token, logprob) in &score.top {
                    // Of tokens that read alike the most probable one stays.
                    top.entry(text(*token)).or_insert_with(|| json!(logprob));
                }
                top.entry(own.clone()).or_insert_with(|| json!(score.logprob));
                top
            }));
            tokens.push(own);
        }
        json!({
            "tokens": tokens,
            "token_logprobs": logprobs,
            "top_logprobs": tops,
            "text_offset": offsets,
        })
    }
}

impl Drop for Answer {
    /// A client that has left wants no answer.
    fn drop(&mut self) {
        for (id, choice) in self.ids.iter().zip(&self.choices) {
            if !choice.done {
                self.app.engine.cancel(*id);
            }
        }
    }
}

/// The engine gave up on a request without a word.
pub(super) fn failed() -> ApiError {
    crate::engine::EngineError::Model("a pass failed".to_owned()).into()
}

/// The weights of a token, rounded to what is of use to people.
fn routing(layers: &[LayerRouting]) -> Value {
    let rounded = |weight: &f32| (f64::from(*weight) * 1e4).round() / 1e4;
    let layers = layers.iter().map(|layer| {
        let weights: Vec<f64> = layer.weights.iter().map(rounded).collect();
        json!({"layer": layer.layer, "weights": weights})
    });
    Value::Array(layers.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_rounded_to_four_places() {
        let layers = [LayerRouting { layer: 3, weights: vec![0.123_461, 1.0, 0.0] }];
        assert_eq!(routing(&layers), json!([{"layer": 3, "weights": [0.1235, 1.0, 0.0]}]));
    }
}
