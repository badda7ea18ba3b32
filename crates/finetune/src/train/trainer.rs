mod checks;
mod over_ranks;
mod run;
mod saved;
mod summary;

pub use summary::TrainSummary;

use std::path::Path;

use model_zoo::CausalLm;
use moe_adapter::{Adaptable, AdaptedProjection, AdapterConfig};
use ranks::{Alone, Ranks};
use router::Reach;

use super::{
    CausalTask, Learner, LearnerConfig, PeriodicEvaluation, Resume, SampleSource, TrainError,
    TrainObserver, TrainingConfig, TrainingTask,
};
use data::{Mixture, Sample, Samples};

const METRICS_FILE: &str = "metrics.jsonl";

/// Trains the adapters of a model on samples, into a folder.
///
/// The folder receives `metrics.jsonl`, `checkpoint-<step>/` and at the end the adapter itself.
pub struct Trainer<'a, M: Adaptable, T: TrainingTask<M> = CausalTask> {
    learner: Learner<M, T>,
    adapter: &'a AdapterConfig,
    training: &'a TrainingConfig,
    train: Box<dyn SampleSource<T::Sample> + 'a>,
    validation: Box<dyn SampleSource<T::Sample> + 'a>,
    output_dir: &'a Path,
    mixture: Option<&'a Mixture>,
    base_model: Option<String>,
    files: Vec<(String, String)>,
    evaluations: Vec<Box<dyn PeriodicEvaluation<M> + 'a>>,
    ranks: &'a dyn Ranks,
}

impl<'a, M> Trainer<'a, M>
where
    M: CausalLm,
    M::Projection: AdaptedProjection,
{
    /// A trainer of `model`, which carries the adapters of `adapter`, on the next token.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when a value is out of range, the samples lack what the balance loss needs, or
    /// they are packed and a router goes by samples.
    pub fn new(
        model: M,
        adapter: &'a AdapterConfig,
        training: &'a TrainingConfig,
        train: &'a [Sample],
        validation: &'a [Sample],
        output_dir: &'a Path,
    ) -> Result<Self, TrainError> {
        check_packed(&model, train.iter().any(|sample| sample.documents.len() > 1))?;
        let task = CausalTask::from(training);
        Self::for_task(task, model, adapter, training, [train, validation], output_dir)
    }

    /// As [`new`](Self::new), of samples that may be on disk.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn of_samples(
        model: M,
        adapter: &'a AdapterConfig,
        training: &'a TrainingConfig,
        [train, validation]: [&'a Samples; 2],
        output_dir: &'a Path,
    ) -> Result<Self, TrainError> {
        check_packed(&model, train.has_packed())?;
        let task = CausalTask::from(training);
        let sources: [Box<dyn SampleSource<Sample> + 'a>; 2] =
            [Box::new(train), Box::new(validation)];
        Self::of_sources(task, model, adapter, training, sources, output_dir)
    }
}

/// Refuses packed samples where a router goes by samples.
fn check_packed<M: CausalLm>(model: &M, packed: bool) -> Result<(), TrainError> {
    if packed && model.reach() == Reach::Sample {
        let allowed = "false where a router goes by samples (`scope` = \"sequence\")";
        return Err(TrainError::value("training.packing", true, allowed));
    }
    Ok(())
}

impl<'a, M, T> Trainer<'a, M, T>
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
    T: TrainingTask<M>,
{
    /// As [`new`](Trainer::new), for another task. `samples` are those to train on, and those to
    /// validate on.
    ///
    /// # Errors
    ///
    /// As [`new`](Trainer::new), and when the task does not have a setting.
    pub fn for_task(
        task: T,
        model: M,
        adapter: &'a AdapterConfig,
        training: &'a TrainingConfig,
        samples: [&'a [T::Sample]; 2],
        output_dir: &'a Path,
    ) -> Result<Self, TrainError> {
        let [train, validation] = samples;
        let sources: [Box<dyn SampleSource<T::Sample> + 'a>; 2] =
            [Box::new(train), Box::new(validation)];
        Self::of_sources(task, model, adapter, training, sources, output_dir)
    }

    /// As [`for_task`](Self::for_task), of samples that are read when they are needed.
    ///
    /// # Errors
    ///
    /// As [`for_task`](Self::for_task).
    pub fn of_sources(
        task: T,
        model: M,
        adapter: &'a AdapterConfig,
        training: &'a TrainingConfig,
        [train, validation]: [Box<dyn SampleSource<T::Sample> + 'a>; 2],
        output_dir: &'a Path,
    ) -> Result<Self, TrainError> {
        training.check()?;
        task.check(training)?;
        if train.is_empty() {
            return Err(TrainError::NoSamples);
        }
        let balance = match &adapter.balance_loss {
            Some(loss) => Some(loss.init().map_err(moe_adapter::AdapterError::from)?),
            None => None,
        };
        if let Some(loss) = &adapter.balance_loss
            && loss.needs_task_types()
            && (0..train.len()).any(|at| train.task_type(at).is_none())
        {
            return Err(balance_loss::BalanceLossError::MissingTaskTypes.into());
        }
        let config = LearnerConfig::new(training, adapter);
        Ok(Self {
            learner: Learner::for_task(task, model, balance, config)?,
            adapter,
            training,
            train,
            validation,
            output_dir,
            mixture: None,
            base_model: None,
            files: Vec::new(),
            evaluations: Vec::new(),
            ranks: &Alone,
        })
    }

    /// Names the base model in the adapter's configuration.
    pub fn with_base_model(mut self, name: impl Into<String>) -> Self {
        self.base_model = Some(name.into());
        self
    }

    /// Draws the samples to train on as a mixture says, whose sets follow one another in them,
    /// instead of every one once an epoch.
    pub fn with_mixture(mut self, mixture: &'a Mixture) -> Self {
        self.mixture = Some(mixture);
        self
    }

    /// Writes a file of this name and text beside every adapter that the run saves.
    pub fn with_file(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.files.push((name.into(), text.into()));
        self
    }

    /// Measures the model by `evaluation` too.
    pub fn with_evaluation(mut self, evaluation: Box<dyn PeriodicEvaluation<M> + 'a>) -> Self {
        self.evaluations.push(evaluation);
        self
    }

    /// Trains together with other ranks, each of which has a trainer of the same model, settings and
    /// samples, and folder: rank 0 writes to it, all read from it. The passes of a step are shared
    /// out, and so are the evaluations of [`with_evaluation`](Self::with_evaluation), which all need
    /// to have.
    pub fn with_ranks(mut self, ranks: &'a dyn Ranks) -> Self {
        self.ranks = ranks;
        self
    }

    /// Trains, from the start or from a checkpoint, and returns the model off its autodiff device.
    ///
    /// A run that was resumed goes through the same numbers as one that was not interrupted.
    /// Checkpoints after the one that it goes on from are removed.
    ///
    /// # Errors
    ///
    /// [`TrainError`] naming the file, key or step at fault, and when ranks cannot go on together.
    /// What was saved before stays.
    pub fn run(
        self,
        resume: &Resume,
        observer: &mut dyn TrainObserver,
    ) -> Result<(M, TrainSummary), TrainError> {
        let mut run = run::Run::start(self, resume, observer)?;
        run.make_steps()?;
        run.end()
    }
}

#[cfg(test)]
mod tests;
