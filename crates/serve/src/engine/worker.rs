use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor};
use model_zoo::{CausalLm, KvCache, PaddingSide, TextTokenizer, TokenInput, TokenTree};
use rayon::prelude::*;

use super::batch::{Batch, Part};
use super::pass::{PassRow, floats, input, pass};
use super::prefix::Prefixes;
use super::row::Row;
use super::scores::score;
use super::shared::{Pending, Shared};
use super::{EngineError, Stats, lock};

/// Prompts of at most so many tokens are read together.
const SHORT: usize = 64;

/// Room that a row has for new tokens before others may have to make room for it.
const AHEAD: usize = 32;

/// Of so many steps, one is looked at for the load of experts.
const LOOKED_AT: u64 = 16;

/// Positions whose scores are computed at a time.
const SCORED: usize = 64;

/// Computes what is asked of an engine, on a thread of its own.
pub(super) struct Worker<'t, M: CausalLm> {
    model: &'t M,
    tokenizer: &'t TextTokenizer,
    shared: &'t Shared,
    device: Device,
    /// Rows that made room for others, the first to come back first.
    preempted: VecDeque<Row<'t>>,
    reading: Vec<Reading<'t>>,
    batch: Batch<'t>,
    prefixes: Prefixes,
}

/// A row whose tokens are read.
struct Reading<'t> {
    row: Row<'t>,
    /// What was read, where that is not nothing.
    cache: Option<KvCache>,
}

impl<'t, M: CausalLm> Worker<'t, M> {
    pub(super) fn new(model: &'t M, tokenizer: &'t TextTokenizer, shared: &'t Shared) -> Self {
        Self {
            model,
            tokenizer,
            shared,
            device: model.device(),
            preempted: VecDeque::new(),
            reading: Vec::new(),
            batch: Batch::default(),
            prefixes: Prefixes::default(),
        }
    }

    /// Works until the engine is closed and nothing is left.
    pub(super) fn run(mut self) {
        while self.take_commands() {
            // A pass that panics must not end the server: its rows fail, and others go on.
            let step = catch_unwind(AssertUnwindSafe(|| self.step()));
            if let Err(panic) = step {
                let said = panic.downcast_ref::<String>().map(String::as_str);
                let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
                let error = EngineError::Model(said.unwrap_or("it panicked").to_owned());
                self.fail_all(&error);
                self.prefixes = Prefixes::default();
            }
            self.count();
        }
    }

