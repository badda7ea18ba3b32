mod mixture;
mod single;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{AdapterConfig, AdapterError};

/// A published method, as a configuration.
///
/// Where a paper and the code published with it differ, both are presets: `…-paper` and
/// `…-released`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// LoRA of rank 32 on the feed-forward linears (arXiv 2106.09685), the baseline of the
    /// mixtures.
    Lora,
    /// LoRA scaled by lora_alpha / sqrt(r) (arXiv 2312.03732).
    Rslora,
    /// LoRA+: B learns 16 times faster than A (arXiv 2402.12354).
    LoraPlus,
    /// DoRA: direction by LoRA, magnitude by itself (arXiv 2402.09353).
    Dora,
    /// PiSSA: starts from the principal triplets of the weight (arXiv 2404.02948).
    Pissa,
    /// MiLoRA: starts from the minor triplets of the weight (arXiv 2406.09044).
    Milora,
    /// OLoRA: starts from the weight's QR decomposition (arXiv 2406.01775).
    Olora,
    /// full fine-tuning of the feed-forward linears, without any adapter.
    Full,
    /// LoRAMoE as in the paper: 6 experts, dense router, localised balancing (arXiv 2312.09979).
    LoramoePaper,
    /// LoRAMoE as in its released script: 8 experts, balancing switched off.
    LoramoeReleased,
    /// GOAT as in the paper: 8 SVD segments, top-2, theoretical scaling with eta 0.1 (arXiv
    /// 2502.16894).
    GoatPaper,
    /// GOAT as in its released code: scaling lora_alpha / d, balance loss k times larger.
    GoatReleased,
    /// SLIM: 8 LoRA and 2 identity experts, weight yielding by sliding clusters (arXiv 2410.07739).
    Slim,
    /// SLIM with dynamic merging in training and not at inference, and a scaling of 1.
    SlimLiteral,
    /// MixLoRA: 8 feed-forward experts behind one top-2 router, plain LoRA on attention (arXiv
    /// 2404.15159).
    Mixlora,
    /// MixLoRA with top-p routing, p = 0.8.
    MixloraDynamic,
    /// MixLoRA with one expert a token, capacity and z-loss.
    MixloraSwitch,
    /// MoLA with more experts in upper layers: 2, 4, 6, 8 by quarter, top-2 (arXiv 2402.08562).
    MolaInvertedTriangle,
    /// MoLA with more experts in lower layers: 8, 6, 4, 2 by quarter.
    MolaTriangle,
    /// MoLA with more experts in outer layers: 8, 2, 2, 8 by quarter.
    MolaHourglass,
    /// MoLA with 5 experts in every layer.
    MolaRectangle,
    /// MoLoRA: dense mixture of 8 LoRA experts of rank 4, router with bias (arXiv 2309.05444).
    Molora,
    /// MoV: dense mixture of 8 (IA)^3 vectors (arXiv 2309.05444).
    Mov,
    /// HydraLoRA: one shared A, 3 B, dense router (arXiv 2404.19245).
    Hydralora,
    /// AdaMoLE: 8 experts above an adaptive threshold, on attention (arXiv 2405.00361).
    Adamole,
    /// DynMoLE: top-p or all experts, by the router's entropy (arXiv 2504.00661).
    Dynmole,
    /// LD-MoLE: sparsegen with a learned sparsity (arXiv 2509.25684).
    LdMole,
    /// X-LoRA: 9 experts in all linears, mixed by a classifier of the hidden states of a first pass
    /// (arXiv 2402.07148).
    XLora,
}

impl Preset {
    /// All presets, in the order of the documentation.
    pub const ALL: [Self; 28] = [
        Self::Lora,
        Self::Rslora,
        Self::LoraPlus,
        Self::Dora,
        Self::Pissa,
        Self::Milora,
        Self::Olora,
        Self::Full,
        Self::LoramoePaper,
        Self::LoramoeReleased,
        Self::GoatPaper,
        Self::GoatReleased,
        Self::Slim,
        Self::SlimLiteral,
        Self::Mixlora,
        Self::MixloraDynamic,
        Self::MixloraSwitch,
        Self::MolaInvertedTriangle,
        Self::MolaTriangle,
        Self::MolaHourglass,
        Self::MolaRectangle,
        Self::Molora,
        Self::Mov,
        Self::Hydralora,
        Self::Adamole,
        Self::Dynmole,
        Self::LdMole,
        Self::XLora,
    ];

