use std::collections::BTreeMap;

use balance_loss::normalised_entropy;
use burn::tensor::{DType, Tensor, TensorData};
use fused_ops::matmul;
use router::{RoutingRecord, RoutingTape, Site};

use super::AnalyticsError;

/// Sums over the tokens of any number of batches, from which a
/// [`RoutingReport`](super::RoutingReport) follows.
///
/// ```
/// use evaluation::routing::RoutingStatistics;
/// use router::{BatchContext, RoutingTape};
///
/// let mut statistics = RoutingStatistics::default();
/// statistics.push(&RoutingTape::recording(BatchContext::new(1, 8)))?;
/// assert!(statistics.is_empty());
/// # Ok::<(), evaluation::routing::AnalyticsError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RoutingStatistics {
    /// In the order of the forward pass.
    pub(super) sites: Vec<(Site, SiteSums)>,
}

/// The sums of one projection.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SiteSums {
    pub(super) experts: usize,
    pub(super) identity_experts: usize,
    /// By task type; `None` where it is unknown.
    pub(super) groups: BTreeMap<Option<i64>, GroupSums>,
}

/// The sums of the tokens of one task type.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct GroupSums {
    pub(super) tokens: f64,
    /// Tokens that selected each expert, `[E]`.
    pub(super) selected: Vec<f64>,
    /// Combine weights, `[E]`.
    pub(super) weight: Vec<f64>,
    /// Normalised entropies of the probabilities.
    pub(super) entropy: f64,
    /// Normalised entropies of the weights.
    pub(super) weight_entropy: f64,
    /// Distances to the nearest cluster, where the router knows them.
    pub(super) distance: Option<f64>,
    /// Tokens that selected both of two experts, `[E, E]`; none where all always are.
    pub(super) pairs: Option<Vec<f64>>,
}

impl GroupSums {
    pub(super) fn add(&mut self, other: &Self) {
        fn each(to: &mut Vec<f64>, from: &[f64]) {
            to.resize(from.len(), 0.0);
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
        self.tokens += other.tokens;
        each(&mut self.selected, &other.selected);
        each(&mut self.weight, &other.weight);
        self.entropy += other.entropy;
        self.weight_entropy += other.weight_entropy;
        if let Some(distance) = other.distance {
            *self.distance.get_or_insert(0.0) += distance;
        }
        if let Some(pairs) = &other.pairs {
            each(self.pairs.get_or_insert_default(), pairs);
        }
    }
}

impl RoutingStatistics {
    /// Whether nothing was routed so far.
    pub fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }

    /// Adds the routings of one forward pass: one small tensor is read from the device, and the
    /// samples' task types.
    ///
    /// # Errors
    ///
    /// [`AnalyticsError::Experts`] when a projection has another number of experts than before.
    pub fn push(&mut self, tape: &RoutingTape) -> Result<(), AnalyticsError> {
        if tape.records().is_empty() {
            return Ok(());
        }
        let groups = Groups::of(tape);
        let reduced = tape.records().iter().map(|record| groups.reduce(record)).collect();
        let sums: Vec<f64> = Tensor::cat(reduced, 0).into_data().iter::<f64>().collect();
        let mut batch = Self::default();
        let mut rest = sums.as_slice();
        for record in tape.records() {
            let layout = Layout::of(record);
            let mut site = SiteSums {
                experts: layout.experts,
                identity_experts: record.identity_experts(),
                groups: BTreeMap::new(),
            };
            for task_type in &groups.types {
                let (own, after) = rest.split_at(layout.len());
                rest = after;
                site.groups.insert(*task_type, layout.read(own));
            }
            batch.add_site(record.site, &site)?;
        }
        self.merge(&batch)
    }

    /// Adds what other batches gave.
    ///
    /// # Errors
    ///
    /// [`AnalyticsError::Experts`] when a projection has another number of experts in it. Nothing
    /// is added then.
    pub fn merge(&mut self, other: &Self) -> Result<(), AnalyticsError> {
        for (site, sums) in &other.sites {
            self.check(*site, sums.experts)?;
        }
        for (site, sums) in &other.sites {
            self.add_site(*site, sums)?;
        }
        Ok(())
    }

    fn check(&self, site: Site, found: usize) -> Result<(), AnalyticsError> {
        match self.sites.iter().find(|(known, _)| *known == site) {
            Some((_, known)) if known.experts != found => Err(AnalyticsError::Experts {
                site: site.to_string(),
                expected: known.experts,
                found,
            }),
            _ => Ok(()),
        }
    }

