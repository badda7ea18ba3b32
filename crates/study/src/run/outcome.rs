use std::time::Instant;

use model_zoo::{Decoder, GenerationError};

use super::{Job, Study};
use crate::checkpoints::RunCheckpoints;
use crate::demo::Half;
use crate::demo::experiment::watched;
use crate::ground::Ground;
use crate::routing::measure_routing;
use crate::{BaseResult, Divergence, RunMeasures, RunRecord, StudyError};
use evaluation::EvaluationError;
use finetune::train::TrainError;

/// What came of a tuning.
pub(super) struct Outcome {
    /// Or the step at which the loss became no number.
    model: Result<Decoder, usize>,
    curve: Vec<(f64, f64)>,
    seconds: f64,
}

impl<G: Ground> Study<'_, G> {
    /// Tunes, from the last checkpoint on where there is one. That the loss became no number is a
    /// result.
    pub(super) fn outcome(
        &self,
        ground: &G,
        run: &str,
        job: &Job<'_>,
        (kind, name): (&str, &str),
    ) -> Result<Outcome, StudyError> {
        let started = Instant::now();
        let folder = self.store.checkpoints(kind, name);
        let mut kept = RunCheckpoints::open(folder, self.config.save_steps)?;
        if let Some(newest) = kept.as_ref().and_then(RunCheckpoints::newest) {
            let mut observer =
                self.observer.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            observer.on_note(&format!("{run}: goes on from {newest}"));
        }
        let mut curve = Vec::new();
        let tuned = watched(&self.observer, run, ground.steps(job.amount), |on_step| {
            ground.tune(job.seed, job.method, job.amount, kept.as_mut(), &mut |step, loss| {
                curve.push((step as f64, loss));
                on_step(step, loss);
            })
        });
        let model = match tuned {
            Ok(model) => Ok(model),
            Err(StudyError::Train(TrainError::Diverged { step, .. })) => {
                curve.push((step as f64, f64::NAN));
                Err(step)
            }
            Err(other) => return Err(other),
        };
        let elapsed = kept.map_or_else(|| started.elapsed(), |kept| kept.elapsed());
        Ok(Outcome { model, curve, seconds: elapsed.as_secs_f64() })
    }

    /// Measures a tuned model, and says whether the run diverged.
    pub(super) fn judged(
        &self,
        ground: &G,
        outcome: &Outcome,
        seed: usize,
        base: Option<&BaseResult>,
        half: Half,
    ) -> Result<(Option<RunMeasures>, Option<Divergence>), StudyError> {
        let model = match &outcome.model {
            Ok(model) => model,
            Err(step) => return Ok((None, Some(Divergence::Loss { step: *step }))),
        };
        let measured = match ground.measure(seed, model, half) {
            Err(StudyError::Evaluation(EvaluationError::Generation(
                GenerationError::NotFinite { .. },
            ))) => RunMeasures {
                knowledge: f64::NAN,
                tasks: f64::NAN,
                text_loss: f64::NAN,
                ..RunMeasures::default()
            },
            measured => measured?,
        };
        let threshold = self.config.divergence_threshold;
        let diverged = base.and_then(|base| Divergence::ruined(&measured, base, threshold));
        Ok((Some(measured), diverged))
    }

    /// Measures a tuned model for the report.
    pub(super) fn record(
        &self,
        ground: &G,
        job: &Job<'_>,
        outcome: Outcome,
        base: Option<&BaseResult>,
    ) -> Result<RunRecord, StudyError> {
        let method = job.method;
        let (mut measured, diverged) = self.judged(ground, &outcome, job.seed, base, Half::Test)?;
        if let (Some(measured), Ok(model)) = (&mut measured, &outcome.model)
            && method.adapter.is_mixture()
            && diverged.is_none()
        {
            measured.routing = Some(measure_routing(model, &ground.kinds(job.seed)?)?);
        }
        Ok(RunRecord {
            method: method.name.clone(),
            seed: self.config.seeds[job.seed],
            samples: job.amount,
            learning_rate: method.learning_rate,
            diverged,
            measured,
            curve: outcome.curve,
            seconds: outcome.seconds,
        })
    }
}
