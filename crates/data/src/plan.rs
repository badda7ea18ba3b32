use std::cmp::Reverse;

use rand::seq::SliceRandom;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use super::{DataError, Mixture};

/// Batches that are sorted by length together when grouping by length.
const MEGA_BATCH: usize = 50;

/// Which samples form which batch of which epoch.
///
/// The batches of an epoch are a pure function of the seed and the epoch, so a run that resumes
/// after any number of batches finds the same order again ([`Self::locate`]).
#[derive(Debug, Clone)]
pub struct BatchPlan {
    lengths: Vec<usize>,
    batch_size: usize,
    order: Order,
    /// Which samples an epoch has, where it does not have all of them once.
    mixture: Option<Mixture>,
}

#[derive(Debug, Clone)]
enum Order {
    LongestFirst,
    Shuffled {
        seed: u64,
        group_by_length: bool,
        drop_last: bool,
    },
    /// The same batches in every epoch, in another order.
    Fixed {
        batches: Vec<Vec<usize>>,
        seed: u64,
    },
}

impl BatchPlan {
    /// Shuffled batches for training, of samples with `lengths` tokens.
    ///
    /// With `group_by_length` the shuffled samples are cut into runs of 50 batches, each sorted by
    /// length, and the batches shuffled again: samples of one batch are of about one length, so
    /// that there is little padding. With `drop_last` every batch is full, and the samples
    /// left over differ from epoch to epoch.
    ///
    /// # Errors
    /// [`DataError::Setting`] for a `batch_size` of 0, [`DataError::NoRecords`] without samples,
    /// and [`DataError::Setting`] when `drop_last` would leave no batch.
    pub fn new(
        lengths: &[usize],
        batch_size: usize,
        seed: u64,
        group_by_length: bool,
        drop_last: bool,
    ) -> Result<Self, DataError> {
        if drop_last && batch_size > lengths.len() && !lengths.is_empty() {
            return Err(DataError::Setting {
                key: "batch_size",
                found: format!("{batch_size} with `drop_last`"),
                allowed: format!("at most the number of samples, {}", lengths.len()),
            });
        }
        Self::checked(lengths, batch_size, Order::Shuffled { seed, group_by_length, drop_last })
    }

    /// Shuffled batches for training of at most `max_tokens` positions each, padding included: as
    /// many samples as there is room for at the length of the longest of them.
    ///
    /// The samples are shuffled, then sorted by length and cut, once for all epochs, so that every
    /// epoch has as many batches; the order of the batches differs from epoch to epoch (fairseq's
    /// `--max-tokens`). With `pad_to_multiple_of` lengths count as
    /// [`Collator`](super::Collator) pads them.
    ///
    /// # Errors
    /// [`DataError::NoRecords`] without samples, and [`DataError::Setting`] when a single sample has
    /// more positions than `max_tokens`.
    pub fn by_tokens(
        lengths: &[usize],
        max_tokens: usize,
        pad_to_multiple_of: usize,
        seed: u64,
    ) -> Result<Self, DataError> {
        let padded = |at: usize| lengths[at].next_multiple_of(pad_to_multiple_of.max(1));
        let mut samples: Vec<usize> = (0..lengths.len()).collect();
        if let Some(longest) = samples.iter().map(|&at| padded(at)).max()
            && longest > max_tokens
        {
            return Err(DataError::Setting {
                key: "max_tokens_per_batch",
                found: max_tokens.to_string(),
                allowed: format!("at least the longest sample with its padding, {longest}"),
            });
        }
        samples.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        samples.sort_by_key(|&at| lengths[at]);
        let mut batches: Vec<Vec<usize>> = Vec::new();
        for at in samples {
            // Samples come from short to long, so that each is the longest of its batch so far.
            match batches.last_mut() {
                Some(batch) if (batch.len() + 1) * padded(at) <= max_tokens => batch.push(at),
                _ => batches.push(vec![at]),
            }
        }
        Self::checked(lengths, 1, Order::Fixed { batches, seed })
    }

