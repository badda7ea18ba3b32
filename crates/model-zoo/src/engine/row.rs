use std::sync::Arc;
use std::time::Instant;

use crate::{
    BlockTable, FinishReason, LengthDependence, Sampler, StopMatcher, TextStream, TextTokenizer,
};

use super::scores::score;
use super::shared::Pending;
use super::{Adapter, EngineError, Event, LayerRouting, NewToken, Request, Stats, TokenScore};

/// Is given what becomes of a request; returns whether anyone still listens.
pub type Sink = Box<dyn FnMut(Event) -> bool + Send>;

/// A sequence that is read, and then continued.
pub(super) struct Row<'t> {
    pub(super) id: u64,
    pub(super) request: Request,
    pub(super) adapter: Option<Arc<Adapter>>,
    sink: Sink,
    /// The prompt and the new tokens.
    pub(super) tokens: Vec<u32>,
    /// How many of them have keys and values.
    pub(super) seen: usize,
    /// The blocks of those.
    pub(super) table: BlockTable,
    /// Whether the model's own routers look beyond a token.
    pub(super) reaches: bool,
    /// How its positions depend on its length, where it may become so long.
    pub(super) length: Option<LengthDependence>,
    /// How many tokens of the prompt were known when it was first read.
    cached: Option<usize>,
    sampler: Sampler,
    stops: StopMatcher,
    /// Its text, where that is wanted.
    text: Option<TextStream<'t>>,
    prompt_scores: Vec<TokenScore>,
    arrived: Instant,
    /// Whether it has come to its end.
    pub(super) ended: bool,
    /// Whether it has, and did not fail.
    pub(super) finished: bool,
    /// Whether nobody listens any longer.
    pub(super) gone: bool,
}

impl<'t> Row<'t> {
    pub(super) fn new(
        pending: Pending,
        tokenizer: Option<&'t TextTokenizer>,
        reaches: bool,
        length: Option<LengthDependence>,
    ) -> Self {
        let Pending { id, request, adapter, sink, arrived } = pending;
        let sink = sink.unwrap_or_else(|| Box::new(|_| false));
        Self {
            id,
            tokens: request.prompt.clone(),
            seen: 0,
            table: BlockTable::default(),
            reaches,
            length,
            cached: None,
            sampler: Sampler::new(&request.generation),
            stops: StopMatcher::new(request.generation.stop.clone()),
            text: tokenizer.map(|tokenizer| TextStream::new(tokenizer, &request.prompt)),
            prompt_scores: Vec::new(),
            arrived,
            ended: false,
            finished: false,
            gone: false,
            request,
            adapter,
            sink,
        }
    }

    /// The number of its adapter.
    pub(super) fn adapter_number(&self) -> Option<u64> {
        self.adapter.as_ref().map(|adapter| adapter.number)
    }

    /// Whether what is computed for a token depends on more than the tokens before it: the prompt is
    /// then read in one piece, and nothing is shared with others.
    pub(super) fn is_apart(&self) -> bool {
        self.has_own_passes() || self.adapter.as_ref().is_some_and(|adapter| adapter.is_alone())
    }

    /// Whether it is never computed in one pass with others.
    pub(super) fn has_own_passes(&self) -> bool {
        self.reaches || self.length.is_some()
    }

    /// Whether only its last new token is still to be read.
    pub(super) fn is_continued(&self) -> bool {
        self.tokens.len() > self.request.prompt.len() && self.tokens.len() == self.seen + 1
    }

    /// Gives up what was read, and its blocks.
    pub(super) fn forget(&mut self) -> BlockTable {
        self.seen = 0;
        std::mem::take(&mut self.table)
    }

    /// The most tokens that are still to come.
    pub(super) fn remaining(&self) -> usize {
        let new = self.tokens.len() - self.request.prompt.len();
        self.request.generation.max_new_tokens.saturating_sub(new)
    }

    /// Whether the scores of tokens of the prompt are still to be computed.
    pub(super) fn wants_prompt_scores(&self) -> bool {
        self.request.prompt_logprobs.is_some()
            && self.prompt_scores.len() + 1 < self.request.prompt.len()
    }

