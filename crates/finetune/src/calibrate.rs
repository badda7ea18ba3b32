//! What starts that look at data need to know of a model's layers.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Tensor};
use model_zoo::{CausalLm, TokenInput};
use moe_adapter::{
    Adaptable, AdaptedLinear, AdapterConfig, AdapterError, Projection, TargetModules, attach,
};
use router::{RoutingTape, Site};
use svd_init::{ExpertInit, LayerStatistics};

use crate::train::TrainError;
use data::{BatchPlan, Collator, DeviceBatch, Sample};
use evaluation::cross_entropy;

/// Measures the statistics that the start of `adapter` needs over samples: the gradient of the mean cross-entropy with respect to every targeted weight, and the mean of
/// `x x^T` of its inputs. Empty where the start needs none.
///
/// # Errors
///
/// [`TrainError`] when the targets do not fit the model, or there is no sample.
pub fn calibrate<M>(
    model: &M,
    adapter: &AdapterConfig,
    samples: &[Sample],
    batch_size: usize,
) -> Result<BTreeMap<String, LayerStatistics>, TrainError>
where
    M: CausalLm + Adaptable<Projection = AdaptedLinear>,
{
    let mut statistics = BTreeMap::new();
    if !adapter.needs_statistics() {
        return Ok(statistics);
    }
    let needs = adapter.init.needs();
    if needs.gradient {
        gradients(model, &adapter.target_modules, samples, batch_size, &mut statistics)?;
    }
    if needs.input_covariance {
        let batches = batches(model, samples, batch_size, &model.device())?;
        covariances(model, &batches, &mut statistics);
    }
    Ok(statistics)
}

fn gradients<M>(
    model: &M,
    targets: &TargetModules,
    samples: &[Sample],
    batch_size: usize,
    statistics: &mut BTreeMap<String, LayerStatistics>,
) -> Result<(), TrainError>
where
    M: CausalLm + Adaptable<Projection = AdaptedLinear>,
{
    // The weights themselves are trained, without any adapter.
    let whole = AdapterConfig {
        modules_to_save: Some(targets.clone()),
        ..AdapterConfig::lora(1, 1.0, TargetModules::Names(Vec::new()))
    };
    let mut model = model.clone();
    attach(&mut model, &whole, 0)?;
    let model = model.train();
    let batches = batches(&model, samples, batch_size, &model.device())?;
    let targets: usize = batches.iter().map(|batch| batch.targets.len()).sum();
    for batch in &batches {
        let (input, mut tape) = prepared(batch, RoutingTape::new);
        let hidden = model.hidden_states(&input, None, &mut tape);
        let [batch_size, seq_len, width] = hidden.dims();
        let hidden =
            hidden.reshape([batch_size * seq_len, width]).select(0, batch.target_positions.clone());
        let scale = 1.0 / targets.max(1) as f64;
        let (_, loss) = cross_entropy(&model, hidden, batch.target_ids.clone(), scale);
        let grads = loss.backward();
        model.visit_projections(&mut |path, _, projection| {
            if let Some(grad) = projection.linear().weight().grad(&grads) {
                let of_layer: &mut LayerStatistics = statistics.entry(path.to_owned()).or_default();
                let grad: Tensor<2> = grad.cast(DType::F32);
                of_layer.gradient = Some(match of_layer.gradient.take() {
                    Some(sum) => sum + grad,
                    None => grad,
                });
            }
        });
    }
    if statistics.is_empty() {
        return Err(AdapterError::NoTargets.into());
    }
    Ok(())
}

fn covariances<M>(
    model: &M,
    batches: &[DeviceBatch],
    statistics: &mut BTreeMap<String, LayerStatistics>,
) where
    M: CausalLm + Adaptable<Projection = AdaptedLinear>,
{
    let mut moments: BTreeMap<Site, Tensor<2>> = BTreeMap::new();
    let tokens: usize = batches.iter().map(|batch| batch.token_count).sum();
    for batch in batches {
        let (input, mut tape) = prepared(batch, RoutingTape::measuring_inputs);
        model.hidden_states(&input, None, &mut tape);
        for (site, moment) in tape.input_moments() {
            let sum = match moments.remove(&site) {
                Some(sum) => sum + moment.clone(),
                None => moment.clone(),
            };
            moments.insert(site, sum);
        }
    }
    model.visit_projections(&mut |path, site, _| {
        if let Some(moment) = moments.remove(&site) {
            let of_layer: &mut LayerStatistics = statistics.entry(path.to_owned()).or_default();
            of_layer.input_covariance = Some(moment / tokens.max(1) as f64);
        }
    });
}

fn batches<M: CausalLm>(
    model: &M,
    samples: &[Sample],
    batch_size: usize,
    device: &Device,
) -> Result<Vec<DeviceBatch>, TrainError> {
    let lengths: Vec<_> = samples.iter().map(Sample::len).collect();
    let plan = BatchPlan::ordered(&lengths, batch_size)?;
    let collator = Collator::new(model.pad_token_id().unwrap_or(0));
    plan.batches(0)
        .iter()
        .map(|indices| Ok(collator.collate_indices(samples, indices)?.to_device(device)))
        .collect()
}

fn prepared(
    batch: &DeviceBatch,
    tape: impl FnOnce(router::BatchContext) -> RoutingTape,
) -> (TokenInput, RoutingTape) {
    let input = batch.input();
    let tape = tape(input.context());
    (input, tape)
}
