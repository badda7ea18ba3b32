use lora_expert::DropoutMask;
use moe_adapter::{AdapterFiles, Preset, StoredAdapter};
use router::{AdamoleRouterConfig, RouterConfig};
use serde_json::{Value, json};

use crate::common::{decoded, encoded, lora_config, write_lora};
use crate::keys::Keys;
use crate::layout::{Layout, Slot};
use crate::overlay::Overlay;
use crate::{AdapterFormat, FormatError};

const LAYOUT: Layout = Layout {
    prefix: "base_model.model.",
    root: "",
    slots: &[
        ("lora_A.{e}.weight", Slot::A),
        ("lora_B.{e}.weight", Slot::B),
        ("lora_gating.weight", Slot::Router),
        ("lora_threshold.weight", Slot::ThresholdWeight),
        ("lora_threshold.bias", Slot::ThresholdBias),
    ],
    duplicates: &[
        ("moe_layer.experts.{e}.lora_A.weight", Slot::A),
        ("moe_layer.experts.{e}.lora_B.weight", Slot::B),
        ("moe_layer.gate.weight", Slot::Router),
        ("moe_layer.threshold_fn.weight", Slot::ThresholdWeight),
        ("moe_layer.threshold_fn.bias", Slot::ThresholdBias),
    ],
    write_duplicates: false,
};

pub(crate) fn decode(raw: &AdapterFiles) -> Result<StoredAdapter, FormatError> {
    let mut keys = Keys::of(raw);
    keys.passive(&["init_lora_weights"]);
    let mut config = lora_config(&mut keys, "lora_rank")?;
    config.num_experts = keys.or("num_experts", 4)?;
    let max_threshold = keys.optional("max_threshold")?;
    config.router =
        RouterConfig::Adamole(AdamoleRouterConfig { max_threshold, ..Default::default() });
    config.balance_loss = Preset::Adamole.config().balance_loss;
    if config.lora_dropout > 0.0 {
        config.dropout_mask = DropoutMask::PerExpert;
    }
    let experts = config.num_experts;
    decoded(raw, keys, config, &LAYOUT, AdapterFormat::Adamole, &|_| experts)
}

pub(crate) fn encode(adapter: &StoredAdapter) -> Result<AdapterFiles, FormatError> {
    let mut keys = Overlay::new(adapter, AdapterFormat::Adamole);
    write_lora(&mut keys, adapter, "ADAMOLE", "lora_rank");
    keys.set("num_experts", json!(adapter.config.num_experts));
    if let RouterConfig::Adamole(router) = &adapter.config.router {
        keys.set_or("max_threshold", json!(router.max_threshold), Value::Null);
    }
    Ok(encoded(adapter, keys, &LAYOUT, AdapterFormat::Adamole))
}
