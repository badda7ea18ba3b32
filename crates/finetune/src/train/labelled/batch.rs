use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use data::Target;
use fused_ops::sent;
use model_zoo::Classifier;

use super::loss::{label_loss, loss_of_batch};
use crate::train::{
    BatchOutcome, Pass, PassGradients, PassReport, Recompute, TrainError, TrainingBatch,
    TrainingConfig,
};

/// Labelled samples side by side on a device.
#[derive(Debug, Clone)]
pub struct LabelledBatch<I> {
    /// What the model reads.
    pub input: I,
    /// What it is to answer.
    pub targets: Vec<Target>,
    /// The task type of each sample `[B]`; `None` when the samples have none.
    pub task_types: Option<Tensor<1, Int>>,
    /// The number of real tokens.
    pub token_count: usize,
}

impl<I> TrainingBatch for LabelledBatch<I> {
    fn targets(&self) -> usize {
        self.targets.iter().map(Target::terms).sum()
    }

    fn tokens(&self) -> usize {
        self.token_count
    }
}

/// The task types of samples, where all have one; those of a run have been checked.
pub(super) fn task_types(
    types: impl Iterator<Item = Option<u32>>,
    device: &Device,
) -> Option<Tensor<1, Int>> {
    let types: Vec<i64> = types.map(|of| of.map(i64::from)).collect::<Option<_>>()?;
    let count = types.len();
    Some(Tensor::from_data(sent(TensorData::new(types, [count])), device))
}

/// Refuses what encoders do not have.
pub(super) fn check(training: &TrainingConfig) -> Result<(), TrainError> {
    let TrainingConfig { recompute, packing, pad_to_multiple_of, .. } = training;
    if *recompute != Recompute::None {
        return Err(TrainError::value("training.recompute", recompute, "\"none\" for encoders"));
    }
    if *packing {
        return Err(TrainError::value("training.packing", packing, "false for encoders"));
    }
    if *pad_to_multiple_of != 1 {
        let key = "training.pad_to_multiple_of";
        return Err(TrainError::value(key, pad_to_multiple_of, "1 for encoders"));
    }
    Ok(())
}

/// Runs a batch forward and backward.
pub(super) fn differentiate<M: Classifier>(
    model: &M,
    batch: &LabelledBatch<M::Input>,
    pass: &Pass<'_>,
    gradients: &mut PassGradients<'_>,
) -> Result<PassReport, TrainError> {
    let mut context = model.context(&batch.input).with_training(pass.seed);
    context.task_types = batch.task_types.clone();
    let mut tape = pass.tape(context);
    let logits = model.logits(&batch.input, &mut tape);
    let loss = loss_of_batch(logits, &batch.targets);
    pass.finish(model, loss.clone().inner(), loss * pass.scale, tape, gradients)
}

/// The logits of a batch by a model off its autodiff device, row by row.
pub(super) fn logits<M: Classifier>(model: &M, batch: &LabelledBatch<M::Input>) -> Vec<Vec<f64>> {
    let mut tape = router::RoutingTape::new(model.context(&batch.input));
    let logits = model.logits(&batch.input, &mut tape);
    let [_, labels] = logits.dims();
    let data = logits.cast(DType::F32).into_data();
    let all: Vec<f64> = data.iter::<f32>().map(f64::from).collect();
    all.chunks(labels.max(1)).map(<[f64]>::to_vec).collect()
}

/// What a model off its autodiff device makes of a batch: of each sample the numbers of its target,
/// then its logits.
pub(super) fn evaluate<M: Classifier>(model: &M, batch: &LabelledBatch<M::Input>) -> BatchOutcome {
    let mut outcome = BatchOutcome::default();
    for (logits, target) in logits(model, batch).iter().zip(&batch.targets) {
        outcome.loss += label_loss(logits, target);
        outcome.targets += target.terms();
        outcome.values.extend(target.numbers().into_iter().map(f64::from));
        outcome.values.extend(logits);
    }
    outcome
}
