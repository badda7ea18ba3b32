//! What starts that look at data need to know of a model's layers.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Tensor};
use model_zoo::{CausalLm, TokenInput};
use moe_adapter::{
    Adaptable, AdaptedLinear, AdapterConfig, AdapterError, Projection, TargetModules, attach,
};
use ranks::{Alone, Ranks};
use router::RoutingTape;
use svd_init::{ExpertInit, LayerStatistics};

use crate::sum_in_order::sum_in_order;
use crate::train::TrainError;
use data::{BatchPlan, Collator, DeviceBatch, Sample};
use evaluation::cross_entropy;

/// Measures the statistics that the start of `adapter` needs over samples: the gradient of the mean
/// cross-entropy with respect to every targeted weight, and the mean of `x x^T` of its inputs. Empty
/// where the start needs none.
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
    calibrate_over(&Alone, model, adapter, samples, batch_size)
}

/// As [`calibrate`], with the batches shared out among ranks that have the same model and samples;
/// all have the statistics of one rank. What each batch gives is added in the order of the batches.
///
/// # Errors
///
/// As [`calibrate`], and when ranks cannot go on together.
pub fn calibrate_over<M>(
    ranks: &dyn Ranks,
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
        let targets = &adapter.target_modules;
        for (path, gradient) in gradients(ranks, model, targets, samples, batch_size)? {
            let of_layer: &mut LayerStatistics = statistics.entry(path).or_default();
            of_layer.gradient = Some(gradient);
        }
    }
    if needs.input_covariance {
        let batches = batches(model, samples, batch_size, &model.device())?;
        covariances(ranks, model, &batches, &mut statistics)?;
    }
    Ok(statistics)
}

fn gradients<M>(
    ranks: &dyn Ranks,
    model: &M,
    targets: &TargetModules,
    samples: &[Sample],
    batch_size: usize,
) -> Result<BTreeMap<String, Tensor<2>>, TrainError>
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
    let of_batch = |batch: &DeviceBatch| {
        let (input, mut tape) = prepared(batch, RoutingTape::new);
        let hidden = model.hidden_states(&input, None, &mut tape);
        let [batch_size, seq_len, width] = hidden.dims();
        let hidden =
            hidden.reshape([batch_size * seq_len, width]).select(0, batch.target_positions.clone());
        let scale = 1.0 / targets.max(1) as f64;
        let (_, loss) = cross_entropy(&model, hidden, batch.target_ids.clone(), scale);
        let grads = loss.backward();
        let mut found = BTreeMap::new();
        model.visit_projections(&mut |path, _, projection| {
            if let Some(grad) = projection.linear().weight().grad(&grads) {
                let grad: Tensor<2> = grad.cast(DType::F32);
                found.insert(path.to_owned(), grad);
            }
        });
        found
    };
    let mut paths = Vec::new();
    model.visit_projections(&mut |path, _, _| paths.push(path.to_owned()));
    let device = model.device().inner();
    let gradients = sum_in_order(ranks, &batches, &paths, &device, of_batch)?;
    match gradients.is_empty() {
        true => Err(AdapterError::NoTargets.into()),
        false => Ok(gradients),
    }
}

fn covariances<M>(
    ranks: &dyn Ranks,
    model: &M,
    batches: &[DeviceBatch],
    statistics: &mut BTreeMap<String, LayerStatistics>,
) -> Result<(), TrainError>
where
    M: CausalLm + Adaptable<Projection = AdaptedLinear>,
{
    let tokens: usize = batches.iter().map(|batch| batch.token_count).sum();
    let of_batch = |batch: &DeviceBatch| {
        let (input, mut tape) = prepared(batch, RoutingTape::measuring_inputs);
        model.hidden_states(&input, None, &mut tape);
        tape.input_moments().map(|(site, moment)| (site, moment.clone())).collect()
    };
    let mut sites = Vec::new();
    model.visit_projections(&mut |_, site, _| sites.push(site));
    let mut moments = sum_in_order(ranks, batches, &sites, &model.device(), of_batch)?;
    model.visit_projections(&mut |path, site, _| {
        if let Some(moment) = moments.remove(&site) {
            let of_layer: &mut LayerStatistics = statistics.entry(path.to_owned()).or_default();
            of_layer.input_covariance = Some(moment / tokens.max(1) as f64);
        }
    });
    Ok(())
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
