//! The cost of training and of generation on random tokens, timed.

mod generate;
mod train;

pub use generate::{GenerateBench, GenerateBenchResult, bench_generate};
pub use train::{TrainBench, TrainBenchResult, bench_task, bench_train};

/// The high-water mark of resident memory in MiB, 0 where the system does not tell.
fn peak_rss_mb() -> f64 {
    crate::memory::peak_bytes().map_or(0.0, |bytes| bytes / (1 << 20) as f64)
}
