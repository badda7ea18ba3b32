//! What all benchmarks share.
//!
//! On Linux, glibc's allocator may hand large blocks back to the system after each operation, and
//! the page faults of getting them again can exceed the computation on a CPU, and vary from run to
//! run. To leave them out, set `MALLOC_TRIM_THRESHOLD_` and `MALLOC_MMAP_THRESHOLD_` to 1000000000.
#![allow(dead_code, reason = "not every benchmark needs all of it")]

use std::time::Duration;

use criterion::Criterion;
use lora_moe::burn::tensor::{Device, Distribution, Tensor};
use lora_moe::device::{default_device, parse_device};

/// The device named by the environment variable `LORA_MOE_DEVICE`, by default `flex`.
pub fn device() -> Device {
    let device = match std::env::var("LORA_MOE_DEVICE") {
        Ok(name) => parse_device(&name),
        Err(_) => default_device(),
    };
    device.unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(2)
    })
}

/// Measurements short enough that a benchmark of this workspace takes less than a minute;
/// arguments of the command line come first.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .nresamples(2000)
        .configure_from_args()
}

/// Standard normal numbers.
pub fn normal<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// Waits until the device has computed everything, so that it is measured and not queued.
pub fn wait(device: &Device) {
    if let Err(error) = device.sync() {
        eprintln!("{error}");
        std::process::exit(1)
    }
}
