/// The element type of loaded weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WeightDType {
    /// Everything as f32: the fastest on CPUs, and what training wants.
    #[default]
    F32,
    /// As the file has them: half the memory for f16 and bf16.
    AsStored,
}
