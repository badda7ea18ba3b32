use std::collections::VecDeque;

use model_zoo::KvCache;

/// A beginning that saves fewer tokens is computed again.
const WORTH: usize = 16;

/// Prompts that were read, with their keys and values, so that those that begin alike need not be
/// read from the start. Those of different adapters are never shared.
#[derive(Default)]
pub(super) struct Prefixes {
    /// The most recently used last.
    entries: VecDeque<Prefix>,
    tokens: usize,
}

struct Prefix {
    /// The number of the adapter.
    adapter: Option<u64>,
    tokens: Vec<u32>,
    cache: KvCache,
}

impl Prefixes {
    /// The tokens that are kept.
    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    /// The keys and values of as much of the beginning of `tokens` as is known, but at least one
    /// token less than all; and of how many tokens they are.
    pub(super) fn find(
        &mut self,
        adapter: Option<u64>,
        tokens: &[u32],
    ) -> Option<(KvCache, usize)> {
        let most = tokens.len().saturating_sub(1);
        let shared = |entry: &Prefix| {
            let pairs = entry.tokens.iter().zip(tokens);
            pairs.take_while(|(a, b)| a == b).count().min(most)
        };
        let entries = self.entries.iter().enumerate().filter(|(_, entry)| entry.adapter == adapter);
        let (at, len) = entries
            .map(|(at, entry)| (at, shared(entry)))
            .max_by_key(|(_, len)| *len)
            .filter(|(_, len)| *len >= WORTH)?;
        let entry = self.entries.remove(at)?;
        let cache = entry.cache.beginning(len);
        self.entries.push_back(entry);
        Some((cache, len))
    }

    /// Keeps what was read, within so many tokens of all that is kept.
    pub(super) fn keep(
        &mut self,
        adapter: Option<u64>,
        tokens: &[u32],
        cache: &KvCache,
        most: usize,
    ) {
        if tokens.len() < WORTH || tokens.len() > most {
            return;
        }
        let known = |entry: &Prefix| entry.adapter == adapter && entry.tokens.starts_with(tokens);
        if self.entries.iter().any(known) {
            return;
        }
        // A beginning of it is not needed beside it.
        self.retain(|entry| entry.adapter != adapter || !tokens.starts_with(&entry.tokens));
        self.shrink(most - tokens.len());
        self.tokens += tokens.len();
        let (tokens, cache) = (tokens.to_vec(), cache.clone());
        self.entries.push_back(Prefix { adapter, tokens, cache });
    }

    /// Forgets what was not used for the longest, until at most so many tokens are kept.
    pub(super) fn shrink(&mut self, most: usize) {
        while self.tokens > most
            && let Some(entry) = self.entries.pop_front()
        {
            self.tokens -= entry.tokens.len();
        }
    }

    /// Forgets what belongs to adapters that are no longer there.
    pub(super) fn retain_adapters(&mut self, there: impl Fn(u64) -> bool) {
        self.retain(|entry| entry.adapter.is_none_or(&there));
    }

    fn retain(&mut self, keep: impl Fn(&Prefix) -> bool) {
        self.entries.retain(keep);
        self.tokens = self.entries.iter().map(|entry| entry.tokens.len()).sum();
    }
}
