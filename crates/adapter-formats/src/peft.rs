use std::collections::BTreeMap;

use lora_expert::ExpertsConfig;
use moe_adapter::{
    AdapterConfig, AdapterError, AdapterFiles, BiasTraining, StoredAdapter, TargetModules,
    stack_parameters, unstack_parameters,
};
use serde_json::{Map, Value, json};
use svd_init::{EvaConfig, InitConfig, OloraConfig, PrincipalConfig, SvdMethod};
use tensor_files::TensorTable;

use crate::common::source;
use crate::keys::Keys;
use crate::layout::{Layout, Slot};
use crate::overlay::{Overlay, source_of};
use crate::values::number;
use crate::{AdapterFormat, FormatError};

const LAYOUT: Layout = Layout {
    prefix: "base_model.model.",
    root: "",
    slots: &[
        ("lora_A.weight", Slot::A),
        ("lora_B.weight", Slot::B),
        ("lora_magnitude_vector", Slot::Magnitude),
    ],
    // Of the first versions with DoRA.
    duplicates: &[("lora_magnitude_vector.weight", Slot::Magnitude)],
    write_duplicates: false,
};

/// Keys that change nothing in what a loaded adapter computes.
const PASSIVE: [&str; 9] = [
    "auto_mapping",
    "inference_mode",
    "peft_type",
    "peft_version",
    "revision",
    "megatron_core",
    "qalora_group_size",
    "loftq_config",
    "ensure_weight_tying",
];

const INITS: &str = "true, false, \"gaussian\", \"orthogonal\", \"eva\", \"pissa\", \
                     \"pissa_niter_…\" or \"olora\"";

/// What PEFT's `init_lora_weights` amounts to, for an adapter that is trained already.
fn init(value: &Value) -> Option<InitConfig> {
    let pissa = |svd| InitConfig::Pissa(PrincipalConfig { svd, ..PrincipalConfig::default() });
    Some(match value {
        // Whatever the factors were, they are stored.
        Value::Bool(_) => InitConfig::Lora,
        Value::String(name) => match name.as_str() {
            "orthogonal" => InitConfig::Lora,
            "gaussian" => InitConfig::Gaussian,
            "eva" => InitConfig::Eva(EvaConfig::default()),
            "pissa" => pissa(SvdMethod::Full),
            "olora" => InitConfig::Olora(OloraConfig::default()),
            _ => {
                name.strip_prefix("pissa_niter_")?.parse::<u32>().ok()?;
                pissa(SvdMethod::Randomised)
            }
        },
        _ => return None,
    })
}

fn init_value(init: &InitConfig) -> Value {
    match init {
        InitConfig::Gaussian => json!("gaussian"),
        InitConfig::Eva(_) => json!("eva"),
        InitConfig::Olora(_) => json!("olora"),
        InitConfig::Pissa(PrincipalConfig { svd: SvdMethod::Full, .. }) => json!("pissa"),
        InitConfig::Pissa(PrincipalConfig { svd: SvdMethod::Randomised, .. }) => {
            json!("pissa_niter_4")
        }
        _ => json!(true),
    }
}

pub(crate) fn decode(raw: &AdapterFiles) -> Result<StoredAdapter, FormatError> {
    let mut keys = Keys::of(raw);
    keys.passive(&PASSIVE);
    let task_type = keys.optional("task_type")?;
    let base = keys.optional("base_model_name_or_path")?;
    let r = keys.required("r")?;
    let lora_alpha = alpha(&mut keys)?;
    let target_parameters: Option<Vec<String>> = keys.optional("target_parameters")?;
    let target_parameters = target_parameters.filter(|targets| !targets.is_empty());
    let targets: TargetModules = match target_parameters {
        Some(_) => keys.or("target_modules", TargetModules::Names(Vec::new()))?,
        None => keys.required("target_modules")?,
    };
    let start: Value = keys.or("init_lora_weights", json!(true))?;
    let start =
        init(&start).ok_or_else(|| keys.refuse("init_lora_weights", &start.to_string(), INITS))?;
    let mut config = AdapterConfig {
        use_rslora: keys.or("use_rslora", false)?,
        lora_dropout: keys.or("lora_dropout", 0.0)?,
        rank_pattern: keys.or("rank_pattern", BTreeMap::new())?,
        alpha_pattern: keys.or("alpha_pattern", BTreeMap::new())?,
        exclude_modules: keys.optional("exclude_modules")?,
        layers_to_transform: keys.optional("layers_to_transform")?,
        bias: keys.or("bias", BiasTraining::None)?,
        init: start,
        target_parameters,
        ..AdapterConfig::lora(r, lora_alpha, targets)
    };
    if keys.or("use_dora", false)? {
        config.experts = ExpertsConfig::Dora {};
    }
    if config.layers_to_transform.is_some() {
        keys.passive(&["layers_pattern"]);
    }
    config.modules_to_save = modules_to_save(raw, keys.optional("modules_to_save")?)?;
    config.trainable_token_indices = keys.optional("trainable_token_indices")?;
    keys.finish()?;
    config.check()?;
    let mut state = LAYOUT.decode(raw, &config.whole_parameters()?, &|_| 1)?;
    if let Some(targets) = &config.target_parameters {
        state = unstack_parameters(state, targets, r, &raw.weights.display().to_string())?;
    }
    let source = Some(source(raw, AdapterFormat::Peft));
    Ok(StoredAdapter {
        config,
        state,
        base_model_name_or_path: base,
        task_type,
        precision: None,
        source,
    })
}

