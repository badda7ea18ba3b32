use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{CausalLm, PagedCache, TextTokenizer};
use burn::tensor::Device;
use router::Reach;

use super::prefix::Prefixes;
use super::row::Row;
use super::shared::{Pending, Shared, State};
use super::{EngineError, Stats, lock};

/// Room that a row has for new tokens before others may have to make room for it.
const AHEAD: usize = 2 * PagedCache::BLOCK;

/// Computes what is asked of an engine, on a thread of its own.
pub(super) struct Worker<'t, M: CausalLm> {
    pub(super) model: &'t M,
    tokenizer: Option<&'t TextTokenizer>,
    /// Whether the model's own routers look beyond a token.
    reaches: bool,
    pub(super) shared: &'t Shared,
    pub(super) device: Device,
    /// Rows that are read or continued, the first to have come first.
    pub(super) rows: Vec<Row<'t>>,
    /// Rows that made room for others, the first to come back first.
    pub(super) preempted: VecDeque<Row<'t>>,
    pub(super) cache: PagedCache,
    pub(super) prefixes: Prefixes,
}

impl<'t, M: CausalLm> Worker<'t, M> {
    pub(super) fn new(
        model: &'t M,
        tokenizer: Option<&'t TextTokenizer>,
        shared: &'t Shared,
    ) -> Self {
        Self {
            model,
            tokenizer,
            reaches: model.reach() != Reach::Token,
            shared,
            device: model.device(),
            rows: Vec::new(),
            preempted: VecDeque::new(),
            cache: PagedCache::new(model, shared.config.cache_tokens),
            prefixes: Prefixes::default(),
        }
    }

    /// Works until the engine is closed and nothing is left.
    pub(super) fn run(mut self)
    where
        M: Sync,
    {
        while self.take_commands() {
            // A pass that panics must not end the server: its rows fail, and others go on. It is computed as
            // one of the threads that share its products; waiting in their place would take them one.
            let step = catch_unwind(AssertUnwindSafe(|| rayon::scope(|_| self.step())));
            if let Err(panic) = step {
                let said = panic.downcast_ref::<String>().map(String::as_str);
                let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
                self.fail_all(&EngineError::Model(said.unwrap_or("it panicked").to_owned()));
            }
            self.count();
        }
    }

    pub(super) fn stats(&self) -> &'t Stats {
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
            if !self.is_idle() || !state.queue.is_empty() {
                break;
            }
            if state.closing.is_some() {
                return false;
            }
            state.cancelled.clear();
            let waited = shared.wake.wait_timeout(state, Duration::from_secs(1));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        self.admit(state);
        true
    }

    pub(super) fn is_idle(&self) -> bool {
        self.rows.is_empty() && self.preempted.is_empty()
    }

    /// Takes in what has come and fits, and lets go what is not wanted any longer.
    pub(super) fn admit(&mut self, mut state: MutexGuard<'_, State>) {
        let shared = self.shared;
        let cancelled = std::mem::take(&mut state.cancelled);
        if std::mem::take(&mut state.unloaded) {
            let numbers: BTreeSet<u64> =
                state.adapters.values().map(|adapter| adapter.number).collect();
            self.prefixes.retain_adapters(|number| numbers.contains(&number), &mut self.cache);
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
        let mut blocks = 0;
        while self.preempted.is_empty()
            && let Some(pending) = state.queue.front()
        {
            let request = &pending.request;
            let needed = needed(request.prompt.len(), request.generation.max_new_tokens);
            if !self.fits(needed, admitted.len(), blocks) {
                break;
            }
            blocks += needed;
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
            self.rows.push(row);
        }
        self.sweep(&cancelled, now);
    }

    fn row(&self, pending: Pending) -> Row<'t> {
        let request = &pending.request;
        let most = request.prompt.len().saturating_add(request.generation.max_new_tokens);
        let length = self.model.length_dependence().filter(|length| most > length.beyond);
        Row::new(pending, self.tokenizer, self.reaches, length)
    }

    /// Whether a row that needs so many blocks can begin beside those that there are, and `others`
    /// with `blocks`.
    pub(super) fn fits(&self, needed: usize, others: usize, blocks: usize) -> bool {
        let rows = self.rows.len() + others;
        let taken: usize = self.rows.iter().map(Self::needed_by).sum();
        let total = self.cache.total_blocks();
        rows == 0 || rows < self.shared.config.max_rows && taken + blocks + needed <= total
    }

    /// The blocks that a row may soon have.
    pub(super) fn needed_by(row: &Row<'t>) -> usize {
        needed(row.tokens.len(), row.remaining())
    }

    /// Takes out rows that have ended, whose clients have left, or that took too long.
    pub(super) fn sweep(&mut self, cancelled: &BTreeSet<u64>, now: Instant) {
        let stats = self.stats();
        let shares = self.shared.config.share_prefixes;
        let Self { cache, prefixes, .. } = self;
        let mut out = |row: &mut Row<'t>| {
            if row.gone || cancelled.contains(&row.id) {
                row.cancel(stats);
            }
            if row.request.deadline.is_some_and(|deadline| now >= deadline) {
                row.fail(EngineError::TimedOut, stats);
            }
            if row.ended {
                // What goes on with an answer need not read it.
                if shares && row.finished && !row.is_apart() {
                    let seen = &row.tokens[..row.seen];
                    prefixes.keep(row.adapter_number(), seen, &row.table, cache);
                }
                cache.release(std::mem::take(&mut row.table));
            }
            row.ended
        };
        self.preempted.retain_mut(|row| !out(row));
        self.rows.retain_mut(|row| !out(row));
    }

    /// Fails all rows, and forgets everything that was computed.
    fn fail_all(&mut self, error: &EngineError) {
        let stats = self.stats();
        for mut row in self.rows.drain(..).chain(self.preempted.drain(..)) {
            row.fail(error.clone(), stats);
        }
        self.prefixes = Prefixes::default();
        self.cache = PagedCache::new(self.model, self.shared.config.cache_tokens);
    }

    fn count(&self) {
        let stats = self.stats();
        let running = self.rows.iter().filter(|row| row.is_continued()).count();
        Stats::set(&stats.running, running);
        Stats::set(&stats.reading, self.rows.len() - running + self.preempted.len());
        let taken = self.cache.total_blocks() - self.cache.free_blocks();
        Stats::set(&stats.cached_tokens, taken * PagedCache::BLOCK);
    }
}

/// The blocks that a row of so many tokens may soon have.
fn needed(len: usize, remaining: usize) -> usize {
    PagedCache::blocks_for(len + remaining.min(AHEAD))
}
