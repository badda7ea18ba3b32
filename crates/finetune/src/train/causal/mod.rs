mod by_groups;
mod by_slices;

use burn::module::ParamId;
use burn::tensor::{Device, Tensor};
use data::{Collator, DeviceBatch, Sample};
use evaluation::{batch_loss, cross_entropy};
use model_zoo::{CausalLm, TokenInput};
use router::BatchContext;

use super::{
    BatchOutcome, Measurement, Pass, PassGradients, PassReport, Recompute, TrainError,
    TrainingBatch, TrainingConfig, TrainingSample, TrainingTask,
};

/// The name of `exp(eval_loss)`.
const EVAL_PERPLEXITY: &str = "eval_perplexity";

/// Predicting the next token: the targets are tokens, the loss is their cross-entropy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CausalTask {
    /// Batches are padded to a length that is a multiple of this. Default 1.
    pub pad_to_multiple_of: usize,
}

impl Default for CausalTask {
    fn default() -> Self {
        Self { pad_to_multiple_of: 1 }
    }
}

impl From<&TrainingConfig> for CausalTask {
    fn from(training: &TrainingConfig) -> Self {
        Self { pad_to_multiple_of: training.pad_to_multiple_of }
    }
}

impl TrainingSample for Sample {
    fn tokens(&self) -> usize {
        self.len()
    }

    fn targets(&self) -> usize {
        self.target_count()
    }

    fn task_type(&self) -> Option<u32> {
        self.task_type
    }

    fn describe(&self, write: &mut dyn FnMut(&[u8])) {
        let Self { input_ids, target_mask, task_type, documents } = self;
        write(&(input_ids.len() as u64).to_le_bytes());
        input_ids.iter().for_each(|id| write(&id.to_le_bytes()));
        target_mask.iter().for_each(|target| write(&[u8::from(*target)]));
        documents.iter().for_each(|length| write(&(*length as u64).to_le_bytes()));
        write(&task_type.map_or(u64::MAX, u64::from).to_le_bytes());
    }
}

impl TrainingBatch for DeviceBatch {
    fn targets(&self) -> usize {
        self.targets.len()
    }

    fn tokens(&self) -> usize {
        self.token_count
    }
}

impl<M: CausalLm> TrainingTask<M> for CausalTask {
    type Sample = Sample;
    type Batch = DeviceBatch;

    fn device(&self, model: &M) -> Device {
        model.device()
    }

    fn batch(
        &self,
        model: &M,
        samples: &[Sample],
        indices: &[usize],
    ) -> Result<DeviceBatch, TrainError> {
        let collator = Collator {
            pad_id: model.pad_token_id().unwrap_or(0),
            pad_to_multiple_of: self.pad_to_multiple_of,
        };
        Ok(collator.collate_indices(samples, indices)?.to_device(&model.device()))
    }

    fn layers(&self, model: &M) -> Vec<Vec<ParamId>> {
        model.layer_parameters()
    }

    fn differentiate(
        &self,
        model: &M,
        batch: &DeviceBatch,
        pass: &Pass<'_>,
        gradients: &mut PassGradients<'_>,
    ) -> Result<PassReport, TrainError> {
        let input = batch.input();
        let mut context = input.context().with_training(pass.seed);
        context.task_types = batch.task_types.clone();
        let layers = model.num_layers();
        let groups = match pass.recompute {
            Recompute::Every(group) | Recompute::Nested(group) => {
                let from = (0..layers).step_by(group);
                from.map(|first| first..(first + group).min(layers)).collect()
            }
            Recompute::None => pass.cuts.iter().rev().cloned().collect::<Vec<_>>(),
        };
        let nested = matches!(pass.recompute, Recompute::Nested(_)) && layers > 0;
        match groups.len() {
            0 | 1 if !nested => self.at_once(model, batch, (&input, context), pass, gradients),
            _ => self.by_groups(model, batch, (&input, context, groups), pass, gradients),
        }
    }

    fn evaluate(&self, model: &M, batch: &DeviceBatch) -> Result<BatchOutcome, TrainError> {
        let (loss, targets) = (batch_loss(model, batch), batch.targets.len());
        Ok(BatchOutcome { loss, targets, values: Vec::new() })
    }

    fn measures(&self) -> Vec<String> {
        vec![EVAL_PERPLEXITY.to_owned()]
    }

    fn measure(&self, loss: f64, _: &[BatchOutcome]) -> Vec<Measurement> {
        let name = EVAL_PERPLEXITY.to_owned();
        vec![Measurement { name, value: loss.exp(), higher_is_better: false }]
    }
}

impl CausalTask {
    /// Keeps the graph of the whole pass.
    fn at_once<M: CausalLm>(
        &self,
        model: &M,
        batch: &DeviceBatch,
        (input, context): (&TokenInput, BatchContext),
        pass: &Pass<'_>,
        gradients: &mut PassGradients<'_>,
    ) -> Result<PassReport, TrainError> {
        let mut tape = pass.tape(context);
        let hidden = model.hidden_states(input, None, &mut tape);
        let (losses, objective) = self.losses(model, hidden, batch, pass.scale);
        pass.finish(model, losses, objective, tape, gradients)
    }

    /// The cross-entropies of the targets, and what to differentiate for their sum times the scale.
    fn losses<M: CausalLm>(
        &self,
        model: &M,
        hidden: Tensor<3>,
        batch: &DeviceBatch,
        scale: f64,
    ) -> (Tensor<1>, Tensor<1>) {
        let [batch_size, seq_len, width] = hidden.dims();
        let hidden =
            hidden.reshape([batch_size * seq_len, width]).select(0, batch.target_positions.clone());
        cross_entropy(model, hidden, batch.target_ids.clone(), scale)
    }
}
