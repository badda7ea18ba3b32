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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_in_classes_and_weights_summed_by_adapter() {
        let stats = Stats::default();
        for milliseconds in [5, 10, 11, 70_000] {
            stats.first_token_after(Duration::from_millis(milliseconds));
        }
        let times = stats.first_token();
        assert_eq!((times.counts[0], times.counts[1]), (2, 1));
        assert_eq!(times.counts.last(), Some(&1));
        assert!((times.sum - 70.026).abs() < 1e-9);
        stats.load("a", &[0.25, 0.5]);
        stats.load("a", &[0.5, 0.0, 1.0]);
        stats.load("b", &[1.0]);
        let expected = [("a".to_owned(), vec![0.75, 0.5, 1.0]), ("b".to_owned(), vec![1.0])];
        assert_eq!(stats.expert_load(), expected.into());
    }
}
