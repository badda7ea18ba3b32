use std::path::Path;

use super::{Measurement, NonFinite, NonFinitePolicy, RoutingCollapse, StepReport, Validation};

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The steps made.
    pub step: usize,
    /// The steps of the whole run.
    pub total_steps: usize,
    /// How often the data was seen.
    pub epoch: f64,
    /// The learning rate of the last step.
    pub learning_rate: f64,
    /// Real tokens per second since the run started or was resumed.
    pub tokens_per_s: f64,
    /// The resident memory of the process, in bytes, where the system tells.
    pub resident_bytes: Option<f64>,
}

/// Watches a run, for instance to draw a progress bar.
pub trait TrainObserver {
    /// When the run goes on from a checkpoint. `removed` later ones, which it makes anew, are gone.
    fn on_resume(&mut self, step: usize, folder: &Path, removed: usize) {
        let _ = (step, folder, removed);
    }

    /// After a step whose loss or gradient is not finite, which was skipped or rolled back.
    fn on_non_finite(&mut self, step: usize, what: &NonFinite, policy: NonFinitePolicy) {
        let _ = (step, what, policy);
    }

    /// After a checkpoint that is not healthy was written.
    fn on_unhealthy(&mut self, step: usize, loss: Option<f64>) {
        let _ = (step, loss);
    }

    /// After each optimiser step.
    fn on_step(&mut self, progress: &Progress, report: &StepReport) {
        let _ = (progress, report);
    }

    /// After each evaluation on validation data.
    fn on_evaluation(&mut self, step: usize, validation: &Validation) {
        let _ = (step, validation);
    }

    /// After each evaluation of another kind.
    fn on_measurements(&mut self, step: usize, measured: &[Measurement]) {
        let _ = (step, measured);
    }

    /// When one expert has come to keep nearly all routing weight of projections; once for each,
    /// until it recovers.
    fn on_routing_collapse(&mut self, step: usize, collapsed: &[RoutingCollapse]) {
        let _ = (step, collapsed);
    }

    /// After a checkpoint was written.
    fn on_checkpoint(&mut self, step: usize, folder: &Path) {
        let _ = (step, folder);
    }

    /// Asked after each optimiser step: whether the run is to end here, with a checkpoint.
    fn interrupts(&mut self) -> bool {
        false
    }
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl TrainObserver for Silent {}
