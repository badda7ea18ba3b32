//! Sums over ranks. Those of the last layers' gradients are made on a thread of their own while the layers
//! before are differentiated.

use std::sync::mpsc::{Sender, channel};
use std::thread::{Scope, ScopedJoinHandle};

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use ranks::{PairwiseSum, Ranks, RanksError};

use super::gradient_sum::plus;
use super::rank_buckets::{Flat, FlatSum, Found, RankBuckets};
use super::{PassGradients, PassReport, TrainError};

/// Adds up what the passes of a step find, over the passes of this rank and then over all ranks. Every
/// rank has the same model, and sums the same buckets in the same order.
pub(super) struct RankSums<'s, M> {
    model: &'s M,
    buckets: &'s RankBuckets,
    /// How many passes of this rank are to come.
    left: usize,
    /// How many buckets were handed over.
    sent: usize,
    /// Of each bucket, what the passes found.
    found: Vec<PairwiseSum<GradientsParams>>,
    states: PairwiseSum<Tensor<1>>,
    thread: Option<SumThread<'s>>,
}

/// Sums over ranks what it is sent, and returns all sums in the end.
struct SumThread<'s> {
    parts: Sender<Flat>,
    sums: ScopedJoinHandle<'s, Result<Vec<FlatSum>, RanksError>>,
}

impl SumThread<'_> {
    /// The sums of what was sent, in its order.
    fn end(self) -> Result<Vec<FlatSum>, RanksError> {
        drop(self.parts);
        self.sums.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl<'s, M: Module> RankSums<'s, M> {
    /// Nothing yet, of so many passes.
    pub(super) fn begin(
        scope: &'s Scope<'s, '_>,
        ranks: &'s dyn Ranks,
        model: &'s M,
        buckets: &'s RankBuckets,
        passes: usize,
    ) -> Self {
        let thread = (ranks.size() > 1).then(|| {
            let (parts, received) = channel::<Flat>();
            let sum_all = move || received.iter().map(|part| part.summed(ranks)).collect();
            SumThread { parts, sums: scope.spawn(sum_all) }
        });
        let found = (0..buckets.count()).map(|_| PairwiseSum::default()).collect();
        let states = PairwiseSum::default();
        Self { model, buckets, left: passes, sent: 0, found, states, thread }
    }

    /// Makes a pass, which adds to the gradients that it is given.
    pub(super) fn pass(
        &mut self,
        differentiate: impl FnOnce(&mut PassGradients<'_>) -> Result<PassReport, TrainError>,
    ) -> Result<PassReport, TrainError> {
        self.left -= 1;
        let (buckets, mut next) = (self.buckets, 0);
        let mut whole = |first: usize, gradients: &mut GradientsParams| {
            while buckets.cuts().get(next).is_some_and(|layers| layers.start >= first) {
                let of_bucket = buckets.take(self.model, next, gradients);
                self.add(next, of_bucket);
                if self.left == 0 {
                    self.send(None);
                }
                next += 1;
            }
        };
        let mut gradients = PassGradients::telling(&mut whole);
        let report = differentiate(&mut gradients)?;
        gradients.layers_are_whole(0);
        let rest = gradients.into_params();
        self.add(buckets.count() - 1, rest);
        Ok(report)
    }

    /// Adds the running state that a pass has left.
    pub(super) fn state(&mut self, state: Tensor<1>) {
        self.states.add(state, Tensor::add);
    }

    fn add(&mut self, bucket: usize, gradients: GradientsParams) {
        self.found[bucket].add(gradients, |one, other| plus(self.model, one, other));
    }

    fn total(&self, passes: PairwiseSum<GradientsParams>) -> GradientsParams {
        passes.total(|one, other| plus(self.model, one, other)).unwrap_or_default()
    }

    /// Hands over what the passes of this rank found of the next bucket.
    fn send(&mut self, state: Option<Tensor<1>>) {
        let bucket = self.sent;
        self.sent += 1;
        if let Some(thread) = &self.thread {
            let total = std::mem::take(&mut self.found[bucket]);
            let total = self.total(total);
            let part = self.buckets.flat(self.model, bucket, total, state);
            // A thread that no longer receives has failed, and says why in the end.
            let _ = thread.parts.send(part);
        }
    }

    /// The sums over all passes of all ranks, on a device.
    pub(super) fn finish(mut self, device: &Device) -> Result<Found, TrainError> {
        let last = self.buckets.count() - 1;
        let state = std::mem::take(&mut self.states).total(Tensor::add);
        if self.thread.is_none() {
            let own = std::mem::take(&mut self.found[last]);
            return Ok(Found { gradients: self.total(own), state });
        }
        // A rank without a pass has sent nothing before.
        while self.sent < last {
            self.send(None);
        }
        let of_state = state.as_ref().map_or(0, |state| state.dims()[0]);
        self.send(state);
        let sums = self.thread.map(SumThread::end).transpose()?.unwrap_or_default();
        Ok(self.buckets.restored(self.model, sums, of_state, device))
    }
}
