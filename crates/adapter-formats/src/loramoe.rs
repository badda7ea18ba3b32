use balance_loss::{BalanceLossConfig, LocalizedBalancingConfig, PaddingPolicy, VariationForm};
use lora_expert::{DropoutMask, ExpertsConfig};
use moe_adapter::{AdapterFiles, StoredAdapter};
use router::RouterConfig;
use serde_json::json;

use crate::common::{decoded, encoded, lora_config, write_lora};
use crate::keys::Keys;
use crate::layout::{Layout, Slot};
use crate::overlay::Overlay;
use crate::values::number;
use crate::{AdapterFormat, FormatError};

const LORAMOE: Layout = Layout {
    prefix: "base_model.model.",
    root: "",
    slots: &[
        ("lora_A{e}.weight", Slot::A),
        ("lora_B{e}.weight", Slot::B),
        ("lora_route.weight", Slot::Router),
    ],
    duplicates: &[],
    write_duplicates: false,
};

const HYDRALORA: Layout = Layout {
    slots: &[
        ("lora_A.weight", Slot::A),
        ("lora_B{e}.weight", Slot::B),
        ("lora_route.weight", Slot::Router),
    ],
    ..LORAMOE
};

pub(crate) fn decode(raw: &AdapterFiles) -> Result<StoredAdapter, FormatError> {
    let mut keys = Keys::of(raw);
    let mut config = lora_config(&mut keys, "r")?;
    config.num_experts = keys.required("lora_nums")?;
    config.router = RouterConfig::default();
    if config.lora_dropout > 0.0 {
        config.dropout_mask = DropoutMask::PerExpert;
    }
    let (weight, alpha) = (keys.optional("blc_weight")?, keys.optional("blc_alpha")?);
    if weight.is_some() || alpha.is_some() {
        config.balance_loss =
            Some(BalanceLossConfig::LocalizedBalancing(LocalizedBalancingConfig {
                blc_weight: weight.unwrap_or(0.0),
                blc_alpha: alpha.unwrap_or(0.0),
                form: VariationForm::Cv2,
                padding: PaddingPolicy::Include,
                ..LocalizedBalancingConfig::default()
            }));
    }
    let experts = config.num_experts;
    decoded(raw, keys, config, &LORAMOE, AdapterFormat::Loramoe, &|_| experts)
}

pub(crate) fn encode(adapter: &StoredAdapter) -> Result<AdapterFiles, FormatError> {
    let mut keys = Overlay::new(adapter, AdapterFormat::Loramoe);
    write_lora(&mut keys, adapter, "LORA", "r");
    keys.set("lora_nums", json!(adapter.config.num_experts));
    if let Some(BalanceLossConfig::LocalizedBalancing(loss)) = &adapter.config.balance_loss {
        keys.set("blc_alpha", number(loss.blc_alpha));
        keys.set("blc_weight", number(loss.blc_weight));
    }
    Ok(encoded(adapter, keys, &LORAMOE, AdapterFormat::Loramoe))
}

pub(crate) fn decode_hydra(raw: &AdapterFiles) -> Result<StoredAdapter, FormatError> {
    let mut keys = Keys::of(raw);
    let mut config = lora_config(&mut keys, "r")?;
    config.num_experts = keys.required("lora_nums")?;
    config.experts = ExpertsConfig::Hydra {};
    // Its code has LoRAMoE's keys and does not use them.
    keys.passive(&["blc_weight", "blc_alpha"]);
    let experts = config.num_experts;
    decoded(raw, keys, config, &HYDRALORA, AdapterFormat::Hydralora, &|_| experts)
}

pub(crate) fn encode_hydra(adapter: &StoredAdapter) -> Result<AdapterFiles, FormatError> {
    let mut keys = Overlay::new(adapter, AdapterFormat::Hydralora);
    write_lora(&mut keys, adapter, "LORA", "r");
    keys.set("lora_nums", json!(adapter.config.num_experts));
    Ok(encoded(adapter, keys, &HYDRALORA, AdapterFormat::Hydralora))
}
