use model_zoo::Decoder;

use super::{ExpertShares, RoutingMeasures};
use crate::analytics::{DEAD_SHARE, GroupReport, SiteReport, routing_statistics};
use crate::data::Sample;
use crate::demo::experiment::encode;
use crate::demo::{Base, EvaluationSets, samples};
use crate::train::TrainError;

/// The kinds of text that routing is compared on, in the order of their number as task types.
const KINDS: [&str; 3] = ["tasks", "knowledge", "text"];
const TASKS: i64 = 0;
const TEXT: i64 = 2;

/// How a tuned mixture routes questions of knowledge, tuned tasks and general text.
pub(super) fn measure_routing(
    base: &Base,
    model: &Decoder,
    sets: &EvaluationSets,
) -> Result<RoutingMeasures, TrainError> {
    // Exchanges carry the first two types; sentences are of neither.
    let mut all: Vec<Sample> = encode(base, &sets.tasks)?;
    all.extend(encode(base, &sets.questions)?);
    for text in &sets.text {
        let mut sample = samples::sentence(&base.tokenizer, text)?;
        sample.task_type = Some(TEXT as u32);
        all.push(sample);
    }
    let report = routing_statistics(model, &all, 100)?.report(DEAD_SHARE);
    let sites = &report.sites;
    let mean = |value: &dyn Fn(&SiteReport) -> f64| {
        sites.iter().map(value).sum::<f64>() / sites.len().max(1) as f64
    };
    let experts: usize = sites.iter().map(|site| site.experts).sum();
    let dead: usize = sites.iter().map(|site| site.all.dead_experts.len()).sum();
    Ok(RoutingMeasures {
        entropy: mean(&|site| site.all.weight_entropy),
        largest_share: sites.iter().map(|site| site.all.largest_share).fold(0.0, f64::max),
        dead_experts: dead as f64 / experts.max(1) as f64,
        specialisation: mean(&|site| site.mutual_information.unwrap_or(0.0)),
        identity_share: identity_share(sites, TASKS).zip(identity_share(sites, TEXT)),
        shares: sites
            .iter()
            .flat_map(|site| site.task_types.iter().map(move |group| shares(site, group)))
            .collect(),
    })
}

/// The mean share of identity experts on one kind of text.
fn identity_share(sites: &[SiteReport], kind: i64) -> Option<f64> {
    let of_kind: Vec<f64> = sites
        .iter()
        .flat_map(|site| &site.task_types)
        .filter(|group| group.task_type == Some(kind))
        .filter_map(|group| group.identity_share)
        .collect();
    (!of_kind.is_empty()).then(|| of_kind.iter().sum::<f64>() / of_kind.len() as f64)
}

fn shares(site: &SiteReport, group: &GroupReport) -> ExpertShares {
    let kind = group.task_type.and_then(|kind| KINDS.get(usize::try_from(kind).ok()?));
    ExpertShares {
        layer: site.layer,
        module: site.module.clone(),
        kind: kind.copied().unwrap_or("other").to_owned(),
        shares: group.importance.clone(),
    }
}
