use std::cell::OnceCell;
use std::collections::BTreeMap;

use burn::tensor::{DType, Tensor};
use fused_ops::{matmul, runs_device_kernels, stack};
use router::{BatchContext, RoutingRecord};
use serde::{Deserialize, Serialize};

use crate::BalanceLossError;

/// How the losses of a model's layers become one number.
///
/// In a model of 32 layers with 7 adapted projections `sum` is 224 times `mean`, so it belongs
/// with the coefficient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// The sum over all routed projections.
    #[default]
    Sum,
    /// The mean over all routed projections.
    Mean,
    /// One loss over the tokens of all routed projections, as if they were those of one layer
    /// (transformers' `load_balancing_loss_func`, MixLoRA). Expert `e` of one layer then counts
    /// together with expert `e` of the others, so all need the same number of experts.
    Concatenate,
}

impl Aggregation {
    /// Takes values of each record, `[T, N]` some times, pools them over tokens to a statistic that adds
    /// up over layers, from `[G, T, N]` of some records to `[G, .., N]` beside each other, and gives the
    /// loss of the statistics: of each, or of all together. Those of one shape are computed at once,
    /// because a device takes as long to be asked as to compute so little.
    ///
    /// `None` without records.
    pub(crate) fn over<const V: usize>(
        self,
        records: &[RoutingRecord],
        values: impl Fn(&RoutingRecord) -> Result<[Tensor<2>; V], BalanceLossError>,
        pool: impl Fn(Tensor<3>) -> Tensor<3>,
        loss: impl Fn(Pooled) -> Tensor<1>,
    ) -> Result<Option<Tensor<1>>, BalanceLossError> {
        if self == Self::Concatenate {
            check_experts(records)?;
        }
        let mut alike = BTreeMap::<[[usize; 2]; V], [Vec<Tensor<2>>; V]>::new();
        for values in records.iter().map(values) {
            let values = values?;
            let shapes = values.each_ref().map(Tensor::dims);
            let lists = alike.entry(shapes).or_insert_with(|| std::array::from_fn(|_| Vec::new()));
            lists.iter_mut().zip(values).for_each(|(list, values)| list.push(values));
        }
        let pooled = alike.into_values().map(|lists| beside(lists.map(|list| pooled(list, &pool))));
        if self == Self::Concatenate {
            let sum = pooled.map(|sums| sums.sum_dim(0)).reduce(|sum, next| sum + next);
            return Ok(sum.map(|sums| loss(Pooled { sums, layers: records.len() })));
        }
        let losses = pooled.map(|sums| loss(Pooled { sums, layers: 1 }).sum());
        let sum = losses.reduce(|sum, next| sum + next);
        Ok(sum.map(|sum| match self {
            Self::Mean => sum / records.len() as f64,
            _ => sum,
        }))
    }

    /// Refuses what makes no sense for a penalty on parameters, which have no tokens.
    pub(crate) fn check_without_tokens(self, loss: &'static str) -> Result<(), BalanceLossError> {
        match self {
            Self::Concatenate => Err(BalanceLossError::NoTokens { loss }),
            Self::Sum | Self::Mean => Ok(()),
        }
    }
}

/// The statistics of values of one shape, `[G, ..]`: of all at once where small operations are slow.
fn pooled(values: Vec<Tensor<2>>, pool: &impl Fn(Tensor<3>) -> Tensor<3>) -> Tensor<3> {
    if values.first().is_some_and(runs_device_kernels) {
        return pool(stack(values));
    }
    Tensor::cat(values.into_iter().map(|values| pool(values.unsqueeze_dim(0))).collect(), 0)
}

fn beside<const V: usize>(statistics: [Tensor<3>; V]) -> Tensor<3> {
    let mut statistics = Vec::from(statistics);
    match statistics.len() {
        1 => statistics.remove(0),
        _ => Tensor::cat(statistics, 2),
    }
}

fn check_experts(records: &[RoutingRecord]) -> Result<(), BalanceLossError> {
    let Some(first) = records.first() else { return Ok(()) };
    let expected = first.routing.num_experts();
    match records.iter().find(|record| record.routing.num_experts() != expected) {
        None => Ok(()),
        Some(other) => Err(BalanceLossError::Concatenate {
            expected,
            found: other.routing.num_experts(),
            first: first.site.to_string(),
            site: other.site.to_string(),
        }),
    }
}

