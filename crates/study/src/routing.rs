use model_zoo::Decoder;

use super::ground::{Kind, Role};
use super::{ExpertShares, RoutingMeasures};
use crate::StudyError;
use data::Sample;
use evaluation::routing::{DEAD_SHARE, GroupReport, SiteReport, routing_statistics};

/// How a tuned mixture routes the kinds of text; in the sums they stand as task types.
pub(super) fn measure_routing(
    model: &Decoder,
    kinds: &[Kind],
) -> Result<RoutingMeasures, StudyError> {
    let all: Vec<Sample> = (0..)
        .zip(kinds)
        .flat_map(|(number, kind)| {
            let typed = move |sample: &Sample| Sample { task_type: Some(number), ..sample.clone() };
            kind.samples.iter().map(typed)
        })
        .collect();
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
        identity_share: identity_share(sites, kinds, Role::Tasks).zip(identity_share(
            sites,
            kinds,
            Role::Text,
        )),
        shares: sites
            .iter()
            .flat_map(|site| site.task_types.iter().map(move |group| shares(site, group, kinds)))
            .collect(),
    })
}

/// The mean share of identity experts on the kinds of text of one role.
fn identity_share(sites: &[SiteReport], kinds: &[Kind], role: Role) -> Option<f64> {
    let of_role: Vec<f64> = sites
        .iter()
        .flat_map(|site| &site.task_types)
        .filter(|group| kind(group, kinds).is_some_and(|kind| kind.role == role))
        .filter_map(|group| group.identity_share)
        .collect();
    (!of_role.is_empty()).then(|| of_role.iter().sum::<f64>() / of_role.len() as f64)
}

fn kind<'a>(group: &GroupReport, kinds: &'a [Kind]) -> Option<&'a Kind> {
    kinds.get(usize::try_from(group.task_type?).ok()?)
}

fn shares(site: &SiteReport, group: &GroupReport, kinds: &[Kind]) -> ExpertShares {
    ExpertShares {
        layer: site.layer,
        module: site.module.clone(),
        kind: kind(group, kinds).map_or("other", |kind| kind.name.as_str()).to_owned(),
        shares: group.importance.clone(),
        load: group.load.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(task_type: i64, identity_share: Option<f64>) -> GroupReport {
        GroupReport {
            task_type: Some(task_type),
            tokens: 1,
            load: Vec::new(),
            importance: Vec::new(),
            share: Vec::new(),
            largest_share: 0.0,
            dead_experts: Vec::new(),
            entropy: 0.0,
            weight_entropy: 0.0,
            co_activation: None,
            identity_share,
            cluster_distance: None,
        }
    }

    fn site(groups: Vec<GroupReport>) -> SiteReport {
        SiteReport {
            layer: 0,
            module: "up_proj".into(),
            experts: 2,
            identity_experts: 1,
            mutual_information: None,
            specialisation: None,
            all: group(0, None),
            task_types: groups,
        }
    }

    #[test]
    fn identity_shares_are_means_over_linears_and_kinds_of_a_role() {
        let kind = |name: &str, role| Kind { name: name.into(), role, samples: Vec::new() };
        let kinds =
            [kind("copy", Role::Tasks), kind("reverse", Role::Tasks), kind("stories", Role::Text)];
        let sites = [
            site(vec![group(0, Some(0.1)), group(1, Some(0.2)), group(2, Some(0.9))]),
            // Of a type that no kind has, and of a router without identity experts.
            site(vec![group(0, Some(0.6)), group(7, Some(0.5)), group(2, None)]),
        ];
        assert!((identity_share(&sites, &kinds, Role::Tasks).unwrap() - 0.3).abs() < 1e-12);
        assert_eq!(identity_share(&sites, &kinds, Role::Text), Some(0.9));
        assert_eq!(identity_share(&sites[1..], &kinds, Role::Text), None);
    }
}