    /// Batches for evaluation: every sample once, longest first (so that a batch too large for the
    /// memory fails at once), the same in every epoch.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn ordered(lengths: &[usize], batch_size: usize) -> Result<Self, DataError> {
        Self::checked(lengths, batch_size, Order::LongestFirst)
    }

    fn checked(lengths: &[usize], batch_size: usize, order: Order) -> Result<Self, DataError> {
        if batch_size == 0 {
            return Err(DataError::Setting {
                key: "batch_size",
                found: "0".into(),
                allowed: "at least 1".into(),
            });
        }
        if lengths.is_empty() {
            return Err(DataError::NoRecords("the samples to batch".into()));
        }
        Ok(Self { lengths: lengths.to_vec(), batch_size, order, mixture: None })
    }

    /// The same batches of the samples that a mixture draws. The sets of the mixture follow one
    /// another in the samples of the plan.
    ///
    /// # Errors
    /// [`DataError::Setting`] for a mixture of another number of samples, and for one that does not
    /// draw every sample once where batches are made once for all epochs ([`Self::by_tokens`]).
    pub fn with_mixture(mut self, mixture: &Mixture) -> Result<Self, DataError> {
        if !mixture.is_plain() && !matches!(self.order, Order::Shuffled { .. }) {
            return Err(DataError::Setting {
                key: "weight",
                found: "set (or `mixing_temperature`)".into(),
                allowed: "unset where batches are made once for all epochs \
                          (`training.max_tokens_per_batch`)"
                    .into(),
            });
        }
        if mixture.samples() != self.lengths.len() {
            return Err(DataError::Setting {
                key: "mixture",
                found: format!("one of {} samples", mixture.samples()),
                allowed: format!("one of {}, as there are", self.lengths.len()),
            });
        }
        self.mixture = (!mixture.is_plain()).then(|| mixture.clone());
        Ok(self)
    }

    /// Number of batches in every epoch.
    pub fn batches_per_epoch(&self) -> usize {
        match &self.order {
            Order::Fixed { batches, .. } => batches.len(),
            Order::Shuffled { drop_last: true, .. } => self.lengths.len() / self.batch_size,
            _ => self.lengths.len().div_ceil(self.batch_size),
        }
    }

    /// The batches of an epoch, each as indices of samples.
    pub fn batches(&self, epoch: u64) -> Vec<Vec<usize>> {
        let mut samples: Vec<usize> = match (&self.mixture, &self.order) {
            (Some(mixture), Order::Shuffled { seed, .. }) => mixture.draw(*seed, epoch),
            _ => (0..self.lengths.len()).collect(),
        };
        let by_length = |&index: &usize| Reverse(self.lengths[index]);
        match self.order {
            Order::Fixed { ref batches, seed } => {
                let mut batches = batches.clone();
                batches.shuffle(&mut rng(seed, epoch));
                batches
            }
            Order::LongestFirst => {
                samples.sort_by_key(by_length);
                self.cut(&samples)
            }
            Order::Shuffled { seed, group_by_length, drop_last } => {
                let mut rng = rng(seed, epoch);
                samples.shuffle(&mut rng);
                if drop_last {
                    // Before sorting, so that long and short samples are left over alike.
                    samples.truncate(self.batches_per_epoch() * self.batch_size);
                }
                if !group_by_length {
                    return self.cut(&samples);
                }
                let run = self.batch_size.saturating_mul(MEGA_BATCH);
                samples.chunks_mut(run).for_each(|run| run.sort_by_key(by_length));
                let mut batches = self.cut(&samples);
                batches.shuffle(&mut rng);
                batches
            }
        }
    }

    /// Where a run stands after `batches` batches since its start: the epoch, and the batch in it.
    pub fn locate(&self, batches: u64) -> (u64, usize) {
        let per_epoch = self.batches_per_epoch() as u64;
        (batches / per_epoch, (batches % per_epoch) as usize)
    }

    /// Share of an epoch's positions that are padding, in `[0, 1)`.
    pub fn padding_share(&self, epoch: u64) -> f64 {
        let (mut tokens, mut positions) = (0_usize, 0_usize);
        for batch in self.batches(epoch) {
            let lengths = batch.iter().map(|&index| self.lengths[index]);
            positions += batch.len() * lengths.clone().max().unwrap_or(0);
            tokens += lengths.sum::<usize>();
        }
        if positions == 0 { 0.0 } else { 1.0 - tokens as f64 / positions as f64 }
    }

    fn cut(&self, samples: &[usize]) -> Vec<Vec<usize>> {
        samples.chunks(self.batch_size).map(<[usize]>::to_vec).collect()
    }
}

/// The random numbers of an epoch.
fn rng(seed: u64, epoch: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(epoch);
    rng
}