/// `lora_alpha`; some files have `alpha` besides, which then must be the same.
fn alpha(keys: &mut Keys) -> Result<f64, FormatError> {
    let lora_alpha: f64 = keys.required("lora_alpha")?;
    match keys.optional::<f64>("alpha")? {
        Some(alpha) if alpha != lora_alpha => {
            let allowed = format!("{lora_alpha}, as `lora_alpha`, or absent");
            Err(keys.refuse("alpha", &alpha.to_string(), &allowed))
        }
        _ => Ok(lora_alpha),
    }
}

/// PEFT names more modules than a model has, for some tasks: those without tensors do not count,
/// unless all are without.
fn modules_to_save(
    raw: &AdapterFiles,
    names: Option<Vec<String>>,
) -> Result<Option<TargetModules>, FormatError> {
    let Some(mut names) = names.filter(|names| !names.is_empty()) else { return Ok(None) };
    let all = names.clone();
    names.retain(|name| {
        raw.table
            .tensors
            .keys()
            .any(|tensor| tensor.contains(&format!(".{name}.")) && !tensor.contains(".lora_"))
    });
    if names.is_empty() {
        return Err(AdapterError::MissingTensor {
            origin: raw.weights.display().to_string(),
            name: format!("{}….weight", all.join("….weight` or `")),
            nearest: Vec::new(),
        }
        .into());
    }
    Ok(Some(TargetModules::Names(names)))
}

pub(crate) fn encode(adapter: &StoredAdapter) -> Result<AdapterFiles, FormatError> {
    let config = &adapter.config;
    let mut keys = Overlay::new(adapter, AdapterFormat::Peft);
    keys.set("peft_type", json!("LORA"));
    keys.set_or("task_type", json!(adapter.task_type), Value::Null);
    keys.set_or("base_model_name_or_path", json!(adapter.base_model_name_or_path), Value::Null);
    keys.set("r", json!(config.r));
    keys.set("lora_alpha", number(config.lora_alpha));
    keys.set("target_modules", json!(config.target_modules));
    keys.set_or("lora_dropout", number(config.lora_dropout), json!(0));
    keys.set_or("bias", json!(config.bias), json!("none"));
    keys.set_or("use_rslora", json!(config.use_rslora), json!(false));
    let dora = matches!(config.experts, ExpertsConfig::Dora {});
    keys.set_or("use_dora", json!(dora), json!(false));
    keys.set_or("exclude_modules", json!(config.exclude_modules), Value::Null);
    keys.set_or("layers_to_transform", json!(config.layers_to_transform), Value::Null);
    keys.set_or("rank_pattern", json!(config.rank_pattern), json!({}));
    let alphas = config.alpha_pattern.iter();
    let alphas: Map<_, _> = alphas.map(|(key, value)| (key.clone(), number(*value))).collect();
    keys.set_or("alpha_pattern", Value::Object(alphas), json!({}));
    if keys.found("alpha").is_some() {
        keys.set("alpha", number(config.lora_alpha));
    }
    // Several values say the same here.
    if keys.found("init_lora_weights").and_then(init) != Some(config.init) {
        keys.set_or("init_lora_weights", init_value(&config.init), json!(true));
    }
    if !says_modules(keys.found("modules_to_save"), config.modules_to_save.as_ref()) {
        keys.set_or("modules_to_save", json!(config.modules_to_save), Value::Null);
    }
    let tokens = json!(config.trainable_token_indices);
    keys.set_or("trainable_token_indices", tokens, Value::Null);
    keys.set_or("target_parameters", json!(config.target_parameters), Value::Null);
    let mut table = match config.target_parameters {
        Some(_) => LAYOUT.encode(&stack_parameters(&adapter.state)),
        None => LAYOUT.encode(&adapter.state),
    };
    if config.bias != BiasTraining::None {
        rename_biases(adapter, &mut table);
    }
    let pt = Some([("format".to_owned(), "pt".to_owned())].into());
    table.metadata = source_of(adapter, AdapterFormat::Peft).map_or(pt, |s| s.metadata);
    Ok(AdapterFiles::new(keys.finish(), table))
}

/// Whether a list of modules has those that are trained, beside others that the model lacks.
fn says_modules(found: Option<&Value>, modules: Option<&TargetModules>) -> bool {
    let found: Option<Vec<String>> =
        found.and_then(|found| serde_json::from_value(found.clone()).ok());
    match (found, modules) {
        (Some(found), Some(TargetModules::Names(names))) => {
            names.iter().all(|name| found.contains(name))
        }
        _ => false,
    }
}

/// PEFT keeps the linear that it adapts, and so its bias, one level below its path.
fn rename_biases(adapter: &StoredAdapter, table: &mut TensorTable) {
    let adapted = adapter.state.keys().filter_map(|name| name.strip_suffix(".lora_A.weight"));
    for path in adapted {
        let path = format!("{}{path}", LAYOUT.prefix);
        if let Some(bias) = table.tensors.remove(&format!("{path}.bias")) {
            table.tensors.insert(format!("{path}.base_layer.bias"), bias);
        }
    }
}
