//! The cost of training and of generation on random tokens, timed.

mod generate;
mod train;

pub use generate::{GenerateBench, GenerateBenchResult, bench_generate};
pub use train::{TrainBench, TrainBenchResult, bench_task, bench_train};

use burn::tensor::Device;

const MIB: f64 = (1 << 20) as f64;

/// The most memory of a GPU that its allocator was seen to hold.
#[derive(Debug, Default)]
struct DevicePeak(Option<u64>);

impl DevicePeak {
    fn look(&mut self, device: &Device) {
        self.0 = self.0.max(fused_ops::device_memory(device).map(|memory| memory.reserved));
    }

    fn mb(&self) -> Option<f64> {
        self.0.map(|bytes| bytes as f64 / MIB)
    }
}

/// The high-water mark of resident memory in MiB, 0 where the system does not tell.
fn peak_rss_mb() -> f64 {
    crate::memory::peak_bytes().map_or(0.0, |bytes| bytes / MIB)
}