    /// Its name in configuration files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lora => "lora",
            Self::Rslora => "rslora",
            Self::LoraPlus => "lora-plus",
            Self::Dora => "dora",
            Self::Pissa => "pissa",
            Self::Milora => "milora",
            Self::Olora => "olora",
            Self::Full => "full",
            Self::LoramoePaper => "loramoe-paper",
            Self::LoramoeReleased => "loramoe-released",
            Self::GoatPaper => "goat-paper",
            Self::GoatReleased => "goat-released",
            Self::Slim => "slim",
            Self::SlimLiteral => "slim-literal",
            Self::Mixlora => "mixlora",
            Self::MixloraDynamic => "mixlora-dynamic",
            Self::MixloraSwitch => "mixlora-switch",
            Self::MolaInvertedTriangle => "mola-inverted-triangle",
            Self::MolaTriangle => "mola-triangle",
            Self::MolaHourglass => "mola-hourglass",
            Self::MolaRectangle => "mola-rectangle",
            Self::Molora => "molora",
            Self::Mov => "mov",
            Self::Hydralora => "hydralora",
            Self::Adamole => "adamole",
            Self::Dynmole => "dynmole",
            Self::LdMole => "ld-mole",
            Self::XLora => "x-lora",
        }
    }

    /// One sentence on what it is.
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Lora => {
                "LoRA of rank 32 on the feed-forward linears (arXiv 2106.09685), the baseline of the mixtures"
            }
            Self::Rslora => "LoRA scaled by lora_alpha / sqrt(r) (arXiv 2312.03732)",
            Self::LoraPlus => "LoRA+: B learns 16 times faster than A (arXiv 2402.12354)",
            Self::Dora => "DoRA: direction by LoRA, magnitude by itself (arXiv 2402.09353)",
            Self::Pissa => {
                "PiSSA: starts from the principal triplets of the weight (arXiv 2404.02948)"
            }
            Self::Milora => {
                "MiLoRA: starts from the minor triplets of the weight (arXiv 2406.09044)"
            }
            Self::Olora => "OLoRA: starts from the weight's QR decomposition (arXiv 2406.01775)",
            Self::Full => "full fine-tuning of the feed-forward linears, without any adapter",
            Self::LoramoePaper => {
                "LoRAMoE as in the paper: 6 experts, dense router, localised balancing (arXiv 2312.09979)"
            }
            Self::LoramoeReleased => {
                "LoRAMoE as in its released script: 8 experts, balancing switched off"
            }
            Self::GoatPaper => {
                "GOAT as in the paper: 8 SVD segments, top-2, theoretical scaling with eta 0.1 (arXiv 2502.16894)"
            }
            Self::GoatReleased => {
                "GOAT as in its released code: scaling lora_alpha / d, balance loss k times larger"
            }
            Self::Slim => {
                "SLIM: 8 LoRA and 2 identity experts, weight yielding by sliding clusters (arXiv 2410.07739)"
            }
            Self::SlimLiteral => {
                "SLIM with dynamic merging in training and not at inference, and a scaling of 1"
            }
            Self::Mixlora => {
                "MixLoRA: 8 feed-forward experts behind one top-2 router, plain LoRA on attention (arXiv 2404.15159)"
            }
            Self::MixloraDynamic => "MixLoRA with top-p routing, p = 0.8",
            Self::MixloraSwitch => "MixLoRA with one expert a token, capacity and z-loss",
            Self::MolaInvertedTriangle => {
                "MoLA with more experts in upper layers: 2, 4, 6, 8 by quarter, top-2 (arXiv 2402.08562)"
            }
            Self::MolaTriangle => "MoLA with more experts in lower layers: 8, 6, 4, 2 by quarter",
            Self::MolaHourglass => "MoLA with more experts in outer layers: 8, 2, 2, 8 by quarter",
            Self::MolaRectangle => "MoLA with 5 experts in every layer",
            Self::Molora => {
                "MoLoRA: dense mixture of 8 LoRA experts of rank 4, router with bias (arXiv 2309.05444)"
            }
            Self::Mov => "MoV: dense mixture of 8 (IA)^3 vectors (arXiv 2309.05444)",
            Self::Hydralora => "HydraLoRA: one shared A, 3 B, dense router (arXiv 2404.19245)",
            Self::Adamole => {
                "AdaMoLE: 8 experts above an adaptive threshold, on attention (arXiv 2405.00361)"
            }
            Self::Dynmole => {
                "DynMoLE: top-p or all experts, by the router's entropy (arXiv 2504.00661)"
            }
            Self::LdMole => "LD-MoLE: sparsegen with a learned sparsity (arXiv 2509.25684)",
            Self::XLora => {
                "X-LoRA: 9 experts in all linears, mixed by a classifier of the hidden states of a first pass (arXiv 2402.07148)"
            }
        }
    }

    /// The configuration.
    pub fn config(self) -> AdapterConfig {
        match self {
            Self::Lora => single::lora(),
            Self::Rslora => single::rslora(),
            Self::LoraPlus => single::lora_plus(),
            Self::Dora => single::dora(),
            Self::Pissa => single::pissa(),
            Self::Milora => single::milora(),
            Self::Olora => single::olora(),
            Self::Full => single::full(),
            Self::LoramoePaper => mixture::loramoe_paper(),
            Self::LoramoeReleased => mixture::loramoe_released(),
            Self::GoatPaper => mixture::goat_paper(),
            Self::GoatReleased => mixture::goat_released(),
            Self::Slim => mixture::slim(),
            Self::SlimLiteral => mixture::slim_literal(),
            Self::Mixlora => mixture::mixlora(),
            Self::MixloraDynamic => mixture::mixlora_dynamic(),
            Self::MixloraSwitch => mixture::mixlora_switch(),
            Self::MolaInvertedTriangle => mixture::mola([2, 4, 6, 8]),
            Self::MolaTriangle => mixture::mola([8, 6, 4, 2]),
            Self::MolaHourglass => mixture::mola([8, 2, 2, 8]),
            Self::MolaRectangle => mixture::mola([5, 5, 5, 5]),
            Self::Molora => mixture::molora(),
            Self::Mov => mixture::mov(),
            Self::Hydralora => mixture::hydralora(),
            Self::Adamole => mixture::adamole(),
            Self::Dynmole => mixture::dynmole(),
            Self::LdMole => mixture::ld_mole(),
            Self::XLora => mixture::x_lora(),
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
