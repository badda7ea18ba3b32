//! The cost of training and of generation on random tokens, timed.

mod generate;
mod train;

pub use generate::{GenerateBench, GenerateBenchResult, bench_generate};
pub use train::{TrainBench, TrainBenchResult, bench_task, bench_train};

/// Forgets the high-water mark of resident memory, where the system can.
pub fn reset_peak_rss() {
    // Where it cannot, the mark stays that of the whole process, which is what it says elsewhere.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The high-water mark of resident memory, from `/proc/self/status`.
fn peak_rss_mb() -> f64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmHWM:"))?.to_owned();
            line.split_whitespace().nth(1)?.parse::<f64>().ok()
        })
        .map_or(0.0, |kib| kib / 1024.0)
}
