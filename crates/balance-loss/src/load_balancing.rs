use burn::tensor::Tensor;
use router::{RoutingRecord, RoutingTape};
use serde::{Deserialize, Serialize};

use crate::error::check_coefficient;
use crate::reduction::of_each;
use crate::{Aggregation, BalanceLoss, BalanceLossError, PaddingPolicy, Scores};

/// What the experts' shares `f` of the selections add up to.
///
/// For top-k routing the loss with `k` is `k` times the one with `one`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FSumsTo {
    /// `f_e = count_e / T`, the share of tokens that selected the expert, which sums to the mean
    /// number of selected experts: transformers, MixLoRA, AdaMoLE, DynMoLE, and GOAT's code.
    #[default]
    K,
    /// `f_e = count_e / sum_i count_i`, the share of selections: Switch (where k is 1), and GOAT's
    /// paper, `count_e / (k T)`.
    One,
}

/// Configuration of [`LoadBalancing`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoadBalancingConfig {
    /// The coefficient of the loss; transformers' `router_aux_loss_coef`. Default 0.01.
    pub coefficient: f64,
    /// What the shares of the selections add up to. Default: to k.
    pub f_sums_to: FSumsTo,
    /// What is averaged. Default: the probabilities.
    pub over: Scores,
    /// Whether padding counts. Default: it does not.
    pub padding: PaddingPolicy,
    /// How layers are aggregated. Default: summed.
    pub aggregation: Aggregation,
}

impl Default for LoadBalancingConfig {
    fn default() -> Self {
        Self {
            coefficient: 1e-2,
            f_sums_to: FSumsTo::default(),
            over: Scores::default(),
            padding: PaddingPolicy::default(),
            aggregation: Aggregation::default(),
        }
    }
}

impl LoadBalancingConfig {
    /// Checks the configuration.
    ///
    /// # Errors
    ///
    /// [`BalanceLossError`] naming the field that cannot work.
    pub fn init(&self) -> Result<LoadBalancing, BalanceLossError> {
        check_coefficient("coefficient", self.coefficient)?;
        Ok(LoadBalancing { config: self.clone() })
    }
}

/// The load balancing loss of GShard and Switch (arXiv 2101.03961, equations 4 to 6).
///
/// With the share `f_e` of selections that fell on expert `e` ([`FSumsTo`]), and the mean `P_e` of
/// its scores over tokens,
///
/// ```text
/// loss = coefficient * E * sum_e f_e P_e
/// ```
///
/// The shares are constants to the gradient; it lowers the scores of the experts that are
/// selected most. Balanced routing gives `coefficient` times what `f` sums to. Where every expert
/// is always selected there is nothing to balance: the loss is constant, and
/// [`Importance`](crate::Importance) is the one to use.
#[derive(Debug, Clone)]
pub struct LoadBalancing {
    config: LoadBalancingConfig,
}

impl LoadBalancing {
    /// Whether each token selected each expert, and its scores, `[T, E]` each.
    fn values(&self, record: &RoutingRecord) -> [Tensor<2>; 2] {
        let routing = &record.routing;
        let selected = match &routing.selection {
            Some(selection) => selection.clone(),
            None => routing.weights.ones_like().without_autodiff(),
        };
        [selected, self.config.over.of(routing)]
    }
}

