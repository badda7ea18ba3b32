//! What all benchmarks share.
#![allow(dead_code, reason = "not every benchmark needs all of it")]

mod table;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use criterion::Criterion;
use lora_moe::burn::tensor::{Device, Distribution, Tensor};
use lora_moe::device::device_from_environment;

/// That of the command. With glibc's, large blocks may go back to the system after each operation,
/// and what is timed are the page faults of getting them again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

static STARTED: OnceLock<SystemTime> = OnceLock::new();

/// The device named by the environment variable `LORA_MOE_DEVICE`, by default `flex`.
pub fn device() -> Device {
    certain(device_from_environment())
}

/// Measurements short enough that a benchmark of this workspace takes minutes; arguments of the
/// command line come first.
pub fn criterion() -> Criterion {
    STARTED.get_or_init(SystemTime::now);
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .nresamples(2000)
        .output_directory(&output_directory())
        .configure_from_args()
}

/// Prints what was measured as tables: one for each group, a row for each function, a column for
/// each parameter.
pub fn finish(criterion: Criterion) {
    criterion.final_summary();
    let since = *STARTED.get_or_init(SystemTime::now);
    certain(table::print(&output_directory(), since));
}

/// Where criterion keeps its results, as it is without being told.
fn output_directory() -> PathBuf {
    if let Some(directory) = std::env::var_os("CRITERION_HOME") {
        return directory.into();
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"));
    target.join("criterion")
}

/// The value, or the end of the program with the error.
pub fn certain<T, E: Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(1)
    })
}

/// Standard normal numbers.
pub fn normal<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// Waits until the device has computed everything, so that it is measured and not queued.
pub fn wait(device: &Device) {
    certain(device.sync());
}