    /// How many tokens are read in the next pass, where at most `most` should be.
    pub(super) fn next_len(&self, most: usize) -> usize {
        let left = self.tokens.len() - self.seen;
        if !self.is_apart() {
            return left.min(most);
        }
        // As if it had never been interrupted.
        match (self.seen, self.length) {
            (0, Some(length)) if length.restarts => left,
            (0, _) => self.request.prompt.len(),
            _ => 1,
        }
    }

    pub(super) fn knows(&mut self, cached: usize) {
        self.cached.get_or_insert(cached);
    }

    /// Takes the scores of tokens of the prompt, in order.
    pub(super) fn push_prompt_score(&mut self, score: TokenScore) {
        self.prompt_scores.push(score);
    }

    /// Gives the scores of the prompt away, where they are asked for and there.
    fn send_prompt_scores(&mut self) {
        if self.request.prompt_logprobs.is_some() && !self.wants_prompt_scores() {
            self.request.prompt_logprobs = None;
            let scores = std::mem::take(&mut self.prompt_scores);
            self.send(Event::Prompt(scores));
        }
    }

    /// Chooses the next token from the scores after the last one.
    pub(super) fn take(
        &mut self,
        logits: &[f32],
        eos: &[u32],
        routing: Option<Vec<LayerRouting>>,
        stats: &Stats,
    ) {
        self.send_prompt_scores();
        if self.ended {
            return;
        }
        let prompt_len = self.request.prompt.len();
        if self.tokens.len() == prompt_len {
            stats.first_token_after(self.arrived.elapsed());
        }
        if self.remaining() == 0 {
            return self.end(FinishReason::Length, stats);
        }
        let Some(token) = self.sampler.next(logits, &self.tokens, prompt_len) else {
            return self.fail(EngineError::NotFinite { position: self.tokens.len() }, stats);
        };
        let own = self.request.generation.eos_token_ids.as_slice();
        let eos = if own.is_empty() { eos } else { own };
        Stats::add(&stats.generated_tokens, 1);
        let score = self.request.logprobs.map(|top| score(logits, token, top));
        if !self.request.ignore_eos && eos.contains(&token) {
            self.send(Event::Token(NewToken { token, text: String::new(), score, routing }));
            return self.end(FinishReason::Eos, stats);
        }
        self.tokens.push(token);
        let text = match self.text.as_mut().map(|text| text.push(token)) {
            None => String::new(),
            Some(Ok(text)) => text,
            Some(Err(error)) => {
                return self.fail(EngineError::Text { message: error.to_string() }, stats);
            }
        };
        let (text, stopped) = self.stops.push(&text);
        self.send(Event::Token(NewToken { token, text, score, routing }));
        if stopped {
            self.finish(FinishReason::Stop, String::new(), stats);
        } else if self.remaining() == 0 {
            self.end(FinishReason::Length, stats);
        }
    }

    /// Ends it with the text that was held back.
    fn end(&mut self, reason: FinishReason, stats: &Stats) {
        let rest = self.text.as_mut().and_then(|text| text.finish().ok()).unwrap_or_default();
        let (mut text, stopped) = self.stops.push(&rest);
        let reason = if stopped { FinishReason::Stop } else { reason };
        if !stopped {
            text.push_str(&self.stops.finish());
        }
        self.finish(reason, text, stats);
    }

    fn finish(&mut self, reason: FinishReason, text: String, stats: &Stats) {
        if self.ended {
            return;
        }
        let cached = self.cached.unwrap_or(0);
        self.send(Event::Done { reason, text, cached });
        self.ended = true;
        self.finished = true;
        Stats::add(&stats.finished, 1);
    }

    /// Ends it with an error.
    pub(super) fn fail(&mut self, error: EngineError, stats: &Stats) {
        if !self.ended {
            self.send(Event::Failed(error));
            self.ended = true;
            Stats::add(&stats.failed, 1);
        }
    }

    /// Ends it, as its client has left.
    pub(super) fn cancel(&mut self, stats: &Stats) {
        if !self.ended {
            self.ended = true;
            Stats::add(&stats.cancelled, 1);
        }
    }

    fn send(&mut self, event: Event) {
        if !self.ended && !(self.sink)(event) {
            self.gone = true;
        }
    }
}
