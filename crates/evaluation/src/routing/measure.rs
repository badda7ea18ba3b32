use model_zoo::CausalLm;
use router::RoutingTape;

use super::{AnalyticsError, RoutingStatistics};
use crate::EvaluationError;
use data::{BatchPlan, Collator, Sample};

/// Passes samples through a model that is not on an autodiff device (`model.valid()`), and sums up
/// how they are routed.
///
/// # Errors
///
/// [`EvaluationError`] when a sample cannot be made a batch, or the model routes nothing.
pub fn routing_statistics<M: CausalLm>(
    model: &M,
    samples: &[Sample],
    batch_size: usize,
) -> Result<RoutingStatistics, EvaluationError> {
    let lengths: Vec<_> = samples.iter().map(Sample::len).collect();
    let plan = BatchPlan::ordered(&lengths, batch_size)?;
    let collator = Collator::new(model.pad_token_id().unwrap_or(0));
    let device = model.device();
    let mut statistics = RoutingStatistics::default();
    for indices in plan.batches(0) {
        let batch = collator.collate_indices(samples, &indices)?.to_device(&device);
        let input = batch.input();
        let mut context = input.context();
        context.task_types = batch.task_types;
        let mut tape = RoutingTape::recording(context);
        model.hidden_states(&input, None, &mut tape);
        statistics.push(&tape)?;
    }
    if statistics.is_empty() {
        return Err(AnalyticsError::NoRouting.into());
    }
    Ok(statistics)
}
