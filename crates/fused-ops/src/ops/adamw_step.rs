/// The numbers of a step of AdamW.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// What gradients are multiplied by, as where their norm is limited.
    pub gradient_scale: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// The decay of the first moment.
    pub beta1: f64,
    /// The decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// The decoupled weight decay.
    pub weight_decay: f64,
    /// The steps so far, this one included.
    pub time: usize,
}
