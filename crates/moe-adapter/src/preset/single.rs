//! One adapter for each linear: the baselines of the mixtures.

use lora_expert::ExpertsConfig;
use svd_init::{InitConfig, OloraConfig, PrincipalConfig};

use crate::{AdapterConfig, TargetModules};

/// LoRA with the total rank of eight experts of rank 4 on the feed-forward linears.
pub(super) fn lora() -> AdapterConfig {
    AdapterConfig {
        lora_dropout: 0.05,
        ..AdapterConfig::lora(32, 32.0, TargetModules::feed_forward())
    }
}

pub(super) fn rslora() -> AdapterConfig {
    AdapterConfig { use_rslora: true, ..lora() }
}

/// The ratio that its authors recommend.
pub(super) fn lora_plus() -> AdapterConfig {
    AdapterConfig { loraplus_lr_ratio: Some(16.0), ..lora() }
}

pub(super) fn dora() -> AdapterConfig {
    AdapterConfig { experts: ExpertsConfig::Dora {}, ..lora() }
}

/// PiSSA is trained without dropout, and with alpha equal to the rank.
pub(super) fn pissa() -> AdapterConfig {
    AdapterConfig {
        lora_dropout: 0.0,
        init: InitConfig::Pissa(PrincipalConfig::default()),
        ..lora()
    }
}

pub(super) fn milora() -> AdapterConfig {
    AdapterConfig { init: InitConfig::Milora(PrincipalConfig::default()), ..lora() }
}

pub(super) fn olora() -> AdapterConfig {
    AdapterConfig { init: InitConfig::Olora(OloraConfig::default()), ..lora() }
}

/// The linears of the feed-forward blocks themselves, without any adapter.
pub(super) fn full() -> AdapterConfig {
    AdapterConfig {
        modules_to_save: Some(TargetModules::feed_forward()),
        ..AdapterConfig::lora(1, 1.0, TargetModules::Names(Vec::new()))
    }
}
