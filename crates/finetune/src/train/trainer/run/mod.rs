mod finish;
mod measure;
mod start;
mod step;

use std::time::Instant;

use data::BatchPlan;
use moe_adapter::{Adaptable, AdaptedProjection, FolderLock};
use serde_json::Value;

use super::Trainer;
use crate::train::learner::Snapshot;
use crate::train::log::RunLog;
use crate::train::{
    CollapseMonitor, NonFinitePolicy, Schedule, StepReport, TrainError, TrainObserver,
    TrainerState, TrainingTask, Validation,
};

/// A run on its way.
pub(super) struct Run<'o, 'a, M: Adaptable, T: TrainingTask<M>> {
    trainer: Trainer<'a, M, T>,
    observer: &'o mut dyn TrainObserver,
    /// Held by the rank that writes.
    lock: Option<FolderLock>,
    /// Written by the rank that writes.
    log: Option<RunLog>,
    plan: BatchPlan,
    /// The batches of an epoch.
    order: (u64, Vec<Vec<usize>>),
    schedule: Schedule,
    state: TrainerState,
    /// The samples whose loss tells how healthy weights are.
    probe: Vec<T::Sample>,
    /// What to roll back to, where the run does.
    healthy: Option<Snapshot<M>>,
    monitor: Option<CollapseMonitor>,
    started: Instant,
    /// The real tokens since then.
    tokens: usize,
    last: Option<StepReport>,
    validation: Option<Validation>,
    stopped_early: bool,
}

impl<M, T> Run<'_, '_, M, T>
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
    T: TrainingTask<M>,
{
    /// Makes all steps that are left, with what is due after each: evaluations, checkpoints.
    pub(super) fn make_steps(&mut self) -> Result<(), TrainError> {
        let config = self.trainer.training;
        if config.eval_on_start && self.state.step == 0 {
            self.measure(|_| true)?;
        }
        self.stopped_early = self.state.out_of_patience(config);
        while self.state.step < self.state.total_steps && !self.stopped_early {
            let made = self.step()?;
            let step = self.state.step;
            let last = step == self.state.total_steps;
            let measured = self.measure(|every| last || due(step, every))?;
            let best = self.state.observe(&measured, config);
            self.stopped_early = !last && self.state.out_of_patience(config);
            let end = last || self.stopped_early;
            let interrupted = self.trainer.interrupted(self.observer)? && !end;
            let save = due(step, config.save_steps) || (best && config.save_steps > 0);
            if end || save || interrupted {
                self.checkpoint(made)?;
            }
            if interrupted {
                return Err(self.interruption()?);
            }
        }
        Ok(())
    }

    fn rolls_back(&self) -> bool {
        self.trainer.training.non_finite == NonFinitePolicy::Rollback
    }

    /// Writes a line of metrics where this rank does.
    fn write(&mut self, line: &Value) -> Result<(), TrainError> {
        self.log.as_mut().map_or(Ok(()), |log| log.write(line))
    }
}

fn due(step: usize, every: usize) -> bool {
    every > 0 && step.is_multiple_of(every)
}
