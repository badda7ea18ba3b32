use std::ops::Add;

use moe_adapter::{Adaptable, AdaptedProjection};
use ranks::{PairwiseSum, share_of};
use router::RoutingTape;

use super::Run;
use crate::memory::resident_bytes;
use crate::train::checkpoint::checkpoint_folder;
use crate::train::lines::{add_routing, non_finite_line, step_line};
use crate::train::source::picked;
use crate::train::{
    NonFinite, NonFinitePolicy, Progress, Share, StepReport, TrainError, TrainingTask,
};
use evaluation::routing::ExpertUse;

/// The batches of this rank's passes of a step.
struct StepBatches<B> {
    batches: Vec<B>,
    /// The number of the first of them among all passes.
    first: usize,
    /// The targets and tokens of all passes.
    targets: usize,
    tokens: usize,
}

impl<M, T> Run<'_, '_, M, T>
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
    T: TrainingTask<M>,
{
    /// Makes the next step, or passes over it; whether it was made.
    pub(super) fn step(&mut self) -> Result<bool, TrainError> {
        let config = self.trainer.training;
        let step = self.state.step + 1;
        let logged = step == self.state.total_steps || step.is_multiple_of(config.logging_steps);
        let learning_rate = match &self.state.plateau {
            Some(plateau) => plateau.learning_rate,
            None => self.schedule.at(self.state.step),
        };
        let StepBatches { batches, first, targets, tokens } = self.batches()?;
        let share = Share {
            ranks: self.trainer.ranks,
            batches: &batches,
            first,
            passes: config.gradient_accumulation_steps,
            targets,
            tokens,
        };
        let mut used = PairwiseSum::default();
        let mut watch = |tape: &RoutingTape| {
            if let Some(of_pass) = ExpertUse::of(tape) {
                used.add(of_pass, ExpertUse::add);
            }
        };
        let watch: Option<&mut dyn FnMut(&RoutingTape)> =
            if logged && self.monitor.is_some() { Some(&mut watch) } else { None };
        let stepped = self.trainer.learner.step_share(&share, learning_rate, watch);
        self.state.step = step;
        match stepped {
            Ok(report) => {
                let used = used.total(ExpertUse::add);
                self.made(report, learning_rate, logged, used)?;
                Ok(true)
            }
            Err(TrainError::Diverged { what, .. }) => {
                self.pass_over(&what)?;
                self.write(&non_finite_line(step, &what, config.non_finite))?;
                self.observer.on_non_finite(step, &what, config.non_finite);
                Ok(false)
            }
            Err(other) => Err(other),
        }
    }

    /// What the next step is made of.
    fn batches(&mut self) -> Result<StepBatches<T::Batch>, TrainError> {
        let trainer = &self.trainer;
        let (task, model) = (trainer.learner.task(), trainer.learner.model());
        let accumulation = trainer.training.gradient_accumulation_steps;
        let own = share_of(accumulation, trainer.ranks.rank(), trainer.ranks.size());
        let batches = Vec::with_capacity(own.len());
        let mut found = StepBatches { batches, first: own.start, targets: 0, tokens: 0 };
        for micro in 0..accumulation {
            let at = (self.state.step * accumulation + micro) as u64;
            let (epoch, index) = self.plan.locate(at);
            if self.order.0 != epoch {
                self.order = (epoch, self.plan.batches(epoch));
            }
            let samples = &self.order.1[index];
            for &at in samples {
                found.targets += trainer.train.targets(at);
                found.tokens += trainer.train.tokens(at);
            }
            if own.contains(&micro) {
                let samples = picked(&*trainer.train, samples)?;
                let all: Vec<usize> = (0..samples.len()).collect();
                found.batches.push(task.batch(model, &samples, &all)?);
            }
        }
        Ok(found)
    }

    /// Takes in a step that was made, and writes it down where it is `logged`, with how the experts
    /// were used.
    fn made(
        &mut self,
        report: StepReport,
        learning_rate: f64,
        logged: bool,
        used: Option<ExpertUse>,
    ) -> Result<(), TrainError> {
        let passes = self.state.step * self.trainer.training.gradient_accumulation_steps;
        self.state.stepped(self.rolls_back());
        self.tokens += report.tokens;
        self.last = Some(report);
        let progress = Progress {
            step: self.state.step,
            total_steps: self.state.total_steps,
            epoch: passes as f64 / self.plan.batches_per_epoch() as f64,
            learning_rate,
            tokens_per_s: self.tokens as f64 / self.started.elapsed().as_secs_f64(),
            resident_bytes: resident_bytes(),
        };
        self.observer.on_step(&progress, &report);
        if !logged {
            return Ok(());
        }
        let mut line = step_line(&progress, &report);
        if let (Some(monitor), Some(used)) = (&mut self.monitor, used) {
            let used = used.with_sums(|sums| self.trainer.ranks.sum(sums))?;
            let shares = used.largest_shares();
            let collapsed = monitor.observe(&shares);
            add_routing(&mut line, &shares, &collapsed);
            if !collapsed.is_empty() {
                self.observer.on_routing_collapse(self.state.step, &collapsed);
            }
        }
        self.write(&line)
    }

    /// Passes over a step whose loss or gradient is not finite, where the run is to and has not
    /// done so too often.
    fn pass_over(&mut self, what: &NonFinite) -> Result<(), TrainError> {
        let (config, state) = (self.trainer.training, &mut self.state);
        let often = state.non_finite_steps >= config.max_non_finite_steps;
        if config.non_finite == NonFinitePolicy::Error || often {
            let (step, what) = (state.step, what.clone());
            let tried = match config.non_finite {
                NonFinitePolicy::Error => String::new(),
                policy => format!("{} steps were {policy} in vain; ", state.non_finite_steps),
            };
            let remedy = match state.last_healthy {
                Some(step) => format!(
                    "{tried}go on from the last healthy checkpoint with a lower rate: `--resume \
                     {} --set training.learning_rate={:e}`",
                    checkpoint_folder(self.trainer.output_dir, step).display(),
                    config.learning_rate / 10.0
                ),
                None => format!(
                    "{tried}there is no healthy checkpoint (`training.save_steps`); {}",
                    TrainError::LOWER_RATE
                ),
            };
            return Err(TrainError::Diverged { step, what, remedy });
        }
        state.non_finite_steps += 1;
        self.trainer.learner.pass_over(self.healthy.as_ref());
        Ok(())
    }
}
