use model_zoo::KvCache;

use super::row::Row;

/// Room that is made for new tokens when rows are put together, in tokens.
const ROOM: usize = 128;

/// The rows that are continued together, each at the same place of one cache for as long as it
/// runs. A row that has ended leaves its place to the next.
#[derive(Default)]
pub(super) struct Batch<'t> {
    pub(super) slots: Vec<Option<Row<'t>>>,
    pub(super) cache: Option<KvCache>,
}

/// Rows that were read together, each with its number in their cache.
pub(super) struct Part<'t> {
    pub(super) cache: KvCache,
    pub(super) rows: Vec<(Row<'t>, usize)>,
}

impl<'t> Batch<'t> {
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row<'t>> {
        self.slots.iter().flatten()
    }

    /// The number of rows.
    pub(super) fn len(&self) -> usize {
        self.rows().count()
    }

    /// The positions of the cache, those of empty places and padding included, after so many more
    /// steps.
    pub(super) fn positions(&self, more: usize) -> usize {
        self.slots.len() * self.cache.as_ref().map_or(0, |cache| cache.len() + more)
    }

    /// The longest row, in tokens.
    pub(super) fn longest(&self) -> usize {
        self.rows().map(|row| row.tokens.len()).max().unwrap_or(0)
    }

    /// Takes rows in: into empty places where they fit there, else all are put together anew.
    pub(super) fn join(&mut self, parts: Vec<Part<'t>>) {
        let mut left = Vec::new();
        for Part { cache, rows } in parts {
            let mut kept = Vec::new();
            for (row, at) in rows {
                let place = self.slots.iter().position(Option::is_none);
                let own = self.cache.as_mut();
                let fits = |(place, own): (usize, &mut KvCache)| {
                    own.put(place, &cache, at).then_some(place)
                };
                match place.zip(own).and_then(fits) {
                    Some(place) => self.slots[place] = Some(row),
                    None => kept.push((row, at)),
                }
            }
            if !kept.is_empty() {
                left.push(Part { cache, rows: kept });
            }
        }
        if !left.is_empty() {
            self.put_together(left);
        }
    }

    /// Leaves out empty places and padding between tokens.
    pub(super) fn compact(&mut self) {
        self.put_together(Vec::new());
    }

    fn put_together(&mut self, parts: Vec<Part<'t>>) {
        let mut slots: Vec<Option<Row<'t>>> = Vec::new();
        let mut caches = Vec::new();
        if let Some(cache) = self.cache.take() {
            let places = self.slots.iter().enumerate().filter(|(_, row)| row.is_some());
            let places: Vec<usize> = places.map(|(place, _)| place).collect();
            if !places.is_empty() {
                caches.push((cache, places));
            }
        }
        slots.extend(std::mem::take(&mut self.slots).into_iter().filter(Option::is_some));
        for Part { cache, rows } in parts {
            let (rows, places): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
            slots.extend(rows.into_iter().map(Some));
            caches.push((cache, places));
        }
        if caches.is_empty() {
            return;
        }
        let room = slots.iter().flatten().map(Row::remaining).max().unwrap_or(0);
        self.cache = Some(KvCache::join(caches, room.min(ROOM)));
        self.slots = slots;
    }
}