    fn add_site(&mut self, site: Site, sums: &SiteSums) -> Result<(), AnalyticsError> {
        self.check(site, sums.experts)?;
        let at = self.sites.iter().position(|(known, _)| *known == site).unwrap_or_else(|| {
            self.sites.push((site, SiteSums { groups: BTreeMap::new(), ..sums.clone() }));
            self.sites.len() - 1
        });
        let known = &mut self.sites[at].1;
        for (task_type, group) in &sums.groups {
            // A type of which a batch has only padding was not seen.
            if group.tokens > 0.0 {
                known.groups.entry(*task_type).or_default().add(group);
            }
        }
        Ok(())
    }
}

/// The tokens of a batch by task type.
struct Groups {
    types: Vec<Option<i64>>,
    /// `[K, T]`, 1 where a token is of the type, and no padding.
    members: Tensor<2>,
}

impl Groups {
    fn of(tape: &RoutingTape) -> Self {
        let context = tape.context();
        let (batch, seq) = (context.batch_size, context.seq_len);
        let device = tape.records()[0].routing.weights.device();
        let of_samples: Vec<Option<i64>> = match &context.task_types {
            Some(types) => types.clone().into_data().iter::<i64>().map(Some).collect(),
            None => vec![None; batch],
        };
        let mut types = of_samples.clone();
        types.sort_unstable();
        types.dedup();
        let members: Vec<f32> = types
            .iter()
            .flat_map(|wanted| of_samples.iter().map(move |of| f32::from(u8::from(of == wanted))))
            .collect();
        let members = TensorData::new(members, [types.len(), batch, 1]);
        let mut members: Tensor<3> =
            Tensor::<3>::from_data(members, &device).expand([types.len(), batch, seq]);
        if let Some(mask) = &context.token_mask {
            members = members * mask.clone().float().cast(DType::F32).unsqueeze_dim::<3>(0);
        }
        let members = members.reshape([types.len(), batch * seq]);
        Self { types, members }
    }

    /// The sums of one projection, as [`Layout`] says, for one type after the other.
    fn reduce(&self, record: &RoutingRecord) -> Tensor<1> {
        let routing = &record.routing;
        let [tokens, experts] = routing.weights.dims();
        let weights = routing.weights.clone().detach();
        let selection = match &routing.selection {
            Some(selection) => selection.clone().detach(),
            None => weights.ones_like(),
        };
        let total = weights.clone().sum_dim(1).clamp_min(f64::from(f32::MIN_POSITIVE));
        let mut columns = vec![
            Tensor::ones([tokens, 1], &weights.device()),
            selection.clone(),
            weights.clone(),
            normalised_entropy(routing.probabilities.clone().detach(), 1.0),
            normalised_entropy(weights / total, 1.0),
        ];
        if let Some(distance) = &routing.extras.distance {
            columns.push(distance.clone().detach().unsqueeze_dim(1));
        }
        let mut sums = matmul(self.members.clone(), Tensor::cat(columns, 1));
        if routing.selection.is_some() {
            let pairs = (0..self.types.len()).map(|group| {
                let members = self.members.clone().slice([group..group + 1, 0..tokens]).transpose();
                let own = (selection.clone() * members).transpose();
                matmul(own, selection.clone()).reshape([1, experts * experts])
            });
            sums = Tensor::cat(vec![sums, Tensor::cat(pairs.collect(), 0)], 1);
        }
        let [groups, length] = sums.dims();
        sums.reshape([groups * length])
    }
}

/// Where the sums of a projection are in what was read: tokens, selected `[E]`, weights `[E]`, the
/// two entropies, then, where there are any, distances and pairs `[E, E]`.
struct Layout {
    experts: usize,
    distance: bool,
    pairs: bool,
}

impl Layout {
    fn of(record: &RoutingRecord) -> Self {
        Self {
            experts: record.routing.num_experts(),
            distance: record.routing.extras.distance.is_some(),
            pairs: record.routing.selection.is_some(),
        }
    }

    fn len(&self) -> usize {
        let pairs = if self.pairs { self.experts * self.experts } else { 0 };
        3 + 2 * self.experts + usize::from(self.distance) + pairs
    }

    fn read(&self, sums: &[f64]) -> GroupSums {
        let (selected, weights) = (1, 1 + self.experts);
        let rest = weights + self.experts;
        let pairs = rest + 2 + usize::from(self.distance);
        GroupSums {
            tokens: sums[0],
            selected: sums[selected..weights].to_vec(),
            weight: sums[weights..rest].to_vec(),
            entropy: sums[rest],
            weight_entropy: sums[rest + 1],
            distance: self.distance.then(|| sums[rest + 2]),
            pairs: self.pairs.then(|| sums[pairs..].to_vec()),
        }
    }
}

#[cfg(test)]
mod tests;
