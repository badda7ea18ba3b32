use serde_json::{Map, Value, json};

use super::{RopeConfig, RopeScaling};
use crate::Family;

/// Adds the keys `rope_theta` and `rope_scaling`, which every version of transformers reads, and
/// those of kinds of layers, where they differ.
pub(in crate::config) fn write(
    family: Family,
    rope: &RopeConfig,
    local: Option<&RopeConfig>,
    json: &mut Value,
) {
    json["rope_theta"] = json!(rope.theta);
    json["rope_scaling"] = scaling(family, rope);
    if family.traits().partial_rotary {
        json["partial_rotary_factor"] = json!(rope.partial_rotary_factor);
    }
    if let (Family::Phi3, Some(original)) =
        (family, rope.scaling.original_max_position_embeddings())
    {
        json["original_max_position_embeddings"] = json!(original);
    }
    if let Some(local) = local {
        json["rope_local_base_freq"] = json!(local.theta);
        let section = |rope: &RopeConfig| {
            let mut section = scaling(family, rope);
            if section.is_null() {
                section = json!({"rope_type": "default"});
            }
            section["rope_theta"] = json!(rope.theta);
            section
        };
        json["rope_parameters"] =
            json!({"full_attention": section(rope), "sliding_attention": section(local)});
    }
}

fn scaling(family: Family, rope: &RopeConfig) -> Value {
    let original = "original_max_position_embeddings";
    let mut section = match &rope.scaling {
        RopeScaling::Default => return Value::Null,
        RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
        RopeScaling::Dynamic { factor } => json!({"rope_type": "dynamic", "factor": factor}),
        RopeScaling::Yarn(yarn) => json!({
            "rope_type": "yarn",
            "factor": yarn.factor,
            "attention_factor": yarn.attention_factor,
            "beta_fast": yarn.beta_fast,
            "beta_slow": yarn.beta_slow,
            "mscale": yarn.mscale,
            "mscale_all_dim": yarn.mscale_all_dim,
            "truncate": yarn.truncate,
        }),
        RopeScaling::LongRope(longrope) => json!({
            "rope_type": "longrope",
            "short_factor": longrope.short_factor,
            "long_factor": longrope.long_factor,
            "factor": longrope.factor,
            "attention_factor": longrope.attention_factor,
        }),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, .. } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
        }),
    };
    let Some(object) = section.as_object_mut() else { return section };
    object.retain(|_, value| !value.is_null());
    match family {
        // Older versions take exactly three keys, under their older name.
        Family::Phi3 => rename(object, "rope_type", "type"),
        _ => {
            if let Some(length) = rope.scaling.original_max_position_embeddings() {
                object.insert(original.to_owned(), json!(length));
            }
        }
    }
    section
}

fn rename(object: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = object.remove(from) {
        object.insert(to.to_owned(), value);
    }
}
