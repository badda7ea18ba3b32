use burn::tensor::Device;

/// What the allocator of a GPU holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// The bytes of tensors and of what kernels keep beside them.
    pub in_use: u64,
    /// The bytes that were taken from the device, of which tensors use a part.
    pub reserved: u64,
}

/// The memory of a device by its allocator, once what was given to it is on its way; `None` on CPUs and without
/// the feature `cube`.
pub fn device_memory(device: &Device) -> Option<DeviceMemory> {
    #[cfg(device_kernels)]
    return crate::cube::device_memory(device);
    #[cfg(not(device_kernels))]
    {
        let _ = device;
        None
    }
}
