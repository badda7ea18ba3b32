use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::{BlockTable, CausalLm};
use burn::tensor::{Int, Tensor, TensorData};
use rayon::prelude::*;

use super::pass::{PassRow, floats, input, pass};
use super::prefix::{WORTH, common};
use super::row::Row;
use super::scores::score;
use super::worker::Worker;
use super::{LayerRouting, Stats};

/// Of so many steps, one is looked at for the load of experts.
const LOOKED_AT: u64 = 16;

/// Positions whose scores are computed at a time.
const SCORED: usize = 64;

/// So many tokens of a beginning are waited for, or half of a row.
const MUCH: usize = 64;

/// A row, by its place, and how many of its tokens a pass has.
type Part = (usize, usize);

/// The scores that a row chooses from, and how its experts were weighted.
type Given<'a> = (&'a [f32], Option<Vec<LayerRouting>>);

impl<'t, M: CausalLm> Worker<'t, M> {
    /// Reads some of the prompts, and continues all running rows by a token.
    pub(super) fn step(&mut self) {
        self.bring_back();
        let mut together = Vec::new();
        for (place, count) in self.plan() {
            let row = &self.rows[place];
            // Token by token nothing is seen of how a pass is cut, but for those that see more.
            if row.has_own_passes() || row.is_apart() && count > 1 {
                self.pass(&[(place, count)], true);
            } else {
                together.push((place, count));
            }
        }
        if !together.is_empty() {
            // Rows of an adapter one after the other: they are then computed where they lie.
            together.sort_by_key(|(place, _)| self.rows[*place].adapter_number());
            self.pass(&together, false);
        }
        self.sweep(&BTreeSet::new(), Instant::now());
    }

    /// Takes rows that made room in again, where they fit.
    fn bring_back(&mut self) {
        while self.preempted.front().is_some_and(|row| self.fits(Self::needed_by(row), 0, 0))
            && let Some(row) = self.preempted.pop_front()
        {
            let place = self.rows.partition_point(|other| other.id < row.id);
            self.rows.insert(place, row);
        }
    }

    /// How many tokens each row has in the passes of this step, for which it has its blocks.
    fn plan(&mut self) -> Vec<Part> {
        let mut budget = self.shared.config.prompt_tokens.max(1);
        let mut parts: Vec<Part> = Vec::new();
        let mut out = vec![false; self.rows.len()];
        for place in 0..self.rows.len() {
            if out[place] {
                continue;
            }
            let row = &mut self.rows[place];
            if row.length.is_some_and(|length| length.restarts_at(row.seen, row.tokens.len())) {
                self.cache.release(row.forget());
            }
            let row = &self.rows[place];
            let left = row.tokens.len() - row.seen;
            if left > 1 && budget == 0 {
                continue;
            }
            if row.seen == 0 {
                if self.comes_after_another(place) {
                    continue;
                }
                self.look_up(place);
            }
            let row = &self.rows[place];
            let left = row.tokens.len() - row.seen;
            let count = if left == 1 { 1 } else { row.next_len(budget) };
            if !self.reserve(place, count, &mut out) {
                out[place] = true;
                continue;
            }
            if left > 1 {
                budget = budget.saturating_sub(count);
            }
            parts.push((place, count));
        }
        self.make_room(out, parts)
    }

