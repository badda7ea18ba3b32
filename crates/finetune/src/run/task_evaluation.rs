use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::module::Module;
use eval_tasks::Limit;
use evaluation::run::{Answer, LanguageModel, Output, RunOptions, TaskRun};
use evaluation::scoring::ScoringOptions;
use model_zoo::{CausalLm, TextTokenizer};
use ranks::Ranks;
use serde_json::{Map, Value, json};

use super::TaskEvaluationConfig;
use super::shared_answers::SharedAnswers;
use crate::train::{Measurement, PeriodicEvaluation, TrainError};

/// An entry of `[[evaluation]]` with its tasks prepared.
pub struct TaskEvaluation<'a> {
    run: TaskRun,
    every: usize,
    tokenizer: &'a TextTokenizer,
    output_dir: PathBuf,
}

impl<'a> TaskEvaluation<'a> {
    /// Reads the tasks and their data. Results go to `output_dir/evaluations/step-<step>`.
    ///
    /// # Errors
    /// [`TrainError`] naming the task file, the key and the row at fault.
    pub fn new(
        config: &TaskEvaluationConfig,
        tokenizer: &'a TextTokenizer,
        output_dir: &Path,
    ) -> Result<Self, TrainError> {
        let options = RunOptions {
            include_path: config.include_path.clone(),
            data_dir: config.data_dir.clone(),
            num_fewshot: config.num_fewshot,
            limit: config.limit.map_or(Limit::All, Limit::of_number),
            apply_chat_template: config.apply_chat_template,
            system_instruction: config.system_instruction.clone(),
            fewshot_as_multiturn: config.fewshot_as_multiturn.unwrap_or(true),
            ..RunOptions::new(config.tasks.clone())
        };
        Ok(Self {
            run: TaskRun::prepare(&options, Some(tokenizer))?,
            every: config.eval_steps,
            tokenizer,
            output_dir: output_dir.join("evaluations"),
        })
    }
}

impl TaskEvaluation<'_> {
    /// What a model scores. With `output` its answers are kept there.
    ///
    /// # Errors
    /// [`TrainError`] when the model cannot answer, or the folder cannot be written.
    pub fn scores<M: CausalLm + Module>(
        &self,
        model: &M,
        about: Map<String, Value>,
        output: Option<Output<'_>>,
    ) -> Result<Vec<Measurement>, TrainError> {
        self.scored(&self.language_model(model)?, about, output)
    }

    fn language_model<'m, M: CausalLm>(
        &'m self,
        model: &'m M,
    ) -> Result<LanguageModel<'m, M>, TrainError> {
        let options = ScoringOptions::default();
        let model = LanguageModel::new(model, self.tokenizer, options, None, 0);
        Ok(model.map_err(evaluation::EvaluationError::from)?)
    }

    fn scored(
        &self,
        model: &dyn Answer,
        about: Map<String, Value>,
        output: Option<Output<'_>>,
    ) -> Result<Vec<Measurement>, TrainError> {
        let results =
            self.run.evaluate(model, about, output, &mut |_| ControlFlow::Continue(()))?;
        let metrics = self.run.metrics().into_iter();
        Ok(metrics
            .filter_map(|(name, higher_is_better)| {
                let (task, rest) = name.split_once('/')?;
                let (metric, filter) = rest.split_once(',').unwrap_or((rest, "none"));
                let (value, _) = results.value(task, metric, filter)?;
                Some(Measurement { name, value, higher_is_better })
            })
            .collect())
    }

    /// What it measures, and whether more of each is better.
    pub fn metrics(&self) -> Vec<(String, bool)> {
        self.run.metrics()
    }
}

impl<M: CausalLm + Module> PeriodicEvaluation<M> for TaskEvaluation<'_> {
    fn every(&self) -> usize {
        self.every
    }

    fn names(&self) -> Vec<String> {
        self.run.metrics().into_iter().map(|(name, _)| name).collect()
    }

    fn measure(&mut self, model: &M, step: usize) -> Result<Vec<Measurement>, TrainError> {
        self.kept(&self.language_model(model)?, step)
    }

    fn measure_over(
        &mut self,
        ranks: &dyn Ranks,
        model: &M,
        step: usize,
    ) -> Result<Vec<Measurement>, TrainError> {
        if ranks.size() == 1 {
            return self.measure(model, step);
        }
        let shared = SharedAnswers::new(self.language_model(model)?, ranks);
        if !ranks.is_first() {
            let followed = shared.follow(self.run.requests());
            followed.map_err(|error| self.run.explain(error))?;
            return Ok(Vec::new());
        }
        let measured = self.kept(&shared, step)?;
        shared.end()?;
        Ok(measured)
    }
}

impl TaskEvaluation<'_> {
    /// What a model scores after a step, whose answers are kept in the run's folder.
    fn kept(&self, model: &dyn Answer, step: usize) -> Result<Vec<Measurement>, TrainError> {
        let folder = self.output_dir.join(format!("step-{step}"));
        // A run that was interrupted between an evaluation and its checkpoint comes by again, with
        // the same numbers.
        let output = Output { folder: &folder, resume: true };
        let about = Map::from_iter([("step".to_owned(), json!(step))]);
        self.scored(model, about, Some(output))
    }
}
