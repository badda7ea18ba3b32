use super::super::Measurement;

/// How well a model does on validation data.
#[derive(Debug, Clone, PartialEq)]
pub struct Validation {
    /// The mean loss of all targets; of tokens and classes the cross-entropy, in nats.
    pub loss: f64,
    /// The number of targets.
    pub targets: usize,
    /// What the task measures besides, as in `eval_accuracy`.
    pub measured: Vec<Measurement>,
}

impl Validation {
    /// The measurement of a name.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.measured.iter().find(|found| found.name == name).map(|found| found.value)
    }
}
