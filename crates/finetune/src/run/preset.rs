use moe_adapter::{AdapterConfig, Preset};
use toml::{Table, Value};

use super::tables::{merge, parse, set};
use crate::train::TrainError;

/// Reads an adapter from a table: the values of its `preset`, where there is one, overridden by
/// its other keys.
///
/// # Errors
///
/// [`TrainError`] naming the key that cannot work.
pub fn adapter_from_table(table: Table, origin: &str) -> Result<AdapterConfig, TrainError> {
    let adapter: AdapterConfig = parse(with_preset(table, origin)?, "adapter", origin)?;
    adapter.check()?;
    Ok(adapter)
}

/// The keys of a table over those of its `preset`, where there is one.
pub(super) fn with_preset(mut table: Table, origin: &str) -> Result<Table, TrainError> {
    let config = |message: String| TrainError::Config { origin: origin.into(), message };
    let mut merged = match table.remove("preset") {
        None => Table::new(),
        Some(Value::String(name)) => {
            let preset: Preset = name.parse()?;
            match Value::try_from(preset.config()) {
                Ok(Value::Table(table)) => table,
                Ok(_) => Table::new(),
                Err(error) => return Err(config(error.to_string())),
            }
        }
        Some(other) => return Err(config(format!("`adapter.preset` is {other}, not a name"))),
    };
    // A single adapter has no router to balance, so the preset's loss goes with its mixture.
    if table.get("num_experts").and_then(Value::as_integer) == Some(1)
        && !table.contains_key("balance_loss")
    {
        merged.remove("balance_loss");
    }
    merge(&mut merged, table);
    Ok(merged)
}

/// Reads an adapter from a preset and `adapter.key=value` assignments.
///
/// # Errors
///
/// [`TrainError`] naming the key that cannot work.
pub fn adapter_from_assignments(
    preset: &str,
    assignments: &[String],
) -> Result<AdapterConfig, TrainError> {
    let mut table = Table::new();
    for assignment in assignments {
        set(&mut table, assignment)?;
    }
    let mut adapter = match table.remove("adapter") {
        Some(Value::Table(adapter)) => adapter,
        _ => Table::new(),
    };
    if let Some(key) = table.keys().next() {
        return Err(TrainError::value(key, "set", "a key of the adapter, as in adapter.r=8"));
    }
    adapter.entry("preset").or_insert_with(|| Value::String(preset.to_owned()));
    adapter_from_table(adapter, "--set")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_variant_replaces_that_of_the_preset() {
        let table: Table = "preset = \"mixlora\"\nrouter.gate.init = { normal = { std = 0.5 } }\n"
            .parse()
            .unwrap();
        let same = adapter_from_table(table, "test").unwrap();
        assert!(serde_json::to_string(&same.router).unwrap().contains("0.5"));
        let table: Table =
            "preset = \"dynmole\"\nrouter.entropy = { renyi = { q = 2.0 } }\n".parse().unwrap();
        let other = serde_json::to_string(&adapter_from_table(table, "test").unwrap().router);
        let other = other.unwrap();
        assert!(other.contains("renyi") && !other.contains("tsallis"), "{other}");
    }
}
