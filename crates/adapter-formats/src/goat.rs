use balance_loss::{BalanceLossConfig, FSumsTo, LoadBalancingConfig};
use lora_expert::DropoutMask;
use moe_adapter::{AdapterConfig, AdapterFiles, ScalingRule, StoredAdapter};
use router::{RouterConfig, TopKRouterConfig};
use serde_json::{Value, json};
use svd_init::{GoatConfig, InitConfig, PrincipalConfig, SvdMethod};

use crate::common::{decoded, encoded, lora_config, write_lora};
use crate::keys::Keys;
use crate::layout::{Layout, Slot};
use crate::overlay::Overlay;
use crate::values::number;
use crate::{AdapterFormat, FormatError};

const LAYOUT: Layout = Layout {
    prefix: "base_model.model.",
    root: "",
    slots: &[
        ("lora_A.{e}.weight", Slot::A),
        ("lora_B.{e}.weight", Slot::B),
        ("lora_gating.weight", Slot::Router),
    ],
    // The same modules, reached through the layer that mixes them.
    duplicates: &[
        ("moe_layer.experts.{e}.lora_A.weight", Slot::A),
        ("moe_layer.experts.{e}.lora_B.weight", Slot::B),
        ("moe_layer.gate.weight", Slot::Router),
    ],
    write_duplicates: true,
};

/// What the published code calls the starts that are here too.
const INITS: [&str; 7] =
    ["goat", "goat_mini", "pissa", "pissa_scale", "milora", "pissa_milora", "lora"];

/// The scaling of the published code's `pissa`.
const PISSA_SCALING: ScalingRule = ScalingRule::Constant { value: 2.0 };

pub(crate) fn decode(raw: &AdapterFiles) -> Result<StoredAdapter, FormatError> {
    let mut keys = Keys::of(raw);
    keys.passive(&["init_lora_weights"]);
    let mut config = lora_config(&mut keys, "r")?;
    config.split_rank = true;
    config.num_experts = keys.or("num_experts", 8)?;
    config.router = RouterConfig::TopK(TopKRouterConfig {
        k: keys.or("top_k", 2)?,
        ..TopKRouterConfig::default()
    });
    config.balance_loss = Some(BalanceLossConfig::LoadBalancing(LoadBalancingConfig {
        coefficient: 1e-3,
        f_sums_to: FSumsTo::K,
        ..LoadBalancingConfig::default()
    }));
    if config.lora_dropout > 0.0 {
        config.dropout_mask = DropoutMask::PerExpert;
    }
    let name: String = keys.required("init_type")?;
    let cof: f64 = keys.or("init_cof", 1.0)?;
    let default = 1.0 / config.num_experts as f64;
    let init_cof = (cof != default).then_some(cof);
    let goat = GoatConfig { init_cof, ..GoatConfig::default() };
    let svd = SvdMethod::Full;
    let principal = PrincipalConfig { init_cof, svd, ..PrincipalConfig::default() };
    config.init = match name.as_str() {
        "goat" => InitConfig::Goat(goat),
        "goat_mini" => InitConfig::GoatMini(goat),
        "pissa" | "pissa_scale" => InitConfig::Pissa(principal),
        "milora" => InitConfig::Milora(principal),
        "pissa_milora" => InitConfig::PissaMilora(principal),
        "lora" | "lora_scale" | "mole" => InitConfig::Lora,
        _ => return Err(keys.refuse("init_type", &name, &format!("one of {INITS:?}"))),
    };
    if name == "pissa" {
        config.scaling = PISSA_SCALING;
    }
    let experts = config.num_experts;
    decoded(raw, keys, config, &LAYOUT, AdapterFormat::Goat, &|_| experts)
}

pub(crate) fn encode(adapter: &StoredAdapter) -> Result<AdapterFiles, FormatError> {
    let config = &adapter.config;
    let mut keys = Overlay::new(adapter, AdapterFormat::Goat);
    write_lora(&mut keys, adapter, "GOAT", "r");
    keys.set("num_experts", json!(config.num_experts));
    if let RouterConfig::TopK(router) = &config.router {
        keys.set("top_k", json!(router.k));
    }
    let (name, cof) = init(config);
    let found = keys.found("init_type").and_then(Value::as_str);
    if !(name == "lora" && matches!(found, Some("mole" | "lora_scale"))) {
        keys.set("init_type", json!(name));
    }
    let cof = cof.unwrap_or(1.0 / config.num_experts as f64);
    keys.set_or("init_cof", number(cof), json!(1));
    Ok(encoded(adapter, keys, &LAYOUT, AdapterFormat::Goat))
}

fn init(config: &AdapterConfig) -> (&'static str, Option<f64>) {
    match &config.init {
        InitConfig::Goat(goat) => ("goat", goat.init_cof),
        InitConfig::GoatMini(goat) => ("goat_mini", goat.init_cof),
        InitConfig::Pissa(start) if config.scaling == PISSA_SCALING => ("pissa", start.init_cof),
        InitConfig::Pissa(start) => ("pissa_scale", start.init_cof),
        InitConfig::Milora(start) => ("milora", start.init_cof),
        InitConfig::PissaMilora(start) => ("pissa_milora", start.init_cof),
        _ => ("lora", None),
    }
}
