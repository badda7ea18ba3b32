//! What the layouts of mixtures have in common.

use moe_adapter::{AdapterConfig, AdapterFiles, BiasTraining, StoredAdapter, TargetModules};
use serde_json::{Value, json};

use crate::keys::Keys;
use crate::layout::Layout;
use crate::overlay::{Overlay, source_of};
use crate::values::number;
use crate::{AdapterFormat, FormatError, Source};

/// Keys that change nothing in what a loaded adapter computes.
const PASSIVE: [&str; 6] =
    ["peft_type", "auto_mapping", "inference_mode", "peft_version", "revision", "merge_weights"];

/// The keys of LoRA: a configuration with them, and everything else at its default.
pub(crate) fn lora_config(keys: &mut Keys, r: &'static str) -> Result<AdapterConfig, FormatError> {
    let r = keys.required(r)?;
    let targets: TargetModules = keys.required("target_modules")?;
    with_rank(keys, r, targets)
}

/// As [`lora_config`], with a rank and targets that were read otherwise.
pub(crate) fn with_rank(
    keys: &mut Keys,
    r: usize,
    targets: TargetModules,
) -> Result<AdapterConfig, FormatError> {
    keys.passive(&PASSIVE);
    Ok(AdapterConfig {
        lora_dropout: keys.or("lora_dropout", 0.0)?,
        bias: keys.or("bias", BiasTraining::None)?,
        modules_to_save: keys.optional("modules_to_save")?,
        ..AdapterConfig::lora(r, keys.required("lora_alpha")?, targets)
    })
}

/// Writes the keys of LoRA.
pub(crate) fn write_lora(keys: &mut Overlay, adapter: &StoredAdapter, peft_type: &str, r: &str) {
    let config = &adapter.config;
    keys.set("peft_type", json!(peft_type));
    keys.set_or("task_type", json!(adapter.task_type), Value::Null);
    keys.set_or("base_model_name_or_path", json!(adapter.base_model_name_or_path), Value::Null);
    if !r.is_empty() {
        keys.set(r, json!(config.r));
    }
    keys.set("lora_alpha", number(config.lora_alpha));
    keys.set_or("lora_dropout", json!(config.lora_dropout), json!(0.0));
    keys.set("target_modules", json!(config.target_modules));
    keys.set_or("bias", json!(config.bias), json!("none"));
    keys.set_or("modules_to_save", json!(config.modules_to_save), Value::Null);
}

/// Checks what was read, and reads the tensors that belong to it.
pub(crate) fn decoded(
    raw: &AdapterFiles,
    mut keys: Keys,
    config: AdapterConfig,
    layout: &Layout,
    format: AdapterFormat,
    experts: &dyn Fn(&str) -> usize,
) -> Result<StoredAdapter, FormatError> {
    let task_type = keys.optional("task_type")?;
    let base_model_name_or_path = keys.optional("base_model_name_or_path")?;
    keys.finish()?;
    config.check()?;
    let state = layout.decode(raw, &config.whole_parameters()?, experts)?;
    let source = Some(source(raw, format));
    Ok(StoredAdapter { config, state, base_model_name_or_path, task_type, precision: None, source })
}

/// What is kept of a folder, to write it again as it was.
pub(crate) fn source(raw: &AdapterFiles, format: AdapterFormat) -> Value {
    let (config, metadata) = (raw.config.clone(), raw.table.metadata.clone());
    Source { format, config, metadata, parts: Vec::new() }.into_value()
}

/// The folder of an adapter whose keys are written.
pub(crate) fn encoded(
    adapter: &StoredAdapter,
    keys: Overlay,
    layout: &Layout,
    format: AdapterFormat,
) -> AdapterFiles {
    let mut table = layout.encode(&adapter.state);
    table.metadata = source_of(adapter, format).and_then(|source| source.metadata);
    AdapterFiles::new(keys.finish(), table)
}

/// The number of layers that the tensors of an adapter are of: one more than the largest index
/// behind `layers.` or `layer.` in their names.
pub(crate) fn num_layers(adapter: &StoredAdapter) -> usize {
    adapter.state.keys().filter_map(|name| layer_of(name)).max().map_or(1, |layer| layer + 1)
}

/// The index of the layer in a path.
pub(crate) fn layer_of(path: &str) -> Option<usize> {
    let mut segments = path.split('.');
    segments.find(|segment| matches!(*segment, "layers" | "layer"))?;
    segments.next()?.parse().ok()
}
