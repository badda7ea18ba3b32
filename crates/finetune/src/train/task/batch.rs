/// Samples side by side on a device.
pub trait TrainingBatch {
    /// The number of targets.
    fn targets(&self) -> usize;

    /// The number of real tokens.
    fn tokens(&self) -> usize;
}
