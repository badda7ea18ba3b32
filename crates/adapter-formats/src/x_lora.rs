//! PEFT's X-LoRA: the keys of the classifier in `adapter_config.json`, its tensors beside them, and a
//! LoRA in a folder for each expert.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::TensorData;
use lora_expert::ExpertsConfig;
use moe_adapter::{
    ADAPTER_CONFIG_FILE, AdapterConfig, AdapterError, AdapterFiles, AdapterState, BiasTraining,
    RouterScope, StoredAdapter, TargetModules, is_model_router, to_data, to_stored,
};
use router::{RouterConfig, XLoraConfig};
use serde_json::{Map, Value, json};
use tensor_files::{TensorTable, nearest};

use crate::keys::Keys;
use crate::overlay::{Overlay, source_of};
use crate::{AdapterFormat, FormatError, Source, peft};

const CLASSIFIER: &str = "base_model.internal_xlora_classifier.layers.";
const ROUTER: &str = "model_router.layers.";
const FACTORS: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];

/// Keys that change nothing in what a loaded adapter computes.
const PASSIVE: [&str; 6] = [
    "auto_mapping",
    "inference_mode",
    "peft_type",
    "peft_version",
    "revision",
    "use_trainable_adapters",
];

/// The files with those of the experts, which `adapters` names: inside of the folder, or where PEFT
/// finds them.
pub(crate) fn with_parts(mut files: AdapterFiles) -> Result<AdapterFiles, FormatError> {
    let adapters: Map<String, Value> = Keys::of(&files).required("adapters")?;
    for (name, path) in in_order(adapters) {
        let path = path.as_str().map(PathBuf::from).unwrap_or_default();
        let places = [files.folder.join(&path), path, files.folder.join(&name)];
        let place = places.iter().find(|place| place.join(ADAPTER_CONFIG_FILE).is_file());
        let part = AdapterFiles::read(place.unwrap_or(&places[0]))?;
        files.parts.push((name, part));
    }
    Ok(files)
}

/// PEFT gives adapters their numbers as names, and sorts them as texts when it writes them.
fn in_order(adapters: Map<String, Value>) -> Vec<(String, Value)> {
    let mut adapters: Vec<_> = adapters.into_iter().collect();
    if adapters.iter().all(|(name, _)| name.parse::<u32>().is_ok()) {
        adapters.sort_by_key(|(name, _)| name.parse::<u32>().unwrap_or(0));
    }
    adapters
}

pub(crate) fn decode(raw: &AdapterFiles) -> Result<StoredAdapter, FormatError> {
    let mut keys = Keys::of(raw);
    keys.passive(&PASSIVE);
    let task_type = keys.optional("task_type")?;
    let base_model_name_or_path = keys.optional("base_model_name_or_path")?;
    let hidden_size: usize = keys.required("hidden_size")?;
    let adapters: Map<String, Value> = keys.required("adapters")?;
    if adapters.len() < 2 {
        return Err(keys.refuse("adapters", &json!(adapters).to_string(), "at least 2 adapters"));
    }
    let default = XLoraConfig::default();
    let router = XLoraConfig {
        xlora_depth: keys.or("xlora_depth", default.xlora_depth)?,
        xlora_size: keys.or("xlora_size", default.xlora_size)?,
        enable_relu_and_dropout: true,
        xlora_dropout_p: keys.or("xlora_dropout_p", default.xlora_dropout_p)?,
        layerwise_scalings: keys.or("layerwise_scalings", default.layerwise_scalings)?,
        enable_softmax: keys.or("enable_softmax", default.enable_softmax)?,
        softmax_temperature: keys.or("softmax_temperature", default.softmax_temperature)?,
        top_k_lora: keys.optional("top_k_lora")?,
        enable_softmax_topk: keys.or("enable_softmax_topk", default.enable_softmax_topk)?,
        scaling_pass_value: keys.or("scaling_pass_value", default.scaling_pass_value)?,
        global_scaling_weight: keys.or("global_scaling_weight", default.global_scaling_weight)?,
    };
    keys.finish()?;
    let parts: Vec<StoredAdapter> =
        raw.parts.iter().map(|(_, part)| peft::decode(part)).collect::<Result<_, _>>()?;
    let config = AdapterConfig {
        num_experts: parts.len(),
        router_scope: RouterScope::Model,
        router: RouterConfig::XLora(router.clone()),
        ..common_config(raw, &parts)?
    };
    config.check()?;
    let mut state = stacked(raw, &parts)?;
    state.extend(classifier(raw, &router, hidden_size)?);
    let sources: Result<Vec<_>, _> = parts.iter().map(Source::of).collect();
    let of_config = |source| AdapterError::Config { path: raw.config_path(), source };
    let source = Source {
        format: AdapterFormat::XLora,
        config: raw.config.clone(),
        metadata: raw.table.metadata.clone(),
        parts: sources.map_err(of_config)?.into_iter().flatten().collect(),
    };
    let source = Some(source.into_value());
    Ok(StoredAdapter { config, state, base_model_name_or_path, task_type, precision: None, source })
}

