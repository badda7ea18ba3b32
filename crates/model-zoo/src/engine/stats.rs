use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper ends of the classes of times to the first token, in seconds.
pub const BUCKETS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// What an engine counts.
#[derive(Debug, Default)]
pub struct Stats {
    /// Requests that wait.
    pub waiting: AtomicU64,
    /// Rows whose prompts are read.
    pub reading: AtomicU64,
    /// Rows that are continued.
    pub running: AtomicU64,
    /// Tokens whose keys and values are kept, padding included.
    pub cached_tokens: AtomicU64,
    /// Tokens of prompts that were read.
    pub prompt_tokens: AtomicU64,
    /// Tokens of prompts that were known from others that began alike.
    pub prefix_tokens: AtomicU64,
    /// New tokens.
    pub generated_tokens: AtomicU64,
    /// Requests that came to their end.
    pub finished: AtomicU64,
    /// Requests that failed.
    pub failed: AtomicU64,
    /// Requests whose client left.
    pub cancelled: AtomicU64,
    /// Requests that were refused as the queue was full.
    pub refused: AtomicU64,
    /// Rows that made room for others, and were read again later.
    pub preempted: AtomicU64,
    /// Steps of the running rows.
    pub steps: AtomicU64,
    first_token: Mutex<Times>,
    expert_load: Mutex<BTreeMap<String, Vec<f64>>>,
}

/// A histogram.
#[derive(Debug, Default, Clone)]
pub struct Times {
    /// How many fell in each class of [`BUCKETS`], and above.
    pub counts: [u64; BUCKETS.len() + 1],
    /// Their sum in seconds.
    pub sum: f64,
}

impl Stats {
    pub(super) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn set(gauge: &AtomicU64, value: usize) {
        gauge.store(value as u64, Ordering::Relaxed);
    }

    pub(super) fn first_token_after(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let class = BUCKETS.iter().position(|end| seconds <= *end).unwrap_or(BUCKETS.len());
        let mut times = super::lock(&self.first_token);
        times.counts[class] += 1;
        times.sum += seconds;
    }

    /// The times from arrival to first token.
    pub fn first_token(&self) -> Times {
        super::lock(&self.first_token).clone()
    }

    /// Adds weights of experts of an adapter.
    pub(super) fn load(&self, adapter: &str, weights: &[f32]) {
        let mut all = super::lock(&self.expert_load);
        let sums = all.entry(adapter.to_owned()).or_default();
        sums.resize(sums.len().max(weights.len()), 0.0);
        for (sum, weight) in sums.iter_mut().zip(weights) {
            *sum += f64::from(*weight);
        }
    }

    /// The sum of the weights of each expert by adapter, over the tokens whose routing was looked
    /// at.
    pub fn expert_load(&self) -> BTreeMap<String, Vec<f64>> {
        super::lock(&self.expert_load).clone()
    }
}
