use std::fmt;
use std::str::FromStr;

use moe_adapter::{AdapterError, AdapterFiles, StoredAdapter};
use serde::{Deserialize, Serialize};

use crate::{FormatError, Source, adamole, goat, loramoe, moe_peft, mola, peft, x_lora};

/// A layout of adapter folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdapterFormat {
    /// That of this project, which expresses every method.
    Native,
    /// PEFT's LoRA, rsLoRA, DoRA, PiSSA and OLoRA.
    Peft,
    /// PEFT's X-LoRA: a classifier, and a LoRA in a folder for each expert.
    XLora,
    /// LoRAMoE's published code.
    Loramoe,
    /// HydraLoRA's published code.
    Hydralora,
    /// GOAT's published code.
    Goat,
    /// AdaMoLE's published code.
    Adamole,
    /// MoLA's published code.
    Mola,
    /// MixLoRA, as MoE-PEFT writes it.
    Mixlora,
    /// LoRAMoE, as MoE-PEFT writes it.
    MoePeftLoramoe,
    /// MoLA, as MoE-PEFT writes it.
    MoePeftMola,
    /// DynMoLE, as MoE-PEFT writes it.
    MoePeftDynmole,
}

impl AdapterFormat {
    /// All layouts.
    pub const ALL: [Self; 12] = [
        Self::Native,
        Self::Peft,
        Self::XLora,
        Self::Loramoe,
        Self::Hydralora,
        Self::Goat,
        Self::Adamole,
        Self::Mola,
        Self::Mixlora,
        Self::MoePeftLoramoe,
        Self::MoePeftMola,
        Self::MoePeftDynmole,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Peft => "peft",
            Self::XLora => "x-lora",
            Self::Loramoe => "loramoe",
            Self::Hydralora => "hydralora",
            Self::Goat => "goat",
            Self::Adamole => "adamole",
            Self::Mola => "mola",
            Self::Mixlora => "mixlora",
            Self::MoePeftLoramoe => "moe-peft-loramoe",
            Self::MoePeftMola => "moe-peft-mola",
            Self::MoePeftDynmole => "moe-peft-dynmole",
        }
    }

    /// Whether what a start took out of the frozen weights is not stored: whoever loads the
    /// adapter repeats the start.
    pub const fn repeats_start(self) -> bool {
        matches!(self, Self::Peft | Self::Goat)
    }

    /// Whether it has no place for a single adapter.
    pub const fn only_mixtures(self) -> bool {
        !matches!(self, Self::Native | Self::Peft)
    }

    pub(crate) fn decode(self, raw: &AdapterFiles) -> Result<StoredAdapter, FormatError> {
        match self {
            Self::Native => decode_native(raw),
            Self::Peft => peft::decode(raw),
            Self::XLora => x_lora::decode(raw),
            Self::Loramoe => loramoe::decode(raw),
            Self::Hydralora => loramoe::decode_hydra(raw),
            Self::Goat => goat::decode(raw),
            Self::Adamole => adamole::decode(raw),
            Self::Mola => mola::decode(raw),
            Self::Mixlora => moe_peft::decode_mixlora(raw),
            Self::MoePeftLoramoe => moe_peft::decode_loramoe(raw),
            Self::MoePeftMola => moe_peft::decode_mola(raw),
            Self::MoePeftDynmole => moe_peft::decode_dynmole(raw),
        }
    }

    /// What the layout can say of an adapter; differences are found by decoding it again.
    pub(crate) fn encode(self, adapter: &StoredAdapter) -> Result<AdapterFiles, FormatError> {
        match self {
            Self::Native => Ok(adapter.encode()),
            Self::Peft => peft::encode(adapter),
            Self::XLora => x_lora::encode(adapter),
            Self::Loramoe => loramoe::encode(adapter),
            Self::Hydralora => loramoe::encode_hydra(adapter),
            Self::Goat => goat::encode(adapter),
            Self::Adamole => adamole::encode(adapter),
            Self::Mola => mola::encode(adapter),
            Self::Mixlora => moe_peft::encode_mixlora(adapter),
            Self::MoePeftLoramoe => moe_peft::encode_loramoe(adapter),
            Self::MoePeftMola => moe_peft::encode_mola(adapter),
            Self::MoePeftDynmole => moe_peft::encode_dynmole(adapter),
        }
    }
}

/// This project's layout; what it carries of another one must be a [`Source`].
fn decode_native(raw: &AdapterFiles) -> Result<StoredAdapter, FormatError> {
    let adapter = StoredAdapter::decode(raw)?;
    let of_config = |source| AdapterError::Config { path: raw.config_path(), source };
    Source::of(&adapter).map_err(of_config)?;
    Ok(adapter)
}

impl fmt::Display for AdapterFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for AdapterFormat {
    type Err = FormatError;

    fn from_str(name: &str) -> Result<Self, FormatError> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| {
            let allowed = Self::ALL.map(Self::name).join(", ");
            FormatError::UnknownFormat { name: name.into(), allowed }
        })
    }
}
