use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Tensor, TensorData};

static READS: AtomicUsize = AtomicUsize::new(0);
static SENT: AtomicUsize = AtomicUsize::new(0);

/// What went between the host and a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transfers {
    /// How often the host waited for numbers of the device.
    pub host_reads: usize,
    /// The bytes that were sent to the device.
    pub uploaded_bytes: usize,
}

/// Numbers on their way to a device, counted: what a training step sends goes through here.
pub fn sent(data: TensorData) -> TensorData {
    SENT.fetch_add(data.bytes().len(), Ordering::Relaxed);
    data
}

/// The numbers of a tensor, counted: what a training step reads goes through here.
pub fn host_read<const D: usize>(tensor: Tensor<D>) -> TensorData {
    READS.fetch_add(1, Ordering::Relaxed);
    tensor.into_data()
}

/// Runs something, and counts what [`sent`] and [`host_read`] saw of the whole process meanwhile. Neither what Burn
/// sends by itself is in it nor what kernels are launched with.
pub fn count_transfers<T>(run: impl FnOnce() -> T) -> (T, Transfers) {
    let now = || [&READS, &SENT].map(|count| count.load(Ordering::Relaxed));
    let before = now();
    let result = run();
    let [host_reads, uploaded_bytes] = now();
    let transfers = Transfers {
        host_reads: host_reads - before[0],
        uploaded_bytes: uploaded_bytes - before[1],
    };
    (result, transfers)
}