/// Sums of the statistics of some layers, for each of which there is a loss.
pub(crate) struct Pooled {
    /// The sums, `[G, ..]`.
    pub(crate) sums: Tensor<3>,
    /// Each is of so many layers.
    pub(crate) layers: usize,
}

impl Pooled {
    /// The statistics' means: where they are means over tokens, those over the tokens of all layers.
    pub(crate) fn mean(self) -> Tensor<3> {
        match self.layers {
            1 => self.sums,
            layers => self.sums / layers as f64,
        }
    }
}

/// `var / (mean^2 + 1e-10)` over experts, of `[G, 1, E]`: the squared coefficients of variation, with
/// the unbiased variance, `[G]`.
pub(crate) fn squared_variation(values: Tensor<3>) -> Tensor<1> {
    let degrees = values.dims()[2].saturating_sub(1).max(1) as f64;
    let mean = values.clone().mean_dim(2);
    let centred = values - mean.clone();
    let variance = (centred.clone() * centred).sum_dim(2) / degrees;
    of_each(variance / (mean.clone() * mean + 1e-10))
}

/// `[G, 1, 1]` as `[G]`.
pub(crate) fn of_each(values: Tensor<3>) -> Tensor<1> {
    let [groups, ..] = values.dims();
    values.reshape([groups])
}

/// Whether padding counts in a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaddingPolicy {
    /// Padding is left out.
    #[default]
    Exclude,
    /// Padding counts like any token, as in published code that has no mask.
    Include,
}

impl PaddingPolicy {
    /// 1 for the tokens that count and 0 for others, `[B, S]`; `None` where all do.
    fn mask(self, context: &BatchContext) -> Option<Tensor<2>> {
        match (self, &context.token_mask) {
            (Self::Exclude, Some(mask)) => Some(mask.clone().float().cast(DType::F32)),
            _ => None,
        }
    }

    /// Means over the tokens that count.
    pub(crate) fn token_mean(self, context: &BatchContext) -> TokenMean {
        let tokens = context.num_tokens();
        let shares = self.mask(context).map(|mask| {
            let mask = mask.reshape([1, tokens]);
            let count = mask.clone().sum_dim(1).clamp_min(1.0);
            mask / count
        });
        TokenMean { shares: shares.map_or_else(OnceCell::new, OnceCell::from) }
    }

    /// Sums over the tokens of each sample that count.
    pub(crate) fn sample_sum(self, context: &BatchContext) -> SampleSum {
        let dims = [context.batch_size, 1, context.seq_len];
        let counts = self.mask(context).map(|mask| mask.reshape(dims));
        SampleSum { dims, counts: counts.map_or_else(OnceCell::new, OnceCell::from) }
    }
}

/// Takes means over the tokens that count.
pub(crate) struct TokenMean {
    /// `[1, T]`, the share of each token in the mean; set by the first tensor where all count.
    shares: OnceCell<Tensor<2>>,
}

impl TokenMean {
    /// The means of `[G, T, N]` over tokens, `[G, 1, N]`.
    pub(crate) fn of(&self, values: Tensor<3>) -> Tensor<3> {
        let [groups, tokens, _] = values.dims();
        let share = 1.0 / tokens.max(1) as f64;
        let even = || Tensor::full([1, tokens], share, (&values.device(), DType::F32));
        let shares = self.shares.get_or_init(even).clone();
        // A product, which is one operation each way.
        matmul(shares.unsqueeze_dim::<3>(0).expand([groups, 1, tokens]), values)
    }
}

/// Takes sums over the tokens of each sample that count.
pub(crate) struct SampleSum {
    dims: [usize; 3],
    /// `[B, 1, S]`, 1 for a token that counts and 0 for others; set by the first tensor where all count.
    counts: OnceCell<Tensor<3>>,
}

impl SampleSum {
    /// The sums of `[G, B S, N]` over the tokens of each sample, `[G, B, N]`.
    pub(crate) fn of(&self, values: Tensor<3>) -> Tensor<3> {
        let ([batch, _, seq], [groups, _, width]) = (self.dims, values.dims());
        let all = || Tensor::ones(self.dims, (&values.device(), DType::F32));
        let counts = self.counts.get_or_init(all).clone().unsqueeze_dim::<4>(0);
        let counts = counts.expand([groups, batch, 1, seq]).reshape([groups * batch, 1, seq]);
        let sums = matmul(counts, values.reshape([groups * batch, seq, width]));
        sums.reshape([groups, batch, width])
    }
}
