//! Where golden tests run, and how close they must be.

use burn::tensor::Device;
use lora_moe::device::device_from_environment;

/// The device that the environment variable `LORA_MOE_DEVICE` names, by default `flex`.
pub fn device() -> Device {
    device_from_environment().unwrap()
}

/// The largest error allowed on this device, relative to the largest value of the reference. GPUs
/// multiply and sum in another order, and their exponentials and sines are less exact.
pub fn tolerance() -> f32 {
    if device() == Device::flex() { 1e-4 } else { 1e-3 }
}
