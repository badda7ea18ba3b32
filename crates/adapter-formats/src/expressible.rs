use std::collections::BTreeMap;

use moe_adapter::{AdapterConfig, StoredAdapter, is_start};
use router::RouterConfig;
use serde_json::{Value, json};
use svd_init::{InitConfig, PrincipalConfig, SvdMethod};

use crate::common::num_layers;
use crate::{FormatError, WriteOptions};

/// Keys that matter in training only: whatever they hold, the trained adapter computes the same.
const TRAINING: [&str; 9] = [
    "lora_dropout",
    "dropout_mask",
    "loraplus_lr_ratio",
    "balance_loss",
    "init",
    "experts.execution",
    "router.gate.init",
    "router.gate.input_jitter",
    "router.gate.input_dropout",
];

/// How many differences a message lists.
const SHOWN: usize = 8;

/// Whether what a layout made of `adapter` says the same; `again` is that, decoded.
pub(crate) fn check(
    adapter: &StoredAdapter,
    again: &StoredAdapter,
    options: &WriteOptions,
) -> Result<(), FormatError> {
    let [before, after] = normal(adapter, again);
    // Whoever repeats a start needs to know which.
    let started = adapter.state.keys().any(|name| is_start(name));
    let (mut lost, mut lost_of_training) = (Vec::new(), Vec::new());
    for difference in differences(&before, &after) {
        let training = TRAINING.iter().any(|prefix| {
            let rest = difference.key.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                && !(started && *prefix == "init")
        });
        if !training {
            lost.push(difference.what);
        } else if !options.drop_training {
            lost_of_training.push(difference.what);
        }
    }
    if lost.is_empty() {
        let repeated = options.format.repeats_start();
        if started && repeated && is_random(&adapter.config.init) {
            lost.push("its start, a random decomposition, would not be repeated exactly".into());
        }
        for (name, data) in &adapter.state {
            if !(repeated && is_start(name)) && again.state.get(name) != Some(data) {
                lost.push(format!("the tensor `{name}` has no place"));
            }
        }
    }
    let only_training = lost.is_empty();
    lost.extend(lost_of_training);
    if lost.is_empty() {
        return Ok(());
    }
    let more = lost.len().saturating_sub(SHOWN);
    lost.truncate(SHOWN);
    let mut what = lost.join("; ");
    if more > 0 {
        what.push_str(&format!("; and {more} more"));
    }
    if started && !adapter.config.is_mixture() {
        what.push_str("; a LoRA with the start in its factors can be written: lora-moe extract");
    }
    Err(FormatError::CannotExpress { format: options.format.name(), what, only_training })
}

fn is_random(init: &InitConfig) -> bool {
    matches!(init, InitConfig::Pissa(PrincipalConfig { svd: SvdMethod::Randomised, .. }))
}

/// A key that would not come back as it was.
struct Difference {
    key: String,
    what: String,
}

fn differences(
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
) -> Vec<Difference> {
    let table = |key: &str| key.split('.').next().unwrap_or(key).to_owned();
    let mut found: Vec<Difference> = Vec::new();
    for key in before.keys().chain(after.keys().filter(|key| !before.contains_key(*key))) {
        let what = match (before.get(key), after.get(key)) {
            (ours, theirs) if ours == theirs => continue,
            (Some(ours), Some(theirs)) => format!("`{key}` is {ours}, and would become {theirs}"),
            (None, Some(theirs)) => format!("`{key}` is absent, and would become {theirs}"),
            // All of a table is named once.
            _ if !after.keys().any(|other| table(other) == table(key)) => {
                let key = table(key);
                if found.iter().all(|difference| difference.key != key) {
                    let what = format!("`{key}` has no place");
                    found.push(Difference { key, what });
                }
                continue;
            }
            (ours, None) => {
                format!("`{key}` is {}, and has no place", ours.unwrap_or(&Value::Null))
            }
        };
        found.push(Difference { key: key.clone(), what });
    }
    found
}

/// The leaves of both configurations; where one of them lists sizes by layer, both do, with an
/// entry for each layer.
fn normal(adapter: &StoredAdapter, again: &StoredAdapter) -> [BTreeMap<String, Value>; 2] {
    let layers = num_layers(adapter);
    let configs = [&adapter.config, &again.config];
    let listed = |list: fn(&AdapterConfig) -> bool| configs.into_iter().any(list);
    let experts = listed(|config| config.num_experts_by_layer.is_some());
    let rank = listed(|config| config.r_by_layer.is_some());
    let top_k = listed(|config| config.top_k_by_layer.is_some());
    configs.map(|config| {
        let mut leaves = leaves(&json!(config));
        let sizes: Vec<_> = (0..layers).map(|layer| config.sizes(layer, layers)).collect();
        let mut list = |key: &str, scalar: &str, values: Vec<usize>| {
            leaves.remove(scalar);
            leaves.insert(key.into(), json!(values));
        };
        if experts {
            let values = sizes.iter().map(|sizes| sizes.num_experts).collect();
            list("num_experts_by_layer", "num_experts", values);
        }
        if rank {
            let values = sizes.iter().map(|sizes| sizes.total_rank).collect();
            list("r_by_layer", "r", values);
        }
        if let RouterConfig::TopK(router) = &config.router
            && top_k
        {
            let values = sizes.iter().map(|sizes| sizes.top_k.unwrap_or(router.k)).collect();
            list("top_k_by_layer", "router.k", values);
        }
        leaves
    })
}

/// The values of an object by their paths, as in `router.gate.bias`; those that are absent or
/// `null` count as the same.
fn leaves(value: &Value) -> BTreeMap<String, Value> {
    fn walk(path: &str, value: &Value, leaves: &mut BTreeMap<String, Value>) {
        match value {
            Value::Null => {}
            Value::Object(fields) => {
                for (key, value) in fields {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    walk(&path, value, leaves);
                }
            }
            other => {
                leaves.insert(path.to_owned(), other.clone());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk("", value, &mut found);
    found
}
