/// Which elements are dropped: a pure function of a seed and the element's index, so that the
/// backward pass makes the mask again instead of keeping it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DropoutMask {
    /// Mixed into the index.
    pub(crate) keys: [u32; 2],
    /// An element is dropped where its hash is below.
    pub(crate) threshold: u32,
    /// What others are multiplied by.
    pub(crate) scale: f32,
}

impl DropoutMask {
    /// Drops with probability `p`, and scales what is kept by `1 / (1 - p)`.
    pub(crate) fn new(p: f64, seed: u64) -> Self {
        // SplitMix64: with keys as they are, near seeds would give one mask in two orders.
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        Self {
            keys: [z as u32, (z >> 32) as u32],
            threshold: (p * 4_294_967_296.0) as u32,
            scale: (1.0 / (1.0 - p)) as f32,
        }
    }
}

/// The dropout of what experts read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExpertDropout {
    /// The probability that an input is dropped, `0 <= p < 1`.
    pub p: f64,
    /// Decides which.
    pub seed: u64,
    /// The number of experts where each drops others, expert `e` those of `seed + e`; `None` where all
    /// drop the same.
    pub experts: Option<usize>,
}

impl ExpertDropout {
    /// The masks, one for all experts or one for each.
    #[cfg(device_kernels)]
    pub(crate) fn masks(&self) -> impl Iterator<Item = DropoutMask> + use<> {
        let Self { p, seed, experts } = *self;
        (0..experts.unwrap_or(1) as u64).map(move |e| DropoutMask::new(p, seed.wrapping_add(e)))
    }
}
