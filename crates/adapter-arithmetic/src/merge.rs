use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Tensor};
use lora_expert::{AnyBank, ExpertBank};
use moe_adapter::{
    Adaptable, AdaptedLinear, AdaptedProjection, AdapterError, Projection, merge_tokens,
    trainable_names,
};
use router::{AnyRouter, Router, RoutingTape, Site};

use crate::{ArithmeticError, MergeRecord};

/// The weights that a mixture is frozen at, `[E]`, by place.
pub type FixedRouting = BTreeMap<Site, Tensor<1>>;

/// The mean weight of every expert over the real tokens of a recorded pass, by place: what a
/// prompt routes to.
pub fn mean_routing(tape: &RoutingTape) -> FixedRouting {
    let context = tape.context();
    let mean = |weights: Tensor<2>| -> Tensor<1> {
        let mean = match &context.token_mask {
            None => weights.mean_dim(0),
            Some(mask) => {
                let mask: Tensor<2> = mask.clone().float().cast(DType::F32);
                let mask = mask.reshape([context.num_tokens(), 1]);
                (weights * mask.clone()).sum_dim(0) / mask.sum_dim(0)
            }
        };
        mean.squeeze_dim(0)
    };
    let of_record = |record: &router::RoutingRecord| {
        (record.site, mean(record.routing.weights.clone().detach()))
    };
    tape.records().iter().map(of_record).collect()
}

/// The same weights, one for each expert, in every place of a model that routes: a static mixture.
///
/// # Errors
///
/// [`ArithmeticError::ExpertWeights`] when a place has another number of experts, or a weight is not
/// finite; [`ArithmeticError::BlockRouter`] and [`ArithmeticError::CannotCombine`] where there is nothing
/// to weigh.
pub fn fixed_routing<M>(model: &M, weights: &[f64]) -> Result<FixedRouting, ArithmeticError>
where
    M: Adaptable<Projection = AdaptedLinear>,
{
    let values: Vec<f32> = weights.iter().map(|weight| *weight as f32).collect();
    let mut routing = FixedRouting::new();
    let mut failed = None;
    model.visit_blocks(&mut |path, _, block| {
        if block.router.is_some() {
            failed.get_or_insert(ArithmeticError::BlockRouter { path: path.to_owned() });
        }
    });
    let of_model = model.model_router().is_some();
    model.visit_projections(&mut |path, site, projection| {
        let Some(adapter) = projection.adapter() else { return };
        let experts = match &adapter.router {
            Some(router) => router.num_experts(),
            None if of_model => adapter.experts.num_experts(),
            None => return,
        };
        if let Err(error) = check_weights(path, weights, experts) {
            failed.get_or_insert(error);
        }
        let device = projection.linear().device();
        routing.insert(site, Tensor::from_data(values.as_slice(), &device));
    });
    if routing.is_empty() {
        failed.get_or_insert(ArithmeticError::CannotCombine {
            what: "the weights".into(),
            reason: "the adapter has no router, so there is nothing to weigh".into(),
        });
    }
    failed.map_or(Ok(routing), Err)
}

/// Whether there is a finite weight for each of `experts` experts.
pub(crate) fn check_weights(
    path: &str,
    weights: &[f64],
    experts: usize,
) -> Result<(), ArithmeticError> {
    if weights.len() != experts || !weights.iter().all(|weight| weight.is_finite()) {
        let (path, found) = (path.to_owned(), weights.to_vec());
        return Err(ArithmeticError::ExpertWeights { path, experts, found });
    }
    Ok(())
}

/// Folds the adapters of a model into its weights, and takes them off; returns what was changed.
///
/// A single adapter is folded as it is. A mixture is folded at the weights that `routing` gives
/// for its place, `W + sum_e w_e s_e B_e A_e`: SLIM (arXiv 2410.07739, section 3.3) merges the
/// mixture that a prompt routes to for the whole sequence. A uniform router needs no weights. What
/// was trained as a whole is in the model already, and is frozen.
///
/// # Errors
///
/// [`ArithmeticError::InputDependent`] for a mixture without weights in `routing`,
/// [`ArithmeticError::BlockRouter`] for the router of a whole block, and [`ArithmeticError::NotLinear`]
/// for experts that are no linear maps. The model is then unchanged.
pub fn merge_adapters<M>(
    model: &mut M,
    routing: &FixedRouting,
) -> Result<MergeRecord, ArithmeticError>
where
    M: Adaptable<Projection = AdaptedLinear>,
{
    let mut merged = model.clone();
    let mut record = MergeRecord { implied: true, ..MergeRecord::default() };
    let mut failed = None;
    merged.visit_blocks(&mut |path, _, block| {
        if block.router.is_some() {
            failed.get_or_insert(ArithmeticError::BlockRouter { path: path.to_owned() });
        }
    });
    let of_model = merged.model_router().is_some();
    merged.visit_projections_mut(&mut |path, site, projection| {
        let Some(adapter) = projection.adapter() else { return };
        let weights = match &adapter.router {
            None if of_model => match routing.get(&site) {
                Some(weights) => Some(weights.clone()),
                None => {
                    failed.get_or_insert(ArithmeticError::InputDependent { path: path.to_owned() });
                    return;
                }
            },
            None => None,
            Some(router) => match (routing.get(&site), router) {
                (Some(weights), _) => Some(weights.clone()),
                (None, AnyRouter::Uniform(router)) => {
                    let (experts, device) = (router.num_experts, adapter_device(projection));
                    Some(Tensor::full([experts], 1.0 / experts as f64, &device))
                }
                _ => {
                    failed.get_or_insert(ArithmeticError::InputDependent { path: path.to_owned() });
                    return;
                }
            },
        };
        let base = projection.linear();
        let Some(update) = adapter.experts.update(base, weights) else {
            failed.get_or_insert(ArithmeticError::NotLinear { path: path.to_owned() });
            return;
        };
        let linear = update.apply(base).into();
        record.implied &= adapter.router.is_none()
            && !of_model
            && adapter.start.is_none()
            && !matches!(adapter.experts, AnyBank::Dora(_));
        record.add(path, adapter.start.as_ref(), update, base, &linear);
        projection.replace_adapter(None);
        projection.replace_linear(linear);
    });
    if let Some(error) = failed {
        return Err(error);
    }
    merged.replace_model_router(None);
    let changed = merge_tokens(&mut merged);
    record.replaced = trainable_names(&merged);
    record.replaced.extend(changed);
    if record.updates.is_empty() && record.replaced.is_empty() {
        return Err(AdapterError::NoAdapter.into());
    }
    record.implied &= record.replaced.is_empty() && record.base.is_empty();
    *model = merged.no_grad();
    Ok(record)
}

fn adapter_device(projection: &AdaptedLinear) -> Device {
    projection.linear().device()
}
