use moe_adapter::{AdapterFiles, StoredAdapter};
use serde_json::Value;

use crate::{AdapterFormat, FormatError};

/// Says which layout a folder has, by the keys that only one layout has.
pub(crate) fn format(raw: &AdapterFiles) -> Result<AdapterFormat, FormatError> {
    let has = |key: &str| raw.config.contains_key(key);
    let kind = raw.config.get("peft_type").and_then(Value::as_str);
    Ok(match kind {
        _ if StoredAdapter::is_native(raw) => AdapterFormat::Native,
        Some("XLORA") => AdapterFormat::XLora,
        Some("GOAT") => AdapterFormat::Goat,
        Some("ADAMOLE") => AdapterFormat::Adamole,
        Some("MIXLORA") => AdapterFormat::Mixlora,
        Some("LORAMOE") => AdapterFormat::MoePeftLoramoe,
        Some("MOLA") => AdapterFormat::MoePeftMola,
        Some("DYNMOLE") => AdapterFormat::MoePeftDynmole,
        Some("LORA") if has("number_experts") => AdapterFormat::Mola,
        Some("LORA") if has("lora_nums") => {
            let shared = raw.table.tensors.keys().any(|name| name.ends_with(".lora_A.weight"));
            if shared { AdapterFormat::Hydralora } else { AdapterFormat::Loramoe }
        }
        Some("LORA") => AdapterFormat::Peft,
        _ => {
            return Err(FormatError::KeyValue {
                path: raw.config_path(),
                key: "peft_type".into(),
                found: raw.config.get("peft_type").unwrap_or(&Value::Null).to_string(),
                allowed:
                    "one of \"LORA\", \"XLORA\", \"LORA_MOE\", \"GOAT\", \"ADAMOLE\", \"MIXLORA\", \
                     \"LORAMOE\", \"MOLA\" and \"DYNMOLE\""
                        .into(),
            });
        }
    })
}
