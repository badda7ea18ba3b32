use burn::tensor::{Device, Tensor};
use burn_cubecl::CubeBackend;
use cubecl_runtime::memory_management::MemoryScope;

use crate::DeviceMemory;

/// See [`device_memory`](crate::device_memory()).
pub(crate) fn device_memory(device: &Device) -> Option<DeviceMemory> {
    // The way to the device's client; it launches nothing.
    let tensor = Tensor::<1>::empty([1], device).without_autodiff();
    let client = tensor.try_into_primitive::<CubeBackend>().ok()?.client;
    let usage = client.memory_report(MemoryScope::Device).usage();
    Some(DeviceMemory { in_use: usage.bytes_in_use, reserved: usage.bytes_reserved })
}