    /// Whether a row that is being read begins with much of this one, which then need not be read
    /// from the start.
    fn comes_after_another(&self, place: usize) -> bool {
        let row = &self.rows[place];
        let shares = self.shared.config.share_prefixes;
        if !shares || row.is_apart() || row.wants_prompt_scores() {
            return false;
        }
        let (adapter, tokens) = (row.adapter_number(), row.tokens.as_slice());
        let is_read = |other: &&Row<'_>| {
            let read = !other.is_apart() && !other.is_continued();
            read && other.adapter_number() == adapter && other.tokens.len() > other.seen
        };
        let others = self.rows[..place].iter().filter(is_read);
        let most = others.map(|other| common(&other.tokens, tokens)).max().unwrap_or(0);
        most >= WORTH.max(MUCH.min(tokens.len() / 2)) && most > self.prefixes.known(adapter, tokens)
    }

    /// Begins a row with what is known of its beginning.
    fn look_up(&mut self, place: usize) {
        let Self { rows, cache, prefixes, .. } = self;
        let row = &mut rows[place];
        let shares = self.shared.config.share_prefixes;
        if shares && !row.is_apart() && !row.wants_prompt_scores() {
            // What it has is nothing, but for blocks of a step that did not come to it.
            cache.release(std::mem::take(&mut row.table));
            row.table = prefixes.find(row.adapter_number(), &row.tokens, cache).unwrap_or_default();
            row.seen = row.table.len();
            Stats::add(&self.shared.stats.prefix_tokens, row.seen);
        }
        row.knows(row.seen.min(row.request.prompt.len()));
    }

    /// Sees to it that a row has the blocks for so many more tokens: what is only kept is forgotten
    /// first, and then rows that came later are taken `out`. Returns whether it has them.
    fn reserve(&mut self, place: usize, count: usize, out: &mut [bool]) -> bool {
        loop {
            let Self { rows, cache, prefixes, .. } = self;
            if cache.reserve(&mut rows[place].table, count) {
                return true;
            }
            if prefixes.forget_one(cache) {
                continue;
            }
            let holds = |other: &usize| rows[*other].table.num_blocks() > 0;
            let Some(last) = (place..rows.len()).rev().find(holds) else { return false };
            let table = rows[last].forget();
            cache.release(table);
            out[last] = true;
            if last == place {
                return false;
            }
        }
    }

    /// Moves rows to those that made room; returns the parts of the others.
    fn make_room(&mut self, out: Vec<bool>, parts: Vec<Part>) -> Vec<Part> {
        if !out.contains(&true) {
            return parts;
        }
        let mut places = vec![None; out.len()];
        let mut kept = Vec::with_capacity(out.len());
        let mut gone = Vec::new();
        for (place, row) in std::mem::take(&mut self.rows).into_iter().enumerate() {
            if out[place] {
                gone.push(row);
            } else {
                places[place] = Some(kept.len());
                kept.push(row);
            }
        }
        self.rows = kept;
        Stats::add(&self.stats().preempted, gone.len());
        // The first to have come is the first to come back.
        gone.into_iter().rev().for_each(|row| self.preempted.push_front(row));
        let moved = parts.into_iter().filter_map(|(place, count)| Some((places[place]?, count)));
        moved.collect()
    }

    /// Computes the next tokens of rows, and chooses one for each that is read to its end. As a
    /// `whole` it is one row as a sequence, else each token is a row of a batch.
    fn pass(&mut self, parts: &[Part], whole: bool) {
        let (model, stats) = (self.model, self.stats());
        let tokens = parts.iter().flat_map(|(place, count)| {
            let row = &self.rows[*place];
            row.tokens[row.seen..row.seen + count].iter().copied()
        });
        let tokens: Vec<u32> = tokens.collect();
        let shape = if whole { [1, tokens.len()] } else { [tokens.len(), 1] };
        // The last token of each row, where that is its end.
        let mut ends = Vec::new();
        let mut first = 0;
        for (place, count) in parts {
            let row = &self.rows[*place];
            first += count;
            if row.seen + count == row.tokens.len() {
                ends.push((*place, first - 1));
            }
        }
        let continues = parts.iter().any(|(place, _)| self.rows[*place].is_continued());
        let steps = stats.steps.fetch_add(u64::from(continues), Ordering::Relaxed);
        let look = continues && steps.is_multiple_of(LOOKED_AT);
        let wanted: Vec<bool> = ends
            .iter()
            .map(|(place, _)| {
                let row = &self.rows[*place];
                row.request.routing || look && row.is_continued() && row.adapter.is_some()
            })
            .collect();
        let input = input(&tokens, shape, &self.device);
        // A pass that panics loses these; all that is cached is then given up.
        let tables = parts.iter().map(|(place, _)| std::mem::take(&mut self.rows[*place].table));
        let mut tables: Vec<BlockTable> = tables.collect();
        let rows = parts.iter().flat_map(|(place, count)| {
            let count = if whole { 1 } else { *count };
            let row = PassRow { adapter: self.rows[*place].adapter.as_ref(), own: *place };
            std::iter::repeat_n(row, count)
        });
        let rows: Vec<PassRow<'_>> = rows.collect();
        let counts = parts.iter().map(|(_, count)| *count);
        let cache = self.cache.pass(tables.iter_mut().zip(counts));
        let passed = pass(model, &rows, &input, cache, wanted.contains(&true), &self.device);
        self.read(parts, tables, &passed.hidden);
        if ends.is_empty() {
            return;
        }
        let hidden = match ends.len() == tokens.len() {
            true => passed.hidden.clone(),
            false => {
                let last: Vec<i64> = ends.iter().map(|(_, at)| *at as i64).collect();
                let last = TensorData::new(last, [ends.len()]);
                let last = Tensor::<1, Int>::from_data(last, &self.device);
                passed.hidden.clone().select(0, last)
            }
        };
        let logits = floats(model.logits(hidden));
        let places: Vec<_> = ends
            .iter()
            .zip(wanted)
            .map(|((_, at), wanted)| wanted.then_some(if whole { (0, *at) } else { (*at, 0) }))
            .collect();
        self.take(&ends, &logits, passed.routings(&places), look);
    }

    /// Counts tokens as read, whose hidden states are `[T, H]`, and keeps prompts that now are.
    fn read(&mut self, parts: &[Part], tables: Vec<BlockTable>, hidden: &Tensor<2>) {
        let shares = self.shared.config.share_prefixes;
        let mut first = 0;
        for ((place, count), table) in parts.iter().zip(tables) {
            let row = &self.rows[*place];
            let reads = !row.is_continued();
            if row.wants_prompt_scores() {
                let hidden = hidden.clone().narrow(0, first, *count);
                self.score_prompt(*place, hidden);
            }
            first += count;
            let Self { rows, cache, prefixes, .. } = self;
            let row = &mut rows[*place];
            row.table = table;
            row.seen += count;
            if !reads {
                continue;
            }
            Stats::add(&self.shared.stats.prompt_tokens, *count);
            if shares && !row.is_apart() {
                let seen = &row.tokens[..row.seen];
                prefixes.keep(row.adapter_number(), seen, &row.table, cache);
            }
        }
    }

    /// The scores of tokens of the prompt, from the positions before them, `[n, H]`.
    fn score_prompt(&mut self, place: usize, hidden: Tensor<2>) {
        let [len, _] = hidden.dims();
        let vocab = self.model.vocab_size();
        let row = &mut self.rows[place];
        let Some(top) = row.request.prompt_logprobs else { return };
        for start in (0..len).step_by(SCORED) {
            let count = SCORED.min(len - start);
            let logits = floats(self.model.logits(hidden.clone().narrow(0, start, count)));
            let prompt = &row.request.prompt;
            let next = &prompt[prompt.len().min(row.seen + start + 1)..];
            let rows: Vec<_> = logits.chunks(vocab).zip(next).collect();
            let scores: Vec<_> =
                rows.into_par_iter().map(|(logits, token)| score(logits, *token, top)).collect();
            scores.into_iter().for_each(|score| row.push_prompt_score(score));
        }
    }

    /// Chooses the next tokens of rows from their scores, rows of the vocabulary.
    fn take(
        &mut self,
        ends: &[(usize, usize)],
        logits: &[f32],
        routings: Vec<Option<Vec<LayerRouting>>>,
        look: bool,
    ) {
        let (model, stats) = (self.model, self.stats());
        let mut given: Vec<Option<Given<'_>>> = self.rows.iter().map(|_| None).collect();
        let each = ends.iter().zip(logits.chunks(model.vocab_size())).zip(routings);
        for (((place, _), logits), routing) in each {
            given[*place] = Some((logits, routing));
        }
        let taking = self.rows.iter_mut().zip(given);
        let taking: Vec<_> = taking.filter_map(|(row, given)| Some((row, given?))).collect();
        let eos = model.eos_token_ids();
        taking.into_par_iter().for_each(|(row, (logits, routing))| {
            if look && let (Some(adapter), Some(layers)) = (&row.adapter, &routing) {
                for layer in layers {
                    stats.load(&adapter.name, &layer.weights);
                }
            }
            let routing = routing.filter(|_| row.request.routing);
            row.take(logits, eos, routing, stats);
        });
    }
}
