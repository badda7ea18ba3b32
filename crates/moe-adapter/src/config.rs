use balance_loss::BalanceLossConfig;
use burn::nn::Linear;
use lora_expert::{DropoutMask, LoraBankConfig};
use rand::Rng;
use router::{RouterConfig, RouterShape};
use serde::{Deserialize, Serialize};
use svd_init::{BankShape, ExpertInit, InitConfig, LayerStatistics};

use crate::{AdapterError, LayersToTransform, MoeAdapter, TargetModules};

/// Everything that makes a method: experts, router, balance loss, start and targets.
///
/// Keys that PEFT has keep its name and meaning. [`Preset`](crate::Preset)s are values of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterConfig {
    /// The rank of each expert.
    pub r: usize,
    /// The numerator of the scaling.
    pub lora_alpha: f64,
    /// The scaling is `lora_alpha / r`, or `lora_alpha / sqrt(r)` where this is true.
    #[serde(default)]
    pub use_rslora: bool,
    /// The probability that an input of the experts is dropped in training.
    #[serde(default)]
    pub lora_dropout: f64,
    /// Whether the experts of a layer share the dropout mask.
    #[serde(default)]
    pub dropout_mask: DropoutMask,
    /// The number of experts of each adapted linear; 1 is a plain LoRA and needs no router.
    #[serde(default = "one")]
    pub num_experts: usize,
    /// The linears to adapt.
    pub target_modules: TargetModules,
    /// The layers to adapt; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers_to_transform: Option<LayersToTransform>,
    /// Where the experts start.
    #[serde(default)]
    pub init: InitConfig,
    /// How experts are chosen; unused with one expert.
    #[serde(default)]
    pub router: RouterConfig,
    /// What keeps the experts in balance; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_loss: Option<BalanceLossConfig>,
}

fn one() -> usize {
    1
}

impl AdapterConfig {
    /// The factor of the experts' output: `lora_alpha / r`, with rsLoRA `lora_alpha / sqrt(r)`.
    pub fn scaling(&self) -> f64 {
        let r = self.r as f64;
        self.lora_alpha / if self.use_rslora { r.sqrt() } else { r }
    }

    /// Whether the adapter routes at all.
    pub fn is_mixture(&self) -> bool {
        self.num_experts > 1
    }

    /// Checks everything that can be checked without a model.
    ///
    /// # Errors
    ///
    /// [`AdapterError`] naming the key, the value and what is allowed.
    pub fn check(&self) -> Result<(), AdapterError> {
        for (key, value) in [("r", self.r), ("num_experts", self.num_experts)] {
            if value == 0 {
                return Err(AdapterError::Zero { key });
            }
        }
        if !(self.lora_alpha.is_finite() && self.lora_alpha > 0.0) {
            return Err(AdapterError::LoraAlpha { value: self.lora_alpha });
        }
        if !(0.0..1.0).contains(&self.lora_dropout) {
            let value = self.lora_dropout;
            return Err(lora_expert::ExpertError::Dropout { value }.into());
        }
        if let Some(loss) = &self.balance_loss {
            if !self.is_mixture() {
                return Err(AdapterError::BalanceWithoutMixture);
            }
            loss.init()?;
        }
        self.target_modules.matcher()?;
        Ok(())
    }

    /// Makes the adapter of one frozen linear, and the weight that replaces the linear's own
    /// where the start asks for it.
    ///
    /// # Errors
    ///
    /// [`AdapterError`] when a part of the configuration does not fit the linear.
    pub fn init_adapter(
        &self,
        linear: &Linear,
        rng: &mut dyn Rng,
    ) -> Result<(MoeAdapter, Option<burn::tensor::Tensor<2>>), AdapterError> {
        let weight = linear.weight.val();
        let device = weight.device();
        let [in_features, out_features] = weight.dims();
        let shape = BankShape {
            num_experts: self.num_experts,
            rank: self.r,
            in_features,
            out_features,
            scaling: self.scaling(),
        };
        let start = self.init.start(&weight, &shape, &LayerStatistics::default(), rng)?;
        let experts = LoraBankConfig::new(start.scaling.unwrap_or(shape.scaling))
            .with_dropout(self.lora_dropout, self.dropout_mask)
            .init(start.lora_a, start.lora_b)?;
        let adapter = if self.is_mixture() {
            let router = {
                let shape = RouterShape::new(in_features, self.num_experts);
                self.router.init(&shape, rng, &device)?
            };
            MoeAdapter::new(router, experts)
        } else {
            MoeAdapter::unrouted(experts)
        };
        Ok((adapter, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;

    fn refused(change: impl FnOnce(&mut AdapterConfig)) -> AdapterError {
        let mut config = Preset::LoramoePaper.config();
        change(&mut config);
        config.check().unwrap_err()
    }

    #[test]
    fn scaling_follows_rank() {
        let mut config = Preset::Lora.config();
        (config.r, config.lora_alpha) = (16, 32.0);
        assert_eq!(config.scaling(), 2.0);
        config.use_rslora = true;
        assert_eq!(config.scaling(), 8.0);
    }

    #[test]
    fn each_bad_value_is_refused_by_its_key() {
        assert!(matches!(refused(|c| c.r = 0), AdapterError::Zero { key: "r" }));
        let error = refused(|c| c.num_experts = 0);
        assert!(matches!(error, AdapterError::Zero { key: "num_experts" }));
        assert!(matches!(refused(|c| c.lora_alpha = 0.0), AdapterError::LoraAlpha { .. }));
        assert!(matches!(refused(|c| c.lora_dropout = 1.0), AdapterError::Expert(_)));
        assert!(matches!(refused(|c| c.num_experts = 1), AdapterError::BalanceWithoutMixture));
        let error = refused(|c| c.target_modules = TargetModules::Names(vec![]));
        assert!(matches!(error, AdapterError::NoTargets));
    }

    #[test]
    fn unknown_keys_are_refused() {
        let json = r#"{"r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "rank": 4}"#;
        let error = serde_json::from_str::<AdapterConfig>(json).unwrap_err();
        assert!(error.to_string().contains("unknown field `rank`"), "{error}");
    }
}
