//! What a run trains a model for: how samples become batches, what is learned from one, and how
//! well it is done.

mod batch;
mod gradients;
mod outcome;
mod pass;
mod sample;
mod validation;

pub use batch::TrainingBatch;
pub use gradients::PassGradients;
pub use outcome::BatchOutcome;
pub use pass::{Pass, PassReport};
pub use sample::TrainingSample;
pub use validation::Validation;

use burn::module::ParamId;
use burn::tensor::Device;
use moe_adapter::Adaptable;

use super::{Measurement, TrainError, TrainingConfig};

/// What a model is trained for. The loop, its schedule, checkpoints, ranks and early stopping know
/// no more of samples, batches and losses than this.
///
/// The loss of a task is a sum over *targets*: the tokens to be predicted, or the rows to be
/// classified. A step follows the gradient of the mean over all targets of all its passes.
pub trait TrainingTask<M: Adaptable> {
    /// An example on the host.
    type Sample: TrainingSample;

    /// Examples side by side on a device.
    type Batch: TrainingBatch;

    /// Where a model computes.
    fn device(&self, model: &M) -> Device;

    /// Refuses settings that this task does not have. Default: it has all.
    ///
    /// # Errors
    ///
    /// [`TrainError::Value`] naming the key and what is allowed.
    fn check(&self, training: &TrainingConfig) -> Result<(), TrainError> {
        let _ = training;
        Ok(())
    }

    /// The batch of the samples at `indices`, on the device of the model.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when samples cannot be put side by side.
    fn batch(
        &self,
        model: &M,
        samples: &[Self::Sample],
        indices: &[usize],
    ) -> Result<Self::Batch, TrainError>;

    /// The parameters of each layer of a model whose gradients are whole before those of the layers
    /// before it, so that ranks can sum them meanwhile. Default: none.
    fn layers(&self, model: &M) -> Vec<Vec<ParamId>> {
        let _ = model;
        Vec::new()
    }

    /// Runs a batch forward and backward through a model on its autodiff device, and adds the
    /// gradients of the objective of `pass` to `gradients`.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when the balance loss lacks what it needs.
    fn differentiate(
        &self,
        model: &M,
        batch: &Self::Batch,
        pass: &Pass<'_>,
        gradients: &mut PassGradients<'_>,
    ) -> Result<PassReport, TrainError>;

    /// What a model off its autodiff device makes of a batch.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when it cannot be told.
    fn evaluate(&self, model: &M, batch: &Self::Batch) -> Result<BatchOutcome, TrainError>;

    /// The names of what [`measure`](Self::measure) finds besides the loss, as in `eval_accuracy`.
    fn measures(&self) -> Vec<String>;

    /// What is measured on validation data besides the mean `loss` of its targets, from what became
    /// of all its batches.
    fn measure(&self, loss: f64, outcomes: &[BatchOutcome]) -> Vec<Measurement>;
}
