use serde::{Deserialize, Serialize};

use crate::{
    BalanceLoss, BalanceLossError, EntropyConfig, ExpertSimilarityConfig, ImportanceConfig,
    L1Config, LoadBalancingConfig, LoadConfig, LocalizedBalancingConfig, SparsityConfig, SumConfig,
    ZLossConfig,
};

/// A balance loss as configuration files name it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BalanceLossConfig {
    /// See [`LocalizedBalancing`](crate::LocalizedBalancing).
    LocalizedBalancing(LocalizedBalancingConfig),
    /// See [`LoadBalancing`](crate::LoadBalancing).
    LoadBalancing(LoadBalancingConfig),
    /// See [`Importance`](crate::Importance).
    Importance(ImportanceConfig),
    /// See [`Load`](crate::Load).
    Load(LoadConfig),
    /// See [`ZLoss`](crate::ZLoss).
    ZLoss(ZLossConfig),
    /// See [`Entropy`](crate::Entropy).
    Entropy(EntropyConfig),
    /// See [`Sparsity`](crate::Sparsity).
    Sparsity(SparsityConfig),
    /// See [`ExpertSimilarity`](crate::ExpertSimilarity).
    ExpertSimilarity(ExpertSimilarityConfig),
    /// See [`L1`](crate::L1).
    L1(L1Config),
    /// See [`Sum`](crate::Sum).
    Sum(SumConfig),
}

impl BalanceLossConfig {
    /// Checks the configuration and makes the loss.
    ///
    /// # Errors
    ///
    /// [`BalanceLossError`] naming the field that cannot work.
    pub fn init(&self) -> Result<Box<dyn BalanceLoss>, BalanceLossError> {
        Ok(match self {
            Self::LocalizedBalancing(config) => Box::new(config.init()?),
            Self::LoadBalancing(config) => Box::new(config.init()?),
            Self::Importance(config) => Box::new(config.init()?),
            Self::Load(config) => Box::new(config.init()?),
            Self::ZLoss(config) => Box::new(config.init()?),
            Self::Entropy(config) => Box::new(config.init()?),
            Self::Sparsity(config) => Box::new(config.init()?),
            Self::ExpertSimilarity(config) => Box::new(config.init()?),
            Self::L1(config) => Box::new(config.init()?),
            Self::Sum(config) => Box::new(config.init()?),
        })
    }

    /// Whether every sample must have a task type.
    pub fn needs_task_types(&self) -> bool {
        match self {
            Self::LocalizedBalancing(config) => config.blc_weight > 0.0,
            Self::Sum(config) => config.losses.iter().any(Self::needs_task_types),
            Self::LoadBalancing(_)
            | Self::Importance(_)
            | Self::Load(_)
            | Self::ZLoss(_)
            | Self::Entropy(_)
            | Self::Sparsity(_)
            | Self::ExpertSimilarity(_)
            | Self::L1(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 9] = [
        "localized_balancing",
        "load_balancing",
        "importance",
        "load",
        "z_loss",
        "entropy",
        "sparsity",
        "expert_similarity",
        "l1",
    ];

    #[test]
    fn every_loss_has_defaults_survives_a_file_and_refuses_unknown_keys() {
        let parse = |json: &str| serde_json::from_str::<BalanceLossConfig>(json);
        for name in NAMES {
            let config = parse(&format!(r#"{{"type": "{name}"}}"#)).unwrap();
            assert!(config.init().is_ok(), "{name}");
            let json = serde_json::to_string(&config).unwrap();
            assert!(json.contains(&format!(r#""type":"{name}""#)), "{json}");
            assert_eq!(parse(&json).unwrap(), config);
            let error = parse(&format!(r#"{{"type": "{name}", "weight": 1}}"#)).unwrap_err();
            assert!(error.to_string().contains("unknown field `weight`"), "{error}");
        }
    }

    #[test]
    fn a_sum_lists_its_losses() {
        let json = r#"{"type": "sum", "losses": [
            {"type": "entropy", "coefficient": 0.01, "entropic_index": 1.1},
            {"type": "load_balancing", "over": "balance_scores", "f_sums_to": "one"}
        ]}"#;
        let config: BalanceLossConfig = serde_json::from_str(json).unwrap();
        let BalanceLossConfig::Sum(sum) = &config else { panic!("{config:?}") };
        assert_eq!(sum.losses.len(), 2);
        let again = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<BalanceLossConfig>(&again).unwrap(), config);
        let error = serde_json::from_str::<BalanceLossConfig>(r#"{"type": "sum"}"#).unwrap_err();
        assert!(error.to_string().contains("missing field `losses`"), "{error}");
    }
}
