use super::TrainError;

/// The name of the mean cross-entropy on the validation data.
pub const EVAL_LOSS: &str = "eval_loss";

/// One number that says how good a model is.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// What it is, as in `arc_easy/acc`.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Whether more is better.
    pub higher_is_better: bool,
}

/// Measures a model while it is trained, besides the validation loss.
pub trait PeriodicEvaluation<M> {
    /// Every how many steps; 0 at the end only.
    fn every(&self) -> usize;

    /// The names of all that it measures, known before anything is.
    fn names(&self) -> Vec<String>;

    /// Measures a model off its autodiff device, after `step` steps.
    ///
    /// # Errors
    /// [`TrainError`] when it cannot; the run stops, and keeps what it saved.
    fn measure(&mut self, model: &M, step: usize) -> Result<Vec<Measurement>, TrainError>;
}
