use burn::tensor::Device;
use data::{LabelSet, Target};
use model_zoo::{PaddingSide, SequenceClassifier, TokenInput};

use super::batch::{self, LabelledBatch};
use super::measures::Measures;
use crate::train::{
    BatchOutcome, Measurement, Pass, PassGradients, PassReport, TrainError, TrainingConfig,
    TrainingSample, TrainingTask,
};

/// A text, or two that are compared, with its label.
#[derive(Debug, Clone, PartialEq)]
pub struct TextSample {
    /// Token ids `[L]`, special ones included.
    pub input_ids: Vec<u32>,
    /// What is to be answered.
    pub target: Target,
    /// Task type, where the data has one.
    pub task_type: Option<u32>,
}

/// Classifying texts, or predicting a number of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextTask {
    measures: Measures,
}

impl TextTask {
    /// The task of telling labels apart.
    pub fn new(labels: &LabelSet) -> Self {
        Self { measures: Measures(labels.clone()) }
    }

    /// What is measured of what became of batches.
    pub(crate) fn measured(&self, outcomes: &[BatchOutcome]) -> Vec<Measurement> {
        self.measures.of(outcomes)
    }

    /// The logits of a batch by a model off its autodiff device, row by row.
    pub fn logits<M: SequenceClassifier>(
        &self,
        model: &M,
        batch: &LabelledBatch<TokenInput>,
    ) -> Vec<Vec<f64>> {
        batch::logits(model, batch)
    }
}

impl TrainingSample for TextSample {
    fn tokens(&self) -> usize {
        self.input_ids.len()
    }

    fn targets(&self) -> usize {
        self.target.terms()
    }

    fn task_type(&self) -> Option<u32> {
        self.task_type
    }

    fn describe(&self, write: &mut dyn FnMut(&[u8])) {
        let Self { input_ids, target, task_type } = self;
        write(&(input_ids.len() as u64).to_le_bytes());
        input_ids.iter().for_each(|id| write(&id.to_le_bytes()));
        target.numbers().iter().for_each(|number| write(&number.to_le_bytes()));
        write(&task_type.map_or(u64::MAX, u64::from).to_le_bytes());
    }
}

impl<M: SequenceClassifier> TrainingTask<M> for TextTask {
    type Sample = TextSample;
    type Batch = LabelledBatch<TokenInput>;

    fn device(&self, model: &M) -> Device {
        model.device()
    }

    fn check(&self, training: &TrainingConfig) -> Result<(), TrainError> {
        batch::check(training)
    }

    fn batch(
        &self,
        model: &M,
        samples: &[TextSample],
        indices: &[usize],
    ) -> Result<Self::Batch, TrainError> {
        let device = model.device();
        let chosen: Vec<&TextSample> = indices.iter().filter_map(|at| samples.get(*at)).collect();
        let rows: Vec<&[u32]> = chosen.iter().map(|of| of.input_ids.as_slice()).collect();
        let pad = model.pad_token_id();
        Ok(LabelledBatch {
            input: TokenInput::from_sequences(&rows, pad, PaddingSide::Right, &device),
            targets: chosen.iter().map(|of| of.target.clone()).collect(),
            task_types: batch::task_types(chosen.iter().map(|of| of.task_type), &device),
            token_count: rows.iter().map(|row| row.len()).sum(),
        })
    }

    fn differentiate(
        &self,
        model: &M,
        batch: &Self::Batch,
        pass: &Pass<'_>,
        gradients: &mut PassGradients<'_>,
    ) -> Result<PassReport, TrainError> {
        batch::differentiate(model, batch, pass, gradients)
    }

    fn evaluate(&self, model: &M, batch: &Self::Batch) -> Result<BatchOutcome, TrainError> {
        Ok(batch::evaluate(model, batch))
    }

    fn measures(&self) -> Vec<String> {
        self.measures.names()
    }

    fn measure(&self, _: f64, outcomes: &[BatchOutcome]) -> Vec<Measurement> {
        self.measures.of(outcomes)
    }
}
