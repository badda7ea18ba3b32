use ranks::Ranks;

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

    /// As [`measure`](Self::measure), by ranks that share the work. What rank 0 returns counts, which
    /// is what one rank would have measured. By default rank 0 does all, and the others wait.
    ///
    /// # Errors
    /// As [`measure`](Self::measure), and when ranks cannot go on together.
    fn measure_over(
        &mut self,
        ranks: &dyn Ranks,
        model: &M,
        step: usize,
    ) -> Result<Vec<Measurement>, TrainError> {
        match ranks.is_first() {
            true => self.measure(model, step),
            false => Ok(Vec::new()),
        }
    }
}
