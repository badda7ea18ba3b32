use burn::tensor::Tensor;
use router::RoutingTape;
use serde::{Deserialize, Serialize};

use crate::error::check_coefficient;
use crate::reduction::squared_variation;
use crate::{Aggregation, BalanceLoss, BalanceLossError, PaddingPolicy, Scores};

/// Configuration of [`Importance`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportanceConfig {
    /// The coefficient of the loss. Default 0.01.
    pub coefficient: f64,
    /// What is summed over tokens. Default: the combine weights.
    pub over: Scores,
    /// Whether padding counts. Default: it does not.
    pub padding: PaddingPolicy,
    /// How layers are aggregated. Default: summed.
    pub aggregation: Aggregation,
}

impl Default for ImportanceConfig {
    fn default() -> Self {
        Self {
            coefficient: 1e-2,
            over: Scores::Weights,
            padding: PaddingPolicy::default(),
            aggregation: Aggregation::default(),
        }
    }
}

impl ImportanceConfig {
    /// Checks the configuration.
    ///
    /// # Errors
    ///
    /// [`BalanceLossError`] naming the field that cannot work.
    pub fn init(&self) -> Result<Importance, BalanceLossError> {
        check_coefficient("coefficient", self.coefficient)?;
        Ok(Importance { config: self.clone() })
    }
}

/// The importance loss of Shazeer et al. (arXiv 1701.06538, equations 6 and 7).
///
/// ```text
/// I_e  = sum_t w[t, e]
/// loss = coefficient * var(I) / (mean(I)^2 + 1e-10)
/// ```
///
/// the squared coefficient of variation, with the unbiased variance over experts, as PyTorch
/// implementations have it. (Computed from means over tokens, which differ from the sums by a
/// factor that cancels.) It works on dense routing as well, where every expert is selected.
#[derive(Debug, Clone)]
pub struct Importance {
    config: ImportanceConfig,
}

impl BalanceLoss for Importance {
    fn loss(&self, tape: &RoutingTape) -> Result<Option<Tensor<1>>, BalanceLossError> {
        let config = &self.config;
        if config.coefficient == 0.0 {
            return Ok(None);
        }
        let mean = config.padding.token_mean(tape.context());
        config.aggregation.over(
            tape.records(),
            |record| Ok([config.over.of(&record.routing)]),
            |values| mean.of(values),
            |pooled| squared_variation(pooled.mean()) * config.coefficient,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Layer, assert_close, descend, refused_coefficients, tape, value};

    fn with(change: impl FnOnce(&mut ImportanceConfig)) -> Importance {
        let mut config = ImportanceConfig { coefficient: 1.0, ..Default::default() };
        change(&mut config);
        config.init().unwrap()
    }

    /// Importances 1, 2, 3: mean 2, unbiased variance 1.
    fn layer() -> Layer<3> {
        let mut layer = Layer::new(&[[0.9, 0.05, 0.05]; 6]);
        layer.weights = vec![
            [1.0, 0.0, 0.0],
            [0.0, 1.0, 0.0],
            [0.0, 1.0, 0.0],
            [0.0, 0.0, 1.0],
            [0.0, 0.0, 1.0],
            [0.0, 0.0, 1.0],
        ];
        layer
    }

    #[test]
    fn the_loss_is_the_squared_coefficient_of_variation() {
        let tape = tape(&[layer()], None);
        assert_close(value(&with(|_| ()), &tape), 0.25);
        assert_close(value(&with(|c| c.coefficient = 0.1), &tape), 0.025);
        // Of 0.9, 0.05, 0.05.
        let probabilities = value(&with(|c| c.over = Scores::Probabilities), &tape);
        let third = 1.0 / 3.0;
        let variance = ((0.9_f64 - third).powi(2) + 2.0 * (0.05_f64 - third).powi(2)) / 2.0;
        assert_close(probabilities, variance / (third * third));
    }

    #[test]
    fn padding_changes_nothing_unless_it_is_included() {
        // Without the last two tokens: 1, 2, 1.
        let masked = tape(&[layer()], Some(&[true, true, true, true, false, false]));
        let variance = (2.0 * (1.0_f64 - 4.0 / 3.0).powi(2) + (2.0_f64 - 4.0 / 3.0).powi(2)) / 2.0;
        assert_close(value(&with(|_| ()), &masked), variance / (16.0 / 9.0));
        assert_close(value(&with(|c| c.padding = PaddingPolicy::Include), &masked), 0.25);
    }

    #[test]
    fn layers_are_summed_averaged_or_taken_as_one() {
        let mut other = layer();
        other.weights.iter_mut().for_each(|row| row.reverse());
        let both = tape(&[layer(), other], None);
        assert_close(value(&with(|_| ()), &both), 0.5);
        assert_close(value(&with(|c| c.aggregation = Aggregation::Mean), &both), 0.25);
        // Together the importances are 4, 4, 4.
        let concatenate = with(|c| c.aggregation = Aggregation::Concatenate);
        assert!(value(&concatenate, &both).abs() < 1e-12);
    }

    #[test]
    fn uniform_routing_costs_nothing_and_the_gradient_leads_to_it() {
        let even = tape(&[Layer::new(&[[0.25; 4]; 5])], None);
        assert!(value(&with(|_| ()), &even).abs() < 1e-10);
        let (before, after) = descend(&with(|_| ()), 4, 0.3);
        assert!(after < 0.05 * before, "the spread went from {before} to {after}");
        let (before, after) = descend(&with(|_| ()), 2, 0.3);
        assert!(after < 0.3 * before, "the spread went from {before} to {after}");
    }

    #[test]
    fn bad_coefficients_are_refused_and_zero_is_no_loss() {
        refused_coefficients(|coefficient| {
            ImportanceConfig { coefficient, ..Default::default() }.init().map(drop)
        });
        assert!(with(|c| c.coefficient = 0.0).loss(&tape(&[layer()], None)).unwrap().is_none());
    }
}