impl BalanceLoss for LoadBalancing {
    fn loss(&self, tape: &RoutingTape) -> Result<Option<Tensor<1>>, BalanceLossError> {
        let config = &self.config;
        if config.coefficient == 0.0 {
            return Ok(None);
        }
        let mean = config.padding.token_mean(tape.context());
        config.aggregation.over(
            tape.records(),
            |record| Ok(self.values(record)),
            |values| mean.of(values),
            |pooled| {
                let statistic = pooled.mean();
                let experts = statistic.dims()[2] / 2;
                // The share of tokens that selected each expert, and its mean score.
                let mut f = statistic.clone().narrow(2, 0, experts);
                if config.f_sums_to == FSumsTo::One {
                    // Nothing may be selected, as where thresholds are high.
                    let sum = f.clone().sum_dim(2).clamp_min(f64::from(f32::MIN_POSITIVE));
                    f = f / sum;
                }
                let p = statistic.narrow(2, experts, experts);
                of_each((f * p).sum_dim(2)) * (config.coefficient * experts as f64)
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Layer, assert_close, descend, refused_coefficients, tape, value};

    fn loss(config: &LoadBalancingConfig) -> LoadBalancing {
        config.init().unwrap()
    }

    fn with(change: impl FnOnce(&mut LoadBalancingConfig)) -> LoadBalancing {
        let mut config = LoadBalancingConfig { coefficient: 1.0, ..Default::default() };
        change(&mut config);
        loss(&config)
    }

    /// Four tokens, three experts, the two most probable selected:
    /// counts 3, 3, 2; mean probabilities 0.35, 0.375, 0.275.
    const P: [[f32; 3]; 4] = [[0.5, 0.3, 0.2], [0.6, 0.1, 0.3], [0.1, 0.7, 0.2], [0.2, 0.4, 0.4]];

    fn layer() -> Layer<3> {
        Layer::new(&P).selecting(&[
            [true, true, false],
            [true, false, true],
            [true, true, false],
            [false, true, true],
        ])
    }

    #[test]
    fn the_loss_is_the_formula() {
        let tape = tape(&[layer()], None);
        let k = 3.0 * (0.75 * 0.35 + 0.75 * 0.375 + 0.5 * 0.275);
        assert_close(value(&with(|_| ()), &tape), k);
        assert_close(value(&with(|c| c.f_sums_to = FSumsTo::One), &tape), k / 2.0);
        assert_close(value(&with(|c| c.coefficient = 0.01), &tape), 0.01 * k);
    }

    #[test]
    fn the_scores_can_be_chosen() {
        let mut layer = layer();
        layer.weights = [[1.0, 0.0, 0.0]; 4].to_vec();
        let plain = tape(std::slice::from_ref(&layer), None);
        assert_close(value(&with(|c| c.over = Scores::Weights), &plain), 3.0 * 0.75);
        // A strategy that names no scores of its own is taken by its probabilities.
        let by_scores = with(|c| c.over = Scores::BalanceScores);
        assert_close(value(&by_scores, &plain), value(&with(|_| ()), &plain));
        layer.balance_scores = Some([[0.0, 0.0, -1.0]; 4].to_vec());
        assert_close(value(&by_scores, &tape(&[layer], None)), -1.5);
    }

    #[test]
    fn padding_changes_nothing_unless_it_is_included() {
        let mut padded = layer();
        padded.probabilities[3] = [1.0, 0.0, 0.0];
        padded.selection.as_mut().unwrap()[3] = [true, false, false];
        let masked = tape(&[padded], Some(&[true, true, true, false]));
        // Counts 3, 2, 1 of three tokens.
        let want = 3.0 * (1.2 / 3.0 + (2.0 / 3.0) * (1.1 / 3.0) + (1.0 / 3.0) * (0.7 / 3.0));
        assert_close(value(&with(|_| ()), &masked), want);
        let included = value(&with(|c| c.padding = PaddingPolicy::Include), &masked);
        assert_close(included, 3.0 * (2.2 / 4.0 + 0.5 * (1.1 / 4.0) + 0.25 * (0.7 / 4.0)));
    }

    #[test]
    fn layers_are_summed_averaged_or_taken_as_one() {
        let one = layer();
        let other = Layer::new(&[[0.1, 0.1, 0.8]; 4]).selecting(&[[false, false, true]; 4]);
        let (a, b) = (
            value(&with(|_| ()), &tape(std::slice::from_ref(&one), None)),
            value(&with(|_| ()), &tape(std::slice::from_ref(&other), None)),
        );
        let both = tape(&[one, other], None);
        assert_close(value(&with(|_| ()), &both), a + b);
        assert_close(value(&with(|c| c.aggregation = Aggregation::Mean), &both), (a + b) / 2.0);
        // Eight tokens: counts 3, 3, 6; the sums of probabilities 1.8, 1.9, 4.3.
        let concatenate = with(|c| c.aggregation = Aggregation::Concatenate);
        let want = 3.0 * (3.0 * 1.8 + 3.0 * 1.9 + 6.0 * 4.3) / 64.0;
        assert_close(value(&concatenate, &both), want);
    }

    #[test]
    fn layers_of_unequal_experts_are_not_taken_as_one() {
        let mut tape = tape(&[layer()], None);
        crate::testing::push(&mut tape, 1, &Layer::new(&[[0.5, 0.5]; 4]));
        let error = with(|c| c.aggregation = Aggregation::Concatenate).loss(&tape).unwrap_err();
        assert!(
            matches!(error, BalanceLossError::Concatenate { expected: 3, found: 2, .. }),
            "{error}"
        );
    }

    #[test]
    fn uniform_routing_is_the_minimum_and_the_gradient_leads_to_it() {
        let even = Layer::new(&[[1.0 / 3.0; 3]; 3]).selecting(&[
            [true, false, false],
            [false, true, false],
            [false, false, true],
        ]);
        assert_close(value(&with(|_| ()), &tape(&[even], None)), 1.0);
        assert!(value(&with(|_| ()), &tape(&[layer()], None)) > 2.0);
        let (before, after) = descend(&with(|_| ()), 1, 0.3);
        assert!(after < 0.2 * before, "the spread of the loads went from {before} to {after}");
    }

    #[test]
    fn a_batch_without_selection_or_tokens_gives_a_number() {
        let none = Layer::new(&P).selecting(&[[false; 3]; 4]);
        let one = with(|c| c.f_sums_to = FSumsTo::One);
        assert_eq!(value(&one, &tape(&[none], None)), 0.0);
        assert_eq!(value(&one, &tape(&[layer()], Some(&[false; 4]))), 0.0);
    }

    #[test]
    fn bad_coefficients_are_refused_and_zero_is_no_loss() {
        refused_coefficients(|coefficient| {
            LoadBalancingConfig { coefficient, ..Default::default() }.init().map(drop)
        });
        assert!(with(|c| c.coefficient = 0.0).loss(&tape(&[layer()], None)).unwrap().is_none());
        assert!(with(|_| ()).loss(&tape::<3>(&[], None)).unwrap().is_none());
    }
}