/// The configuration that all experts have.
fn common_config(
    raw: &AdapterFiles,
    parts: &[StoredAdapter],
) -> Result<AdapterConfig, FormatError> {
    let refused = |part: usize, key: &str, found: &Value, allowed: &str| FormatError::KeyValue {
        path: raw.parts[part].1.config_path(),
        key: key.into(),
        found: found.to_string(),
        allowed: allowed.into(),
    };
    for (index, part) in parts.iter().enumerate() {
        let config = &part.config;
        if !matches!(config.experts, ExpertsConfig::Lora { .. }) {
            return Err(refused(index, "use_dora", &json!(true), "false in X-LoRA"));
        }
        if config.modules_to_save.is_some() || config.bias != BiasTraining::None {
            let found = json!([config.modules_to_save, config.bias]);
            let allowed = "none: experts of X-LoRA train nothing as a whole";
            return Err(refused(index, "modules_to_save or bias", &found, allowed));
        }
    }
    let sorted = |part: &StoredAdapter| {
        let mut config = part.config.clone();
        if let TargetModules::Names(names) = &mut config.target_modules {
            names.sort();
        }
        json!(config)
    };
    let Some((first, others)) = parts.split_first() else {
        return Err(AdapterError::NoAdapter.into());
    };
    let of_first = sorted(first);
    for (index, other) in others.iter().enumerate() {
        let (expected, found) = (of_first.as_object(), sorted(other));
        for (key, value) in expected.into_iter().flatten() {
            let found = found.get(key).unwrap_or(&Value::Null);
            if found != value {
                let allowed = format!(
                    "{value}, as in the first adapter (lora-moe mix --router x_lora mixes adapters \
                     that differ)"
                );
                return Err(refused(index + 1, key, found, &allowed));
            }
        }
    }
    Ok(first.config.clone())
}

/// The factors of all experts as one.
fn stacked(raw: &AdapterFiles, parts: &[StoredAdapter]) -> Result<AdapterState, AdapterError> {
    let mut state = AdapterState::new();
    let names = parts.iter().flat_map(|part| part.state.keys());
    for name in names {
        if state.contains_key(name) {
            continue;
        }
        let mut values: Vec<f32> = Vec::new();
        let mut shape: Option<Vec<usize>> = None;
        for (part, (_, files)) in parts.iter().zip(&raw.parts) {
            let origin = || files.weights.display().to_string();
            let Some(data) = part.state.get(name) else {
                let nearest = nearest(name, part.state.keys().map(String::as_str));
                let (origin, name) = (origin(), name.clone());
                return Err(AdapterError::MissingTensor { origin, name, nearest });
            };
            let found = data.shape().as_slice().to_vec();
            let expected = shape.get_or_insert_with(|| found.clone());
            if *expected != found {
                return Err(AdapterError::TensorMismatch {
                    origin: origin(),
                    name: name.clone(),
                    found: format!("{found:?}"),
                    expected: format!("{expected:?}, as that of the other experts"),
                });
            }
            values.extend(data.iter::<f32>());
        }
        let mut shape = shape.unwrap_or_default();
        shape.insert(0, parts.len());
        state.insert(name.clone(), TensorData::new(values, shape));
    }
    Ok(state)
}

/// How far the numbers of the classifier's linears are apart: between them PEFT counts the
/// activation, and dropout where there is some.
fn step(router: &XLoraConfig) -> usize {
    if router.xlora_dropout_p > 0.0 { 3 } else { 2 }
}

fn classifier(
    raw: &AdapterFiles,
    router: &XLoraConfig,
    hidden_size: usize,
) -> Result<AdapterState, AdapterError> {
    let origin = || raw.weights.display().to_string();
    let mut state = AdapterState::new();
    let mut left: BTreeMap<&String, _> = raw.table.tensors.iter().collect();
    for layer in 0..router.xlora_depth {
        for parameter in ["weight", "bias"] {
            let name = format!("{CLASSIFIER}{}.{parameter}", layer * step(router));
            let Some(tensor) = left.remove(&name) else {
                let nearest = nearest(&name, raw.table.tensors.keys().map(String::as_str));
                return Err(AdapterError::MissingTensor { origin: origin(), name, nearest });
            };
            let mismatch = |found: String, expected: String| AdapterError::TensorMismatch {
                origin: origin(),
                name: name.clone(),
                found,
                expected,
            };
            let of_hidden = layer == 0 && parameter == "weight";
            if of_hidden && tensor.shape.last() != Some(&hidden_size) {
                let found = format!("{:?}", tensor.shape);
                return Err(mismatch(found, format!("of hidden_size {hidden_size}")));
            }
            let data = to_data(tensor)
                .map_err(|found| mismatch(found, "F32, F16, BF16 or I32".to_owned()))?;
            state.insert(format!("{ROUTER}{layer}.{parameter}"), data);
        }
    }
    match left.keys().next() {
        None => Ok(state),
        Some(first) => Err(AdapterError::UnexpectedTensors {
            origin: origin(),
            count: left.len(),
            names: format!("`{first}`; names of this layout are {CLASSIFIER}…"),
        }),
    }
}

