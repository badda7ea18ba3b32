use super::super::Validation;

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainSummary {
    /// The optimiser steps of the run.
    pub steps: usize,
    /// The loss of the last step.
    pub train_loss: f64,
    /// The validation at the end; absent without validation data.
    pub evaluation: Option<Validation>,
    /// The best value of `metric_for_best_model` and its step.
    pub best: Option<(usize, f64)>,
    /// Whether it stopped before its last step, for want of progress.
    pub stopped_early: bool,
    /// Real tokens per second.
    pub tokens_per_s: f64,
    /// The wall-clock time of this process's part of the run.
    pub seconds: f64,
    /// The time of that spent waiting for sums over ranks.
    pub sum_seconds: f64,
}
