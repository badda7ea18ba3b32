use std::collections::BTreeMap;

use lora_expert::DropoutMask;
use moe_adapter::{AdapterConfig, AdapterFiles, Preset, RouterScope, StoredAdapter, TargetModules};
use router::{
    DynmoleRouterConfig, Entropy, GateConfig, GateInit, RouterConfig, TopKRouterConfig,
    TopPRouterConfig,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::common::{decoded, encoded, with_rank, write_lora};
use crate::keys::Keys;
use crate::layout::{Layout, Slot};
use crate::overlay::Overlay;
use crate::values::number;
use crate::{AdapterFormat, FormatError};

const MIXLORA: Layout = Layout {
    prefix: "mixlora.",
    root: "model.",
    slots: &[
        ("experts.{e}.lora_A.weight", Slot::A),
        ("experts.{e}.lora_B.weight", Slot::B),
        ("lora_A.weight", Slot::A),
        ("lora_B.weight", Slot::B),
        ("moe_gate.weight", Slot::Router),
    ],
    duplicates: &[],
    write_duplicates: false,
};
const LORAMOE: Layout = Layout { prefix: "loramoe.", ..MIXLORA };
const MOLA: Layout = Layout { prefix: "mola.", ..MIXLORA };
const DYNMOLE: Layout = Layout { prefix: "dynmole.", ..MIXLORA };

/// The linears of attention in the models of MoE-PEFT.
const ATTENTION: [&str; 6] = ["q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "dense"];

/// Keys of training only, which the exported configurations mostly lack.
const TRAINING: [&str; 8] = [
    "name",
    "task_name",
    "router_aux_loss_coef",
    "router_dyn_loss_coef",
    "router_loss",
    "router_z_loss_coef",
    "router_init_range",
    "lora_init",
];

/// The linears of feed-forward blocks, as a pattern of sizes.
const EXPERT_LINEARS: &str = r"mlp\..+";

/// The LoRA of experts; its other keys matter in training only.
#[derive(Deserialize)]
struct ExpertLora {
    r: Option<usize>,
    lora_alpha: Option<f64>,
}

/// Names, or names that are switched on.
#[derive(Deserialize)]
#[serde(untagged)]
enum Targets {
    Names(Vec<String>),
    Switches(BTreeMap<String, bool>),
}

/// The keys that all of them have.
fn lora(keys: &mut Keys) -> Result<AdapterConfig, FormatError> {
    keys.passive(&TRAINING);
    let r = keys.required("r")?;
    let names = match keys.required("target_modules")? {
        Targets::Names(names) => names,
        Targets::Switches(switches) => {
            switches.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect()
        }
    };
    let mut config = with_rank(keys, r, TargetModules::Names(names))?;
    config.num_experts = keys.required("num_experts")?;
    config.use_rslora = keys.or("use_rslora", false)?;
    if keys.or("use_dora", false)? {
        return Err(keys.refuse("use_dora", "true", "false: MoE-PEFT stores no magnitudes"));
    }
    if config.lora_dropout > 0.0 {
        config.dropout_mask = DropoutMask::PerExpert;
    }
    Ok(config)
}

fn write(
    adapter: &StoredAdapter,
    format: AdapterFormat,
    peft_type: &str,
) -> Result<Overlay, FormatError> {
    let config = &adapter.config;
    if let TargetModules::Pattern(pattern) = &config.target_modules {
        let what = format!("`target_modules` is {pattern:?}, where it has names of linears");
        return Err(FormatError::CannotExpress {
            format: format.name(),
            what,
            only_training: false,
        });
    }
    let mut keys = Overlay::new(adapter, format);
    let switches = keys.found("target_modules").and_then(|found| {
        let switches: BTreeMap<String, bool> = serde_json::from_value(found.clone()).ok()?;
        let on = switches.iter().filter(|(_, on)| **on).map(|(name, _)| name.clone());
        (TargetModules::Names(on.collect()) == config.target_modules).then(|| found.clone())
    });
    write_lora(&mut keys, adapter, peft_type, "r");
    if let Some(switches) = switches {
        keys.set("target_modules", switches);
    }
    keys.set_or("use_rslora", json!(config.use_rslora), json!(false));
    keys.set("num_experts", json!(config.num_experts));
    Ok(keys)
}

fn strategy(keys: &mut Keys, allowed: &str) -> Result<(), FormatError> {
    match keys.or("routing_strategy", allowed.to_owned())? {
        found if found == allowed => Ok(()),
        found => Err(keys.refuse("routing_strategy", &found, allowed)),
    }
}

fn mixlora_gate(keys: &mut Keys) -> Result<GateConfig, FormatError> {
    Ok(GateConfig {
        init: GateInit::Normal { std: 0.02 },
        input_jitter: keys.or("jitter_noise", 0.0)?,
        ..GateConfig::default()
    })
}

pub(crate) fn decode_mixlora(raw: &AdapterFiles) -> Result<StoredAdapter, FormatError> {
    let mut keys = Keys::of(raw);
    let mut config = lora(&mut keys)?;
    config.dropout_mask = DropoutMask::default();
    config.router_scope = RouterScope::FeedForward;
    config.balance_loss = Preset::Mixlora.config().balance_loss;
    let act_fn: Option<String> = keys.optional("act_fn")?;
    if let Some(name) = act_fn.filter(|name| name != "silu") {
        let allowed = "absent (the model's own) or \"silu\"";
        return Err(keys.refuse("act_fn", &name, allowed));
    }
    let name: String = keys.required("routing_strategy")?;
    let gate = mixlora_gate(&mut keys)?;
    config.router = match name.as_str() {
        "mixlora" => {
            keys.passive(&["entropy_index", "entropy_type", "entropy_eps"]);
            RouterConfig::TopK(TopKRouterConfig {
                k: keys.or("top_k", 2)?,
                gate,
                ..TopKRouterConfig::default()
            })
        }
        "mixlora-dynamic" => {
            let temperature: f64 = keys.or("temperature", 0.0)?;
            let temperature = if temperature == 0.0 { 1.0 } else { temperature };
            RouterConfig::TopP(TopPRouterConfig {
                p: keys.or("top_p", 0.8)?,
                gate: gate.with_temperature(temperature),
                ..TopPRouterConfig::default()
            })
        }
        // Its capacity is a number of tokens, which depends on how the text was batched.
        _ => {
            let allowed = "\"mixlora\" or \"mixlora-dynamic\"";
            return Err(keys.refuse("routing_strategy", &name, allowed));
        }
    };
    expert_lora(&mut keys, &mut config)?;
    let experts = config.num_experts;
    let of_path = move |path: &str| if path.contains(".mlp.") { experts } else { 1 };
    decoded(raw, keys, config, &MIXLORA, AdapterFormat::Mixlora, &of_path)
}

/// Experts may have a LoRA of other sizes than attention has: a pattern on their linears.
fn expert_lora(keys: &mut Keys, config: &mut AdapterConfig) -> Result<(), FormatError> {
    let Some(expert) = keys.optional::<ExpertLora>("expert_lora")? else { return Ok(()) };
    if let Some(r) = expert.r.filter(|r| *r != config.r) {
        config.rank_pattern.insert(EXPERT_LINEARS.into(), r);
    }
    if let Some(alpha) = expert.lora_alpha.filter(|alpha| *alpha != config.lora_alpha) {
        config.alpha_pattern.insert(EXPERT_LINEARS.into(), alpha);
    }
    Ok(())
}

fn write_expert_lora(keys: &mut Overlay, config: &AdapterConfig) {
    let (r, alpha) =
        (config.rank_pattern.get(EXPERT_LINEARS), config.alpha_pattern.get(EXPERT_LINEARS));
    if r.is_none() && alpha.is_none() {
        return;
    }
    let found = keys.found("expert_lora").and_then(Value::as_object);
    let mut expert = found.cloned().unwrap_or_default();
    for (key, value) in [("r", r.map(|r| *r as f64)), ("lora_alpha", alpha.copied())] {
        let found = expert.get(key).and_then(Value::as_f64);
        if let Some(value) = value.filter(|value| found != Some(*value)) {
            expert.insert(key.into(), number(value));
        }
    }
    keys.set("expert_lora", Value::Object(expert));
}

pub(crate) fn encode_mixlora(adapter: &StoredAdapter) -> Result<AdapterFiles, FormatError> {
    let mut keys = write(adapter, AdapterFormat::Mixlora, "MIXLORA")?;
    match &adapter.config.router {
        RouterConfig::TopP(router) => {
            keys.set("routing_strategy", json!("mixlora-dynamic"));
            keys.set("top_p", number(router.p));
            let temperature = router.gate.temperature;
            let temperature = if temperature == 1.0 { 0.0 } else { temperature };
            keys.set_or("temperature", number(temperature), json!(0));
        }
        other => {
            keys.set("routing_strategy", json!("mixlora"));
            if let RouterConfig::TopK(router) = other {
                keys.set("top_k", json!(router.k));
            }
        }
    }
    write_expert_lora(&mut keys, &adapter.config);
    Ok(encoded(adapter, keys, &MIXLORA, AdapterFormat::Mixlora))
}

pub(crate) fn decode_loramoe(raw: &AdapterFiles) -> Result<StoredAdapter, FormatError> {
    let mut keys = Keys::of(raw);
    let config = lora(&mut keys)?;
    strategy(&mut keys, "loramoe")?;
    if let TargetModules::Names(names) = &config.target_modules
        && let Some(name) = names.iter().find(|name| ATTENTION.contains(&name.as_str()))
    {
        let allowed = "linears of feed-forward blocks: in this layout those of attention carry a \
                       single LoRA beside the mixtures";
        return Err(keys.refuse("target_modules", name, allowed));
    }
    let experts = config.num_experts;
    decoded(raw, keys, config, &LORAMOE, AdapterFormat::MoePeftLoramoe, &|_| experts)
}

pub(crate) fn encode_loramoe(adapter: &StoredAdapter) -> Result<AdapterFiles, FormatError> {
    let mut keys = write(adapter, AdapterFormat::MoePeftLoramoe, "LORAMOE")?;
    keys.set("routing_strategy", json!("loramoe"));
    Ok(encoded(adapter, keys, &LORAMOE, AdapterFormat::MoePeftLoramoe))
}

pub(crate) fn decode_mola(raw: &AdapterFiles) -> Result<StoredAdapter, FormatError> {
    let mut keys = Keys::of(raw);
    let mut config = lora(&mut keys)?;
    strategy(&mut keys, "mola")?;
    config.router = RouterConfig::TopK(TopKRouterConfig {
        k: keys.or("top_k", 2)?,
        ..TopKRouterConfig::default()
    });
    let experts = config.num_experts;
    decoded(raw, keys, config, &MOLA, AdapterFormat::MoePeftMola, &|_| experts)
}

pub(crate) fn encode_mola(adapter: &StoredAdapter) -> Result<AdapterFiles, FormatError> {
    let mut keys = write(adapter, AdapterFormat::MoePeftMola, "MOLA")?;
    keys.set("routing_strategy", json!("mola"));
    if let RouterConfig::TopK(router) = &adapter.config.router {
        keys.set("top_k", json!(router.k));
    }
    Ok(encoded(adapter, keys, &MOLA, AdapterFormat::MoePeftMola))
}

pub(crate) fn decode_dynmole(raw: &AdapterFiles) -> Result<StoredAdapter, FormatError> {
    let mut keys = Keys::of(raw);
    let mut config = lora(&mut keys)?;
    strategy(&mut keys, "dynmole")?;
    let default = DynmoleRouterConfig::default();
    config.router = RouterConfig::Dynmole(DynmoleRouterConfig {
        p: keys.or("top_p", default.p)?,
        min_experts: keys.or("keep_top_k", default.min_experts)?,
        entropy_threshold: keys.or("entropy_threshold", default.entropy_threshold)?,
        entropy: Entropy::Tsallis { q: keys.or("entropy_index", 1.1)? },
        epsilon: keys.or("entropy_eps", default.epsilon)?,
        ..default
    });
    config.balance_loss = Preset::Dynmole.config().balance_loss;
    let experts = config.num_experts;
    decoded(raw, keys, config, &DYNMOLE, AdapterFormat::MoePeftDynmole, &|_| experts)
}

pub(crate) fn encode_dynmole(adapter: &StoredAdapter) -> Result<AdapterFiles, FormatError> {
    let mut keys = write(adapter, AdapterFormat::MoePeftDynmole, "DYNMOLE")?;
    keys.set("routing_strategy", json!("dynmole"));
    if let RouterConfig::Dynmole(router) = &adapter.config.router {
        keys.set("top_p", number(router.p));
        keys.set("keep_top_k", json!(router.min_experts));
        keys.set("entropy_threshold", number(router.entropy_threshold));
        if let Entropy::Tsallis { q } = router.entropy {
            keys.set("entropy_index", number(q));
        }
        keys.set("entropy_eps", number(router.epsilon));
    }
    Ok(encoded(adapter, keys, &DYNMOLE, AdapterFormat::MoePeftDynmole))
}
