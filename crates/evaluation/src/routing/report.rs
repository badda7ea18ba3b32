use serde::{Deserialize, Serialize};

use super::RoutingStatistics;
use super::statistics::{GroupSums, SiteSums};

/// An expert is dead where it receives less than this part of an even share of the routing
/// weight, 1 %.
pub const DEAD_SHARE: f64 = 0.01;

/// How the routers of a model used their experts. Experts are counted from 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoutingReport {
    /// The part of an even share below which an expert counts as dead.
    pub dead_share: f64,
    /// The routed projections, in the order of the forward pass.
    pub sites: Vec<SiteReport>,
}

/// One routed projection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteReport {
    /// The layer.
    pub layer: usize,
    /// The projection in its layer.
    pub module: String,
    /// The number of experts, identity experts included.
    pub experts: usize,
    /// How many of them, the first ones, leave the base model as it is.
    pub identity_experts: usize,
    /// The mutual information of expert and task type in nats,
    /// `sum p(e, c) ln(p(e, c) / (p(e) p(c)))` over shares of the routing weight; absent with
    /// fewer than two task types.
    pub mutual_information: Option<f64>,
    /// The mutual information over the entropy of the task types: 0 where the expert says nothing
    /// about the type, 1 where it says all.
    pub specialisation: Option<f64>,
    /// The tokens of all task types together.
    pub all: GroupReport,
    /// The tokens of each task type; empty where samples have none.
    pub task_types: Vec<GroupReport>,
}

/// The tokens of one task type at one projection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupReport {
    /// The task type; absent for all together, and where it is unknown.
    pub task_type: Option<i64>,
    /// The number of tokens, without padding.
    pub tokens: usize,
    /// The share of tokens that selected each expert; 1 everywhere in dense routing.
    pub load: Vec<f64>,
    /// The mean combine weight of each expert.
    pub importance: Vec<f64>,
    /// The importance as shares, which sum to 1.
    pub share: Vec<f64>,
    /// The largest share.
    pub largest_share: f64,
    /// The experts whose share is below `dead_share / E`.
    pub dead_experts: Vec<usize>,
    /// The mean entropy of a token's probabilities before selection, 1 for the uniform
    /// distribution.
    pub entropy: f64,
    /// The mean entropy of a token's combine weights, as shares, 1 for the uniform distribution.
    pub weight_entropy: f64,
    /// The share of tokens that selected both of two experts, `[E][E]`, the load on the diagonal;
    /// absent in dense routing, where it is 1.
    pub co_activation: Option<Vec<Vec<f64>>>,
    /// The share of the routing weight on identity experts; absent without any.
    pub identity_share: Option<f64>,
    /// The mean distance to the nearest cluster; absent where the router has no clusters.
    pub cluster_distance: Option<f64>,
}

impl RoutingStatistics {
    /// What the sums say; [`DEAD_SHARE`] is the usual `dead_share`.
    pub fn report(&self, dead_share: f64) -> RoutingReport {
        let sites = self.sites.iter().map(|(site, sums)| {
            let mut all = GroupSums::default();
            sums.groups.values().for_each(|group| all.add(group));
            let known: Vec<_> =
                sums.groups.iter().filter_map(|(kind, group)| Some(((*kind)?, group))).collect();
            let information = mutual_information(&known);
            SiteReport {
                layer: site.layer,
                module: site.module.to_owned(),
                experts: sums.experts,
                identity_experts: sums.identity_experts,
                mutual_information: information.map(|(nats, _)| nats),
                specialisation: information.map(|(nats, entropy)| nats / entropy),
                all: group_report(None, &all, sums, dead_share),
                task_types: known
                    .into_iter()
                    .map(|(kind, group)| group_report(Some(kind), group, sums, dead_share))
                    .collect(),
            }
        });
        RoutingReport { dead_share, sites: sites.collect() }
    }
}

fn group_report(
    task_type: Option<i64>,
    sums: &GroupSums,
    site: &SiteSums,
    dead_share: f64,
) -> GroupReport {
    let experts = site.experts;
    let tokens = sums.tokens.max(1.0);
    let total: f64 = sums.weight.iter().sum();
    let over = |values: &[f64], by: f64| -> Vec<f64> {
        let by = if by > 0.0 { by } else { 1.0 };
        let mut values: Vec<f64> = values.iter().map(|value| value / by).collect();
        values.resize(experts, 0.0);
        values
    };
    let share = over(&sums.weight, total);
    let dead = dead_share / experts as f64;
    let co_activation = sums
        .pairs
        .as_ref()
        .map(|pairs| pairs.chunks(experts).map(|row| over(row, tokens)).collect());
    GroupReport {
        task_type,
        tokens: sums.tokens.round() as usize,
        load: over(&sums.selected, tokens),
        importance: over(&sums.weight, tokens),
        largest_share: share.iter().copied().fold(0.0, f64::max),
        dead_experts: (0..experts).filter(|expert| share[*expert] < dead).collect(),
        entropy: sums.entropy / tokens,
        weight_entropy: sums.weight_entropy / tokens,
        co_activation,
        identity_share: (site.identity_experts > 0)
            .then(|| share.iter().take(site.identity_experts).sum()),
        cluster_distance: sums.distance.map(|distance| distance / tokens),
        share,
    }
}

/// The mutual information of expert and task type, and the entropy of the task types, in nats.
fn mutual_information(groups: &[(i64, &GroupSums)]) -> Option<(f64, f64)> {
    let total: f64 = groups.iter().flat_map(|(_, group)| &group.weight).sum();
    if groups.len() < 2 || total <= 0.0 {
        return None;
    }
    let experts = groups[0].1.weight.len();
    let of_expert: Vec<f64> = (0..experts)
        .map(|expert| groups.iter().map(|(_, group)| group.weight[expert]).sum::<f64>() / total)
        .collect();
    let (mut information, mut entropy) = (0.0, 0.0);
    for (_, group) in groups {
        let of_type = group.weight.iter().sum::<f64>() / total;
        if of_type > 0.0 {
            entropy -= of_type * of_type.ln();
        }
        for (weight, of_expert) in group.weight.iter().zip(&of_expert) {
            let joint = weight / total;
            if joint > 0.0 {
                information += joint * (joint / (of_type * of_expert)).ln();
            }
        }
    }
    // Rounding may leave the least bit below zero.
    (entropy > 0.0).then_some((information.max(0.0), entropy))
}
