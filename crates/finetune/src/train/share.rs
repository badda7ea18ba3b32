use data::DeviceBatch;
use ranks::{Alone, Ranks};

/// What a rank does of an optimiser step: some of its forward passes, in their order.
#[derive(Clone, Copy)]
pub struct Share<'a> {
    /// The ranks that make the step together.
    pub ranks: &'a dyn Ranks,
    /// The batches of this rank's passes.
    pub batches: &'a [DeviceBatch],
    /// The number of the first of them among all passes of the step, from 0.
    pub first: usize,
    /// The passes of the step on all ranks.
    pub passes: usize,
    /// The targets of the step on all ranks.
    pub targets: usize,
    /// The real tokens of the step on all ranks.
    pub tokens: usize,
}

impl<'a> Share<'a> {
    /// The whole step, on one rank.
    pub fn whole(batches: &'a [DeviceBatch]) -> Self {
        Self {
            ranks: &Alone,
            batches,
            first: 0,
            passes: batches.len(),
            targets: batches.iter().map(|batch| batch.targets.len()).sum(),
            tokens: batches.iter().map(|batch| batch.token_count).sum(),
        }
    }
}