pub(crate) fn encode(adapter: &StoredAdapter) -> Result<AdapterFiles, FormatError> {
    let config = &adapter.config;
    let RouterConfig::XLora(router) = &config.router else {
        let what = "it has no classifier for the whole model (`router_scope` \"model\")".into();
        let format = AdapterFormat::XLora.name();
        return Err(FormatError::CannotExpress { format, what, only_training: false });
    };
    let mut keys = Overlay::new(adapter, AdapterFormat::XLora);
    keys.set("peft_type", json!("XLORA"));
    keys.set_or("task_type", json!(adapter.task_type), Value::Null);
    keys.set_or("base_model_name_or_path", json!(adapter.base_model_name_or_path), Value::Null);
    let of_name = |expert: usize| (expert.to_string(), json!(expert.to_string()));
    let adapters: Map<String, Value> = (0..config.num_experts).map(of_name).collect();
    keys.set("adapters", Value::Object(adapters));
    let input = adapter.state.get(&format!("{ROUTER}0.weight"));
    keys.set("hidden_size", json!(input.and_then(|data| data.shape().as_slice().last().copied())));
    let default = XLoraConfig::default();
    keys.set("xlora_depth", json!(router.xlora_depth));
    keys.set("xlora_size", json!(router.xlora_size));
    keys.set_or("xlora_dropout_p", json!(router.xlora_dropout_p), json!(default.xlora_dropout_p));
    keys.set("layerwise_scalings", json!(router.layerwise_scalings));
    keys.set("enable_softmax", json!(router.enable_softmax));
    keys.set("softmax_temperature", json!(router.softmax_temperature));
    keys.set_or("top_k_lora", json!(router.top_k_lora), Value::Null);
    keys.set_or("enable_softmax_topk", json!(router.enable_softmax_topk), json!(false));
    keys.set("scaling_pass_value", json!(router.scaling_pass_value));
    keys.set("global_scaling_weight", json!(router.global_scaling_weight));

    let mut table = TensorTable::default();
    for (name, data) in adapter.state.iter().filter(|(name, _)| is_model_router(name)) {
        let rest = name.strip_prefix(ROUTER).and_then(|rest| rest.split_once('.'));
        if let Some((layer, parameter)) = rest
            && let Ok(layer) = layer.parse::<usize>()
        {
            let name = format!("{CLASSIFIER}{}.{parameter}", layer * step(router));
            table.tensors.insert(name, to_stored(data));
        }
    }
    let source = source_of(adapter, AdapterFormat::XLora);
    let pt = Some([("format".to_owned(), "pt".to_owned())].into());
    table.metadata = source.as_ref().map_or(pt, |source| source.metadata.clone());
    let mut files = AdapterFiles::new(keys.finish(), table);
    for expert in 0..config.num_experts {
        let source = source.as_ref().and_then(|source| source.parts.get(expert)).cloned();
        let part = expert_of(adapter, expert, source);
        files.parts.push((expert.to_string(), peft::encode(&part)?));
    }
    Ok(files)
}

/// One expert as an adapter of its own.
fn expert_of(adapter: &StoredAdapter, expert: usize, source: Option<Source>) -> StoredAdapter {
    let config = AdapterConfig {
        num_experts: 1,
        router_scope: RouterScope::default(),
        router: RouterConfig::default(),
        balance_loss: None,
        ..adapter.config.clone()
    };
    let factors = adapter
        .state
        .iter()
        .filter(|(name, _)| FACTORS.iter().any(|suffix| name.ends_with(suffix)));
    let state = factors.map(|(name, data)| {
        let shape = data.shape().as_slice().get(1..).unwrap_or_default().to_vec();
        let size: usize = shape.iter().product();
        let values = data.iter::<f32>().skip(expert * size).take(size).collect();
        (name.clone(), TensorData::new(values, shape))
    });
    StoredAdapter {
        config,
        state: state.collect(),
        base_model_name_or_path: adapter.base_model_name_or_path.clone(),
        task_type: adapter.task_type.clone(),
        precision: None,
        source: source.map(Source::into_value),
    }
}
