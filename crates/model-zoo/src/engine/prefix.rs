use std::collections::VecDeque;

use crate::{BlockTable, PagedCache};

/// A beginning that saves fewer tokens is computed again.
pub(super) const WORTH: usize = PagedCache::BLOCK;

/// Sequences that were read, whose blocks are shared with those that begin alike. Those of different
/// adapters are never shared.
#[derive(Default)]
pub(super) struct Prefixes {
    /// The most recently used last.
    entries: VecDeque<Prefix>,
}

struct Prefix {
    /// The number of the adapter.
    adapter: Option<u64>,
    tokens: Vec<u32>,
    table: BlockTable,
}

/// How many tokens two sequences begin with alike.
pub(super) fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl Prefixes {
    /// How much of the beginning of `tokens` is known.
    pub(super) fn known(&self, adapter: Option<u64>, tokens: &[u32]) -> usize {
        let entries = self.entries.iter().filter(|entry| entry.adapter == adapter);
        entries.map(|entry| common(&entry.tokens, tokens)).max().unwrap_or(0)
    }

    /// As much of the beginning of `tokens` as is known, but at least one token less than all.
    pub(super) fn find(
        &mut self,
        adapter: Option<u64>,
        tokens: &[u32],
        cache: &mut PagedCache,
    ) -> Option<BlockTable> {
        let most = tokens.len().saturating_sub(1);
        let entries = self.entries.iter().enumerate().filter(|(_, entry)| entry.adapter == adapter);
        let (at, len) = entries
            .map(|(at, entry)| (at, common(&entry.tokens, tokens).min(most)))
            .max_by_key(|(_, len)| *len)
            .filter(|(_, len)| *len >= WORTH)?;
        let entry = self.entries.remove(at)?;
        let shared = cache.share(&entry.table, len);
        // Without a block for a copy of the last one, only whole ones are shared.
        let whole = len / PagedCache::BLOCK * PagedCache::BLOCK;
        let shared = shared.or_else(|| cache.share(&entry.table, whole));
        self.entries.push_back(entry);
        shared
    }

    /// Keeps what was read.
    pub(super) fn keep(
        &mut self,
        adapter: Option<u64>,
        tokens: &[u32],
        table: &BlockTable,
        cache: &mut PagedCache,
    ) {
        if tokens.len() < WORTH {
            return;
        }
        let known = |entry: &Prefix| entry.adapter == adapter && entry.tokens.starts_with(tokens);
        if let Some(at) = self.entries.iter().position(known) {
            let entry = self.entries.remove(at);
            self.entries.extend(entry);
            return;
        }
        let table = cache.keep(table);
        // A beginning of it is not needed beside it.
        let needed =
            |entry: &Prefix| entry.adapter != adapter || !tokens.starts_with(&entry.tokens);
        self.retain(needed, cache);
        self.entries.push_back(Prefix { adapter, tokens: tokens.to_vec(), table });
    }

    /// Forgets what was not used for the longest; returns whether there was anything.
    pub(super) fn forget_one(&mut self, cache: &mut PagedCache) -> bool {
        let oldest = self.entries.pop_front();
        oldest.map(|entry| cache.release(entry.table)).is_some()
    }

    /// Forgets what belongs to adapters that are no longer there.
    pub(super) fn retain_adapters(&mut self, there: impl Fn(u64) -> bool, cache: &mut PagedCache) {
        self.retain(|entry| entry.adapter.is_none_or(&there), cache);
    }

    fn retain(&mut self, keep: impl Fn(&Prefix) -> bool, cache: &mut PagedCache) {
        self.entries.retain_mut(|entry| {
            let kept = keep(entry);
            if !kept {
                cache.release(std::mem::take(&mut entry.table));
            }
            kept
        });
    }
}
