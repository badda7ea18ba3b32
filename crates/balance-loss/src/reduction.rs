use burn::tensor::{DType, Tensor};
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
    /// Reduces each record to a statistic that adds up over layers, and gives the loss of the
    /// statistics: of each, or of all together.
    ///
    /// `None` without records.
    pub(crate) fn over(
        self,
        records: &[RoutingRecord],
        statistic: impl Fn(&RoutingRecord) -> Result<Tensor<2>, BalanceLossError>,
        loss: impl Fn(Pooled) -> Tensor<1>,
    ) -> Result<Option<Tensor<1>>, BalanceLossError> {
        let statistics = records.iter().map(statistic).collect::<Result<Vec<_>, _>>()?;
        if self == Self::Concatenate {
            check_experts(records)?;
            let sum = statistics.into_iter().reduce(|sum, next| sum + next);
            return Ok(sum.map(|sum| loss(Pooled { sum, layers: records.len() })));
        }
        let losses = statistics.into_iter().map(|sum| loss(Pooled { sum, layers: 1 }));
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

/// The sum of the statistics of some layers.
pub(crate) struct Pooled {
    /// The sum.
    pub(crate) sum: Tensor<2>,
    /// Of so many layers.
    pub(crate) layers: usize,
}

impl Pooled {
    /// The statistics' mean: where they are means over tokens, that over the tokens of all layers.
    pub(crate) fn mean(self) -> Tensor<2> {
        match self.layers {
            1 => self.sum,
            layers => self.sum / layers as f64,
        }
    }
}

/// `var / (mean^2 + 1e-10)` over experts, of `[1, E]`: the squared coefficient of variation, with
/// the unbiased variance.
pub(crate) fn squared_variation(values: Tensor<2>) -> Tensor<1> {
    let degrees = values.dims()[1].saturating_sub(1).max(1) as f64;
    let mean = values.clone().mean_dim(1);
    let variance = (values - mean.clone()).powi_scalar(2).sum() / degrees;
    let mean: Tensor<1> = mean.reshape([1]);
    variance / (mean.powi_scalar(2) + 1e-10)
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
    /// The mask to apply to `[B, S, 1]`, where there is anything to leave out.
    pub(crate) fn mask(self, context: &BatchContext) -> Option<Tensor<3>> {
        match (self, &context.token_mask) {
            (Self::Exclude, Some(mask)) => {
                Some(mask.clone().float().cast(DType::F32).unsqueeze_dim(2))
            }
            _ => None,
        }
    }

    /// Means over the tokens that count.
    pub(crate) fn token_mean(self, context: &BatchContext) -> TokenMean {
        let shares = self.mask(context).map(|mask| {
            let mask: Tensor<2> = mask.reshape([context.num_tokens(), 1]);
            let count = mask.clone().sum_dim(0).clamp_min(1.0);
            mask / count
        });
        TokenMean { shares }
    }
}

/// Takes means over the tokens that count.
pub(crate) struct TokenMean {
    /// `[T, 1]`, the share of each token in the mean; `None` where all count.
    shares: Option<Tensor<2>>,
}

impl TokenMean {
    /// The mean of `[T, N]` over tokens, `[1, N]`.
    pub(crate) fn of(&self, values: Tensor<2>) -> Tensor<2> {
        match &self.shares {
            None => values.mean_dim(0),
            Some(shares) => (values * shares.clone()).sum_dim(0),
        }
    }
}
