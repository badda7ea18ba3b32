use std::collections::BTreeMap;

use burn::tensor::{DType, Tensor};
use lora_expert::ExpertBank;
use router::{RoutingTape, Site};

use crate::{Adaptable, AdaptedLinear, AdaptedProjection, AdapterError, Projection};

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

/// Folds the adapters of a model into its weights, and takes them off; returns how many.
///
/// A single adapter is folded as it is. A mixture is folded at the weights that `routing` gives
/// for its place, `W + sum_e w_e s_e B_e A_e`: SLIM (arXiv 2410.07739, section 3.3) merges the
/// mixture that a prompt routes to for the whole sequence.
///
/// # Errors
///
/// [`AdapterError::InputDependent`] for a mixture without weights in `routing`, and for the router
/// of a whole block; [`AdapterError::NotLinear`] for experts that are no linear maps. The model is
/// then unchanged.
pub fn merge_adapters<M>(model: &mut M, routing: &FixedRouting) -> Result<usize, AdapterError>
where
    M: Adaptable<Projection = AdaptedLinear>,
{
    let mut merged = model.clone();
    let mut failed = None;
    let mut count = 0;
    merged.visit_blocks(&mut |path, _, block| {
        if block.router.is_some() {
            failed.get_or_insert(AdapterError::InputDependent { path: path.to_owned() });
        }
    });
    merged.visit_projections_mut(&mut |path, site, projection| {
        let Some(adapter) = projection.adapter() else { return };
        let weights = routing.get(&site).cloned();
        if adapter.router.is_some() && weights.is_none() {
            failed.get_or_insert(AdapterError::InputDependent { path: path.to_owned() });
            return;
        }
        let weights = weights.filter(|_| adapter.router.is_some());
        match adapter.experts.merged(projection.linear(), weights) {
            Some(linear) => {
                projection.replace_adapter(None);
                projection.replace_linear(linear);
                count += 1;
            }
            None => {
                failed.get_or_insert(AdapterError::NotLinear { path: path.to_owned() });
            }
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    if count == 0 {
        return Err(AdapterError::NoAdapter);
    }
    *model = merged;
    Ok(count)
}