    fn stats(&self) -> &'t Stats {
        &self.shared.stats
    }

    /// Waits for work, and takes in what has come. Returns whether to go on.
    fn take_commands(&mut self) -> bool {
        let shared = self.shared;
        let mut state = lock(&shared.state);
        loop {
            let now = Instant::now();
            if state.closing.is_some_and(|limit| now >= limit) {
                let waiting = std::mem::take(&mut state.queue);
                drop(state);
                self.fail_all(&EngineError::Closing);
                for pending in waiting {
                    self.row(pending).fail(EngineError::Closing, self.stats());
                }
                return false;
            }
            let idle = self.batch.len() + self.reading.len() + self.preempted.len() == 0;
            if !idle || !state.queue.is_empty() {
                break;
            }
            if state.closing.is_some() {
                return false;
            }
            state.cancelled.clear();
            // Nothing holds the cache of rows that are gone.
            self.batch = Batch::default();
            let waited = shared.wake.wait_timeout(state, Duration::from_secs(1));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let cancelled = std::mem::take(&mut state.cancelled);
        if std::mem::take(&mut state.unloaded) {
            let numbers: BTreeSet<u64> =
                state.adapters.values().map(|adapter| adapter.number).collect();
            self.prefixes.retain_adapters(|number| numbers.contains(&number));
        }
        let now = Instant::now();
        let mut late = Vec::new();
        state.queue.retain_mut(|pending| {
            if cancelled.contains(&pending.id) {
                Stats::add(&shared.stats.cancelled, 1);
                return false;
            }
            let in_time = pending.request.deadline.is_none_or(|deadline| now < deadline);
            if !in_time {
                late.extend(pending.sink.take().map(|sink| (pending.id, sink)));
            }
            in_time
        });
        let mut admitted = Vec::new();
        let mut longest = 0;
        while self.preempted.is_empty()
            && let Some(pending) = state.queue.front()
        {
            longest = longest.max(pending.request.prompt.len());
            if !self.fits(longest, admitted.len()) {
                break;
            }
            admitted.extend(state.queue.pop_front());
        }
        Stats::set(&shared.stats.waiting, state.queue.len());
        drop(state);
        for (_, mut sink) in late {
            sink(super::Event::Failed(EngineError::TimedOut));
            Stats::add(&shared.stats.failed, 1);
        }
        for pending in admitted {
            let row = self.row(pending);
            self.reading.push(Reading { row, cache: None });
        }
        self.sweep(&cancelled, now);
        true
    }

    fn row(&self, pending: Pending) -> Row<'t> {
        let Pending { id, request, adapter, sink, arrived } = pending;
        let sink = sink.unwrap_or_else(|| Box::new(|_| false));
        Row::new(id, request, adapter, sink, arrived, self.tokenizer)
    }

    /// Whether a row of so many tokens can begin beside those that there are, and `others`.
    fn fits(&self, len: usize, others: usize) -> bool {
        let reading = self.reading.iter().map(|reading| reading.row.tokens.len());
        let longest = reading.max().unwrap_or(0).max(self.batch.longest()).max(len) + AHEAD;
        let rows = self.batch.len() + self.reading.len() + others;
        let config = &self.shared.config;
        rows == 0 || rows < config.max_rows && (rows + 1) * longest <= config.cache_tokens
    }

    /// What is known of the beginning of a row that is to be read.
    fn known(&mut self, row: &mut Row<'t>) -> Option<KvCache> {
        let shares = self.shared.config.share_prefixes;
        if !shares || row.is_alone() || row.wants_prompt_scores() {
            return None;
        }
        let (cache, len) = self.prefixes.find(row.adapter_number(), &row.tokens)?;
        row.seen = len;
        row.knows(len.min(row.request.prompt.len()));
        Stats::add(&self.stats().prefix_tokens, len);
        Some(cache)
    }

    /// Takes out rows that have ended, whose clients have left, or that took too long.
    fn sweep(&mut self, cancelled: &BTreeSet<u64>, now: Instant) {
        let stats = self.stats();
        let out = |row: &mut Row<'t>| {
            if row.gone || cancelled.contains(&row.id) {
                row.cancel(stats);
            }
            if row.request.deadline.is_some_and(|deadline| now >= deadline) {
                row.fail(EngineError::TimedOut, stats);
            }
            row.ended
        };
        self.preempted.retain_mut(|row| !out(row));
        self.reading.retain_mut(|reading| !out(&mut reading.row));
        for slot in &mut self.batch.slots {
            if slot.as_mut().is_some_and(out) {
                *slot = None;
            }
        }
    }

    fn fail_all(&mut self, error: &EngineError) {
        let stats = self.stats();
        let batch = std::mem::take(&mut self.batch);
        let reading = self.reading.drain(..).map(|reading| reading.row);
        let rows = batch.slots.into_iter().flatten().chain(reading).chain(self.preempted.drain(..));
        for mut row in rows {
            row.fail(error.clone(), stats);
        }
    }

    fn count(&self) {
        let stats = self.stats();
        Stats::set(&stats.running, self.batch.len());
        Stats::set(&stats.reading, self.reading.len() + self.preempted.len());
        Stats::set(&stats.cached_tokens, self.in_use() + self.prefixes.tokens());
    }

    /// The tokens whose keys and values rows keep.
    fn in_use(&self) -> usize {
        self.batch.positions(0) + self.reading.iter().map(|reading| reading.row.seen).sum::<usize>()
    }

    /// Reads some of the prompts, and continues all running rows by a token.
    fn step(&mut self) {
        while self.preempted.front().is_some_and(|row| self.fits(row.tokens.len(), 0))
            && let Some(row) = self.preempted.pop_front()
        {
            self.reading.push(Reading { row, cache: None });
        }
        let parts = self.read();
        if !parts.is_empty() {
            self.batch.join(parts);
        }
        self.make_room();
        if self.batch.len() > 0 {
            self.continue_all();
        }
        self.sweep(&BTreeSet::new(), Instant::now());
    }

    /// Reads prompts, as many tokens as should be between two steps; returns what is read to its
    /// end.
    fn read(&mut self) -> Vec<Part<'t>> {
        let budget = self.shared.config.prompt_tokens.max(1);
        let mut parts = Vec::new();
        let mut done = 0;
        while done < budget && !self.reading.is_empty() {
            let is_short = |reading: &Reading<'_>| {
                let row = &reading.row;
                reading.cache.is_none() && row.tokens.len() <= SHORT && !row.is_alone()
            };
            let (read, part) = if is_short(&self.reading[0]) {
                let mut together = Vec::new();
                let mut longest = 0;
                let mut i = 0;
                while i < self.reading.len() {
                    let len = self.reading[i].row.tokens.len().max(longest);
                    let within = (together.len() + 1) * len <= (budget - done).max(SHORT);
                    if is_short(&self.reading[i]) && (together.is_empty() || within) {
                        longest = len;
                        together.push(self.reading.remove(i).row);
                    } else {
                        i += 1;
                    }
                }
                (together.len() * longest, Some(self.read_together(together)))
            } else {
                self.read_piece(budget - done)
            };
            done += read;
            parts.extend(part.filter(|part| !part.rows.is_empty()));
        }
        parts
    }

    /// Reads whole short prompts in one pass.
    fn read_together(&mut self, mut rows: Vec<Row<'t>>) -> Part<'t> {
        let lens: Vec<usize> = rows.iter().map(|row| row.tokens.len()).collect();
        let input = if lens.iter().all(|len| *len == lens[0]) {
            let tokens: Vec<&[u32]> = rows.iter().map(|row| row.tokens.as_slice()).collect();
            input(&tokens, &self.device)
        } else {
            let chain = |row: &Row<'_>| {
                let mut tree = TokenTree::default();
                tree.insert(&row.tokens);
                tree
            };
            let trees: Vec<TokenTree> = rows.iter().map(chain).collect();
            let pad = self.model.pad_token_id().unwrap_or(0);
            TokenInput::from_trees(&trees, pad, PaddingSide::Left, &self.device)
        };
        let mut cache = self.model.new_cache();
        self.read_pass(&mut rows, &lens, &input, &mut cache);
        let rows = rows.into_iter().enumerate().filter(|(_, row)| !row.ended);
        Part { cache, rows: rows.map(|(at, row)| (row, at)).collect() }
    }

    /// Reads the next piece of the first prompt; returns how many tokens, and the row where that
    /// was the last.
    fn read_piece(&mut self, most: usize) -> (usize, Option<Part<'t>>) {
        let Reading { mut row, cache } = self.reading.remove(0);
        let cache = cache.or_else(|| self.known(&mut row));
        let mut cache = cache.unwrap_or_else(|| self.model.new_cache());
        row.knows(0);
        let len = row.next_len(most);
        let input = input(&[&row.tokens[row.seen..row.seen + len]], &self.device);
        let ends = row.seen + len == row.tokens.len();
        cache.reserve(row.tokens.len() - row.seen);
        self.read_pass(std::slice::from_mut(&mut row), &[len], &input, &mut cache);
        if !ends {
            self.reading.insert(0, Reading { row, cache: Some(cache) });
            return (len, None);
        }
        let rows = if row.ended { Vec::new() } else { vec![(row, 0)] };
        (len, Some(Part { cache, rows }))
    }

    /// Computes the next `lens` tokens of rows, and chooses a token for those that are read to
    /// their end.
    fn read_pass(
        &mut self,
        rows: &mut [Row<'t>],
        lens: &[usize],
        input: &TokenInput,
        cache: &mut KvCache,
    ) {
        let [_, seq_len] = input.input_ids.dims();
        let adapters: Vec<_> =
            rows.iter().map(|row| PassRow { adapter: row.adapter.as_ref() }).collect();
        let ends: Vec<bool> =
            rows.iter().zip(lens).map(|(row, len)| row.seen + len == row.tokens.len()).collect();
        let wanted: Vec<bool> =
            rows.iter().zip(&ends).map(|(row, ends)| row.request.routing && *ends).collect();
        let record = wanted.contains(&true);
        let passed = pass(self.model, &adapters, input, cache, record, &self.device);
        for (i, (row, len)) in rows.iter_mut().zip(lens).enumerate() {
            if row.wants_prompt_scores() {
                let hidden = passed.hidden.clone().narrow(0, i, 1);
                self.score_prompt(row, hidden.narrow(1, seq_len - len, *len));
            }
            row.seen += len;
            Stats::add(&self.stats().prompt_tokens, *len);
        }
        if !ends.contains(&true) {
            return;
        }
        let logits = passed.logits_at(self.model, seq_len - 1);
        let routings = passed.routings(&wanted, seq_len - 1);
        let vocab = self.model.vocab_size();
        let each = rows.iter_mut().zip(ends).zip(logits.chunks(vocab)).zip(routings);
        for (((row, ends), logits), routing) in each {
            if !ends {
                continue;
            }
            if self.shared.config.share_prefixes && !row.is_alone() && cache.rows() == 1 {
                let room = self.shared.config.cache_tokens.saturating_sub(self.in_use());
                self.prefixes.keep(row.adapter_number(), &row.tokens, cache, room);
            }
            row.take(logits, self.model.eos_token_ids(), routing, self.stats());
        }
    }

    /// The scores of tokens of the prompt, from the positions before them, `[1, n, H]`.
    fn score_prompt(&self, row: &mut Row<'t>, hidden: Tensor<3>) {
        let [_, len, _] = hidden.dims();
        let vocab = self.model.vocab_size();
        let Some(top) = row.request.prompt_logprobs else { return };
        for start in (0..len).step_by(SCORED) {
            let count = SCORED.min(len - start);
            let logits = floats(self.model.logits(hidden.clone().narrow(1, start, count)));
            let prompt = &row.request.prompt;
            let next = &prompt[prompt.len().min(row.seen + start + 1)..];
            let rows: Vec<_> = logits.chunks(vocab).zip(next).collect();
            let scores: Vec<_> =
                rows.into_par_iter().map(|(logits, token)| score(logits, *token, top)).collect();
            scores.into_iter().for_each(|score| row.push_prompt_score(score));
        }
    }

    /// Sees to it that the next step has the memory that it needs.
    fn make_room(&mut self) {
        let most = self.shared.config.cache_tokens;
        let slots = self.batch.slots.len();
        let empty = slots - self.batch.len();
        let replaced = self.reading.len() + self.preempted.len();
        if empty == slots {
            self.batch = Batch::default();
        } else if empty > replaced && 4 * empty >= slots || self.batch.positions(1) > most {
            self.batch.compact();
        }
        while self.batch.len() > 1 && self.batch.positions(1) > most {
            // The last to have come.
            let last = self.batch.slots.iter().enumerate();
            let last = last.filter_map(|(i, row)| row.as_ref().map(|row| (row.id, i))).max();
            let Some((_, place)) = last else { break };
            if let Some(mut row) = self.batch.slots[place].take() {
                row.seen = 0;
                Stats::add(&self.stats().preempted, 1);
                self.preempted.push_front(row);
            }
            self.batch.compact();
        }
        let in_use = self.in_use() + self.batch.slots.len();
        self.prefixes.shrink(most.saturating_sub(in_use));
    }

    /// Continues all running rows by a token.
    fn continue_all(&mut self) {
        let Some(mut cache) = self.batch.cache.take() else { return };
        let pad = self.model.pad_token_id().unwrap_or(0);
        let slots = &self.batch.slots;
        let last = |row: &Option<Row<'_>>| [row.as_ref().map_or(pad, |row| row.tokens[row.seen])];
        let tokens: Vec<[u32; 1]> = slots.iter().map(last).collect();
        let tokens: Vec<&[u32]> = tokens.iter().map(|token| token.as_slice()).collect();
        let input = input(&tokens, &self.device);
        let adapters: Vec<_> = slots
            .iter()
            .map(|row| PassRow { adapter: row.as_ref().and_then(|row| row.adapter.as_ref()) })
            .collect();
        let steps = self.stats().steps.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let look = steps.is_multiple_of(LOOKED_AT);
        let wants = |row: &Row<'_>| row.request.routing || look && row.adapter.is_some();
        let wanted: Vec<bool> = slots.iter().map(|row| row.as_ref().is_some_and(wants)).collect();
        let record = wanted.contains(&true);
        let passed = pass(self.model, &adapters, &input, &mut cache, record, &self.device);
        let logits = passed.logits_at(self.model, 0);
        let routings = passed.routings(&wanted, 0);
        self.batch.cache = Some(cache);
        let (vocab, eos, stats) =
            (self.model.vocab_size(), self.model.eos_token_ids(), self.stats());
        let each = self.batch.slots.iter_mut().zip(logits.chunks(vocab)).zip(routings);
        for ((row, logits), routing) in each {
            let Some(row) = row else { continue };
            row.seen += 1;
            if look && let (Some(adapter), Some(layers)) = (&row.adapter, &routing) {
                for layer in layers {
                    stats.load(&adapter.name, &layer.weights);
                }
            }
            let routing = routing.filter(|_| row.request.routing);
            row.take(logits, eos, routing, stats);
        }
    }
}
