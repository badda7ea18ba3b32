use std::fmt;
use std::str::FromStr;

use balance_loss::{BalanceLossConfig, LocalizedBalancingConfig, PaddingPolicy, VariationForm};
use lora_expert::DropoutMask;
use router::RouterConfig;
use serde::{Deserialize, Serialize};
use svd_init::InitConfig;

use crate::{AdapterConfig, AdapterError, TargetModules};

/// A published method, as a configuration.
///
/// Where a paper and the code published with it differ, both are presets: `…-paper` and
/// `…-released`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// LoRA (arXiv 2106.09685) on the feed-forward linears, with the total rank of eight experts
    /// of rank 4: the baseline of the LoRAMoE presets.
    Lora,
    /// LoRAMoE as in the paper (arXiv 2312.09979, section 4.1): 6 experts of rank 4, alpha 32,
    /// dropout 0.05, localised balancing with beta = delta = 0.1 as `var / mean`.
    LoramoePaper,
    /// LoRAMoE as in the released training script: 8 experts, a dropout mask for each expert, and
    /// the constraint (there `var / mean^2`, padding counted) switched off by beta = delta = 0.
    LoramoeReleased,
}

impl Preset {
    /// All presets, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Lora, Self::LoramoePaper, Self::LoramoeReleased];

    /// Its name in configuration files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lora => "lora",
            Self::LoramoePaper => "loramoe-paper",
            Self::LoramoeReleased => "loramoe-released",
        }
    }

    /// One sentence on what it is.
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Lora => "one LoRA of rank 32 on the feed-forward linears (arXiv 2106.09685)",
            Self::LoramoePaper => {
                "LoRAMoE as in the paper: 6 experts, dense router, localised balancing \
                 (arXiv 2312.09979)"
            }
            Self::LoramoeReleased => {
                "LoRAMoE as in its released script: 8 experts, balancing switched off"
            }
        }
    }

    /// The configuration.
    pub fn config(self) -> AdapterConfig {
        let loramoe = AdapterConfig {
            r: 4,
            lora_alpha: 32.0,
            use_rslora: false,
            lora_dropout: 0.05,
            dropout_mask: DropoutMask::Shared,
            num_experts: 6,
            target_modules: TargetModules::feed_forward(),
            layers_to_transform: None,
            init: InitConfig::Lora,
            router: RouterConfig::default(),
            balance_loss: Some(BalanceLossConfig::LocalizedBalancing(
                LocalizedBalancingConfig::default(),
            )),
        };
        match self {
            Self::Lora => AdapterConfig {
                r: 32,
                lora_alpha: 64.0,
                num_experts: 1,
                balance_loss: None,
                ..loramoe
            },
            Self::LoramoePaper => loramoe,
            Self::LoramoeReleased => AdapterConfig {
                num_experts: 8,
                dropout_mask: DropoutMask::PerExpert,
                balance_loss: Some(BalanceLossConfig::LocalizedBalancing(
                    LocalizedBalancingConfig {
                        blc_weight: 0.0,
                        blc_alpha: 0.0,
                        form: VariationForm::Cv2,
                        padding: PaddingPolicy::Include,
                        ..LocalizedBalancingConfig::default()
                    },
                )),
                ..loramoe
            },
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = AdapterError;

    fn from_str(name: &str) -> Result<Self, AdapterError> {
        Self::ALL.into_iter().find(|preset| preset.name() == name).ok_or_else(|| {
            let allowed: Vec<_> = Self::ALL.iter().map(|preset| preset.name()).collect();
            AdapterError::UnknownPreset { name: name.into(), allowed: allowed.join(", ") }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid_and_survives_a_file() {
        for preset in Preset::ALL {
            let config = preset.config();
            config.check().unwrap();
            let json = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<AdapterConfig>(&json).unwrap(), config, "{preset}");
            assert_eq!(preset.name().parse::<Preset>().unwrap(), preset);
        }
    }

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        let error = "loramoe".parse::<Preset>().unwrap_err().to_string();
        assert!(error.contains("loramoe-paper"), "{error}");
    }
}
