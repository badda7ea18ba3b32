use std::path::Path;
use std::time::Instant;

use data::BatchPlan;
use fused_ops::precision;
use moe_adapter::{Adaptable, AdaptedProjection, FolderLock};

use super::super::{METRICS_FILE, Trainer};
use super::Run;
use crate::train::checkpoint::{remove_later, remove_unfinished};
use crate::train::lines::first_line;
use crate::train::log::RunLog;
use crate::train::together::data_hash;
use crate::train::{
    CollapseMonitor, NonFinitePolicy, Resume, TrainError, TrainObserver, TrainerState, TrainingTask,
};

impl<'o, 'a, M, T> Run<'o, 'a, M, T>
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
    T: TrainingTask<M>,
{
    /// Checks all settings, and brings the run to its start, or to where a checkpoint left off.
    pub(in super::super) fn start(
        mut trainer: Trainer<'a, M, T>,
        resume: &Resume,
        observer: &'o mut dyn TrainObserver,
    ) -> Result<Self, TrainError> {
        let (config, ranks) = (trainer.training, trainer.ranks);
        trainer.check_best_metric()?;
        trainer.check_ranks()?;
        let lock = match ranks.is_first() {
            true => Some(FolderLock::acquire(trainer.output_dir)?),
            false => None,
        };
        let plan = trainer.plan()?;
        let mut state = TrainerState::new(config.clone());
        state.total_steps = config.total_steps(plan.batches_per_epoch());
        state.data = Some(data_hash(&*trainer.train)?);
        let metrics_path = trainer.output_dir.join(METRICS_FILE);
        let saved = trainer.saved_run(resume, &metrics_path)?;
        if let Some(folder) = &saved {
            state = trainer.load(resume, folder, &state)?;
        }
        // Nothing is removed before all have read.
        trainer.agree(&state)?;
        let mut log = None;
        if ranks.is_first() {
            let from = saved.as_deref().map(|folder| (folder, state.step));
            clear(trainer.output_dir, &metrics_path, from, observer)?;
            let log = log.insert(RunLog::open(&metrics_path, state.step, &config.report_to)?);
            // One that goes on keeps the line that it began with.
            if state.step == 0 {
                log.write(&first_line(precision()))?;
            }
        }
        let probe = trainer.probe(&plan)?;
        if state.step == 0 {
            state.first_loss = Some(trainer.loss(&probe)?).filter(|loss| loss.is_finite());
        }
        let rolls_back = config.non_finite == NonFinitePolicy::Rollback;
        let mixture = trainer.adapter.is_mixture();
        Ok(Self {
            observer,
            lock,
            log,
            plan,
            order: (u64::MAX, Vec::new()),
            schedule: config.schedule(state.total_steps),
            state,
            probe,
            healthy: rolls_back.then(|| trainer.learner.snapshot()),
            monitor: mixture.then(|| CollapseMonitor::of(config)).flatten(),
            started: Instant::now(),
            tokens: 0,
            last: None,
            validation: None,
            stopped_early: false,
            trainer,
        })
    }
}

impl<M: Adaptable, T: TrainingTask<M>> Trainer<'_, M, T> {
    /// Which samples form which batch.
    fn plan(&self) -> Result<BatchPlan, TrainError> {
        let lengths: Vec<_> = (0..self.train.len()).map(|at| self.train.tokens(at)).collect();
        let plan = self.training.plan(&lengths)?;
        Ok(match self.mixture {
            Some(mixture) => plan.with_mixture(mixture)?,
            None => plan,
        })
    }

    /// The samples of the first step, whose loss tells how healthy later weights are: other samples may
    /// have another loss for no fault of the weights.
    fn probe(&self, plan: &BatchPlan) -> Result<Vec<T::Sample>, TrainError> {
        let passes = self.training.gradient_accumulation_steps;
        let order = plan.batches(0);
        let indices = order.iter().take(passes).flatten();
        indices.map(|at| self.train.get(*at)).collect()
    }
}

/// Removes what is after the checkpoint and step that a run goes on from, if any.
fn clear(
    output_dir: &Path,
    metrics: &Path,
    from: Option<(&Path, usize)>,
    observer: &mut dyn TrainObserver,
) -> Result<(), TrainError> {
    remove_unfinished(output_dir)?;
    match from {
        Some((folder, step)) => {
            let removed = remove_later(output_dir, step)?;
            observer.on_resume(step, folder, removed);
        }
        None if metrics.exists() => {
            std::fs::remove_file(metrics).map_err(TrainError::io(metrics))?;
        }
        None => {}
    }
    Ok(())
}
