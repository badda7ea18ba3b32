use data::DeviceBatch;
use ranks::{Alone, Ranks};

use super::TrainingBatch;

/// What a rank does of an optimiser step: some of its forward passes, in their order.
pub struct Share<'a, B = DeviceBatch> {
    /// The ranks that make the step together.
    pub ranks: &'a dyn Ranks,
    /// The batches of this rank's passes.
    pub batches: &'a [B],
    /// The number of the first of them among all passes of the step, from 0.
    pub first: usize,
    /// The passes of the step on all ranks.
    pub passes: usize,
    /// The targets of the step on all ranks.
    pub targets: usize,
    /// The real tokens of the step on all ranks.
    pub tokens: usize,
}

impl<B> Clone for Share<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for Share<'_, B> {}

impl<'a, B: TrainingBatch> Share<'a, B> {
    /// The whole step, on one rank.
    pub fn whole(batches: &'a [B]) -> Self {
        Self {
            ranks: &Alone,
            batches,
            first: 0,
            passes: batches.len(),
            targets: batches.iter().map(B::targets).sum(),
            tokens: batches.iter().map(B::tokens).sum(),
        }
    }
}
