use std::path::Path;

use burn::tensor::Device;
use data::{BatchPlan, LabelSet, LabelledRow, Origin, Target};
use model_zoo::{AnyModel, Classifier, LoadOptions};
use router::Reach;

use super::super::load_any_model;
use super::model::{LabelledModel, with_labelled_model};
use super::{LabelledInputs, LabelledSamples, LabelledTask, read_labels};
use crate::train::{
    BatchOutcome, ImageTask, Measurement, TextTask, TrainError, TrainingSample, TrainingTask,
    label_loss, probabilities,
};

/// A classifier off its autodiff device that answers to rows.
pub struct Predictor {
    model: LabelledModel,
    inputs: LabelledInputs,
    labels: LabelSet,
}

/// What a classifier answers to one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The row.
    pub origin: Origin,
    /// The probability of each label, or the number.
    pub scores: Vec<f64>,
    /// The answer.
    pub answer: Target,
    /// What would be right, where the data says.
    pub gold: Option<Target>,
}

/// What a classifier answers to rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// The labels, in the order of the scores.
    pub labels: LabelSet,
    /// The answers, in the order of the rows.
    pub rows: Vec<Prediction>,
    /// How good they are, where all rows have labels: the loss and what is measured in training.
    pub measured: Vec<Measurement>,
}

impl Predictor {
    /// The model of a folder, with the adapter of another one, which brings its head along; without
    /// one, the model's own head.
    ///
    /// # Errors
    ///
    /// [`TrainError`] naming the file at fault, and when the model is not for the task.
    pub fn load(
        folder: &Path,
        adapter: Option<&Path>,
        task: LabelledTask,
        max_length: Option<usize>,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let inputs = LabelledInputs::from_folder(folder, task, max_length)?;
        let options = LoadOptions::default();
        let model = match adapter {
            Some(_) => load_any_model(folder, adapter, &options, device)?,
            None => AnyModel::load(folder, &options, device)?,
        };
        let model = LabelledModel::of(model, folder.display())?;
        let mut task = with_labelled_model!(&model, model => model.task().clone());
        if let Some(saved) = adapter.map(read_labels).transpose()?.flatten() {
            task = saved;
        }
        let labels = match task.problem_type() {
            model_zoo::ProblemType::Regression => LabelSet::regression(),
            problem => LabelSet::new(task.labels, problem)?,
        };
        Ok(Self { model, inputs, labels })
    }

    /// Answers to rows, of which some may have labels, in batches of at most so many.
    ///
    /// # Errors
    ///
    /// [`TrainError`] naming the row that cannot be read, or whose label the model does not have.
    pub fn predict(
        &self,
        rows: &[LabelledRow],
        batch_size: usize,
    ) -> Result<Predictions, TrainError> {
        let gold: Vec<Option<Target>> =
            rows.iter().map(|row| self.gold(row)).collect::<Result<_, _>>()?;
        // What a row is to be answered is not asked.
        let none = |_: &LabelledRow| Ok(Target::Value(0.0));
        let (samples, _) = self.inputs.samples(rows, &none)?;
        let logits = match (&self.model, &samples, &self.inputs) {
            (LabelledModel::Roberta(model), LabelledSamples::Texts(samples), _) => {
                let task = TextTask::new(&self.labels);
                let of = |batch: &_| task.logits(model.as_ref(), batch);
                all(&task, model.as_ref(), samples, batch_size, of)?
            }
            (
                LabelledModel::Vit(model),
                LabelledSamples::Images(samples),
                LabelledInputs::Image { processor, .. },
            ) => {
                let task = ImageTask::new(&self.labels, processor.clone());
                let of = |batch: &_| task.logits(model.as_ref(), batch);
                all(&task, model.as_ref(), samples, batch_size, of)?
            }
            (
                LabelledModel::Clip(model),
                LabelledSamples::Images(samples),
                LabelledInputs::Image { processor, .. },
            ) => {
                let task = ImageTask::new(&self.labels, processor.clone());
                let of = |batch: &_| task.logits(model.as_ref(), batch);
                all(&task, model.as_ref(), samples, batch_size, of)?
            }
            _ => return Err(TrainError::NoSamples),
        };
        let measured = self.measured(&gold, &logits);
        let answers = rows.iter().zip(&logits).zip(gold).map(|((row, logits), gold)| Prediction {
            origin: row.origin.clone(),
            scores: probabilities(logits, self.labels.problem),
            answer: self.labels.answer(logits),
            gold,
        });
        Ok(Predictions { rows: answers.collect(), labels: self.labels.clone(), measured })
    }

    /// What would be right; nothing where there is no label, or the -1 that unlabelled sets have.
    fn gold(&self, row: &LabelledRow) -> Result<Option<Target>, TrainError> {
        match &row.label {
            None => Ok(None),
            Some(_) if self.labels.is_unlabelled(row) => Ok(None),
            Some(_) => Ok(Some(self.labels.target(row)?)),
        }
    }

    fn measured(&self, gold: &[Option<Target>], logits: &[Vec<f64>]) -> Vec<Measurement> {
        let Some(gold) = gold.iter().cloned().collect::<Option<Vec<Target>>>() else {
            return Vec::new();
        };
        let mut all = BatchOutcome::default();
        for (logits, target) in logits.iter().zip(&gold) {
            all.loss += label_loss(logits, target);
            all.targets += target.terms();
            all.values.extend(target.numbers().into_iter().map(f64::from));
            all.values.extend(logits);
        }
        let value = all.loss / all.targets.max(1) as f64;
        let loss = Measurement { name: "eval_loss".to_owned(), value, higher_is_better: false };
        let mut measured = vec![loss];
        measured.extend(TextTask::new(&self.labels).measured(&[all]));
        measured
    }
}

/// The logits of all samples, in their order.
fn all<M, T>(
    task: &T,
    model: &M,
    samples: &[T::Sample],
    batch_size: usize,
    logits: impl Fn(&T::Batch) -> Vec<Vec<f64>>,
) -> Result<Vec<Vec<f64>>, TrainError>
where
    M: Classifier,
    T: TrainingTask<M>,
{
    // An answer must not depend on what it is computed with.
    let batch_size = if model.reach() == Reach::Batch { 1 } else { batch_size.max(1) };
    let lengths: Vec<usize> = samples.iter().map(TrainingSample::tokens).collect();
    let mut found = vec![Vec::new(); samples.len()];
    for indices in BatchPlan::ordered(&lengths, batch_size)?.batches(0) {
        let batch = task.batch(model, samples, &indices)?;
        for (at, logits) in indices.iter().zip(logits(&batch)) {
            found[*at] = logits;
        }
    }
    Ok(found)
}
