use burn::tensor::Tensor;
use router::RoutingTape;
use serde::{Deserialize, Serialize};

use crate::{BalanceLoss, BalanceLossConfig, BalanceLossError};

/// Configuration of [`Sum`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SumConfig {
    /// The losses, each with its own coefficient; at least one.
    pub losses: Vec<BalanceLossConfig>,
}

impl SumConfig {
    /// Checks the configuration.
    ///
    /// # Errors
    ///
    /// [`BalanceLossError`] naming the field that cannot work, when there is no loss to sum too.
    pub fn init(&self) -> Result<Sum, BalanceLossError> {
        if self.losses.is_empty() {
            return Err(BalanceLossError::EmptySum);
        }
        let losses = self.losses.iter().map(BalanceLossConfig::init).collect::<Result<_, _>>()?;
        Ok(Sum { losses })
    }
}

/// Several losses at once: their sum, each with its own coefficient, padding and aggregation.
pub struct Sum {
    losses: Vec<Box<dyn BalanceLoss>>,
}

impl Sum {
    /// The sum of any losses, such as one of your own and one of these.
    pub fn new(losses: Vec<Box<dyn BalanceLoss>>) -> Self {
        Self { losses }
    }
}

impl BalanceLoss for Sum {
    fn loss(&self, tape: &RoutingTape) -> Result<Option<Tensor<1>>, BalanceLossError> {
        let mut sum = None;
        for loss in &self.losses {
            sum = match (sum, loss.loss(tape)?) {
                (Some(sum), Some(loss)) => Some(sum + loss),
                (sum, loss) => sum.or(loss),
            };
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Layer, assert_close, tape, value};
    use crate::{ImportanceConfig, LocalizedBalancingConfig, ZLossConfig};

    fn layer() -> Layer<3> {
        Layer::new(&[[0.5, 0.3, 0.2], [0.6, 0.1, 0.3]])
    }

    fn importance(coefficient: f64) -> BalanceLossConfig {
        BalanceLossConfig::Importance(ImportanceConfig { coefficient, ..Default::default() })
    }

    fn z_loss() -> BalanceLossConfig {
        BalanceLossConfig::ZLoss(ZLossConfig::default())
    }

    fn sum(losses: Vec<BalanceLossConfig>) -> BalanceLossConfig {
        BalanceLossConfig::Sum(SumConfig { losses })
    }

    #[test]
    fn losses_add_up_and_those_without_coefficient_do_not_count() {
        let tape = tape(&[layer()], None);
        let of = |config: &BalanceLossConfig| value(config.init().unwrap().as_ref(), &tape);
        let want = of(&importance(0.1)) + of(&z_loss());
        assert_close(of(&sum(vec![importance(0.1), z_loss()])), want);
        let nested = sum(vec![importance(0.0), sum(vec![z_loss(), importance(0.1)])]);
        assert_close(of(&nested), want);
        let off = sum(vec![importance(0.0)]).init().unwrap();
        assert!(off.loss(&tape).unwrap().is_none());
    }

    #[test]
    fn an_empty_sum_and_bad_members_are_refused() {
        assert_eq!(sum(vec![]).init().err(), Some(BalanceLossError::EmptySum));
        let error = sum(vec![z_loss(), importance(-1.0)]).init().err().unwrap();
        assert!(matches!(error, BalanceLossError::Coefficient { .. }), "{error}");
        let error = sum(vec![sum(vec![])]).init().err();
        assert_eq!(error, Some(BalanceLossError::EmptySum));
    }

    #[test]
    fn task_types_are_needed_where_a_member_needs_them() {
        let localized = LocalizedBalancingConfig::default();
        let off = LocalizedBalancingConfig { blc_weight: 0.0, ..localized.clone() };
        let of = |config| sum(vec![z_loss(), sum(vec![config])]).needs_task_types();
        assert!(of(BalanceLossConfig::LocalizedBalancing(localized)));
        assert!(!of(BalanceLossConfig::LocalizedBalancing(off)));
        assert!(!of(importance(1.0)));
    }
}
