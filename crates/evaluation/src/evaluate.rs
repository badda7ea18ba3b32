use model_zoo::CausalLm;
use router::RoutingTape;

use crate::EvaluationError;
use crate::loss::cross_entropy_value;
use data::{BatchPlan, Collator, DeviceBatch, Sample};

/// How well a model predicts the targets of samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// The mean cross-entropy of all targets, in nats.
    pub loss: f64,
    /// The number of targets.
    pub targets: usize,
}

impl Evaluation {
    /// `exp(loss)`.
    pub fn perplexity(&self) -> f64 {
        self.loss.exp()
    }
}

/// Evaluates a model that is not on an autodiff device (`model.valid()`).
///
/// # Errors
///
/// [`EvaluationError`] when a sample cannot be made a batch.
pub fn evaluate<M: CausalLm>(
    model: &M,
    samples: &[Sample],
    batch_size: usize,
) -> Result<Evaluation, EvaluationError> {
    let lengths: Vec<_> = samples.iter().map(Sample::len).collect();
    let plan = BatchPlan::ordered(&lengths, batch_size)?;
    let collator = Collator::new(model.pad_token_id().unwrap_or(0));
    let device = model.device();
    let (mut sum, mut targets) = (0.0, 0);
    for indices in plan.batches(0) {
        let batch = collator.collate_indices(samples, &indices)?.to_device(&device);
        sum += batch_loss(model, &batch);
        targets += batch.targets.len();
    }
    Ok(Evaluation { loss: sum / targets.max(1) as f64, targets })
}

/// The summed cross-entropy of the targets of a batch, by a model that is not on an autodiff device.
pub fn batch_loss<M: CausalLm>(model: &M, batch: &DeviceBatch) -> f64 {
    let input = batch.input();
    let mut tape = RoutingTape::new(input.context());
    let hidden = model.hidden_states(&input, None, &mut tape);
    let [batch_size, seq_len, width] = hidden.dims();
    let hidden =
        hidden.reshape([batch_size * seq_len, width]).select(0, batch.target_positions.clone());
    cross_entropy_value(model, hidden, batch.target_ids.clone())
}
