//! The tables of presets in the book say what the presets are.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use moe_adapter::{AdapterConfig, Preset, TargetModules};
use serde_json::Value;

fn book() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src")
}

/// The cells of a row, without the pipes around them.
fn cells(line: &str) -> Vec<&str> {
    line.trim().trim_matches('|').split('|').map(str::trim).collect()
}

/// The value at a path such as `balance_loss.losses.0.type`.
fn at<'a>(config: &'a Value, path: &str) -> Option<&'a Value> {
    config.pointer(&format!("/{}", path.replace('.', "/")))
}

/// Numbers are compared as such: `32` and `32.0` are the same.
fn same(documented: &Value, real: &Value) -> bool {
    match (documented, real) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        _ => documented == real,
    }
}

/// Checks the tables of one page whose header is `key` and names of presets; gives the keys that
/// they list, and the presets.
fn check_page(path: &Path) -> (BTreeSet<String>, BTreeSet<&'static str>) {
    let text = std::fs::read_to_string(path).unwrap();
    let (mut keys, mut presets) = (BTreeSet::new(), BTreeSet::new());
    let mut columns: Vec<Preset> = Vec::new();
    for line in text.lines() {
        if !line.starts_with('|') {
            columns.clear();
            continue;
        }
        let cells = cells(line);
        if cells[0] == "key" {
            let name = |cell: &&str| cell.trim_matches('`').parse::<Preset>().unwrap();
            columns = cells[1..].iter().map(name).collect();
            presets.extend(columns.iter().map(|preset| preset.name()));
        } else if !columns.is_empty() && !cells[0].starts_with('-') {
            let key = cells[0].trim_matches('`');
            keys.insert(key.split('.').next().unwrap().to_owned());
            assert_eq!(cells.len(), columns.len() + 1, "{}: {line}", path.display());
            for (preset, cell) in columns.iter().zip(&cells[1..]).filter(|(_, c)| !c.is_empty()) {
                let documented: Value = serde_json::from_str(cell.trim_matches('`')).unwrap();
                let config = serde_json::to_value(preset.config()).unwrap();
                let real = at(&config, key);
                assert!(
                    real.is_some_and(|real| same(&documented, real)),
                    "{}: `{key}` of `{preset}` is {real:?}, not {documented}",
                    path.display()
                );
            }
        }
    }
    (keys, presets)
}

#[test]
fn pages_of_methods_list_what_their_presets_set() {
    let plain = AdapterConfig::lora(1, 1.0, TargetModules::Names(Vec::new()));
    let plain = serde_json::to_value(plain).unwrap();
    let mut documented = BTreeSet::new();
    for entry in std::fs::read_dir(book().join("methods")).unwrap() {
        let path = entry.unwrap().path();
        let (keys, presets) = check_page(&path);
        for name in presets {
            let config = serde_json::to_value(name.parse::<Preset>().unwrap().config()).unwrap();
            for (key, value) in config.as_object().unwrap() {
                let listed = plain.get(key) == Some(value) || keys.contains(key);
                assert!(listed, "{}: `{name}` sets `{key}`, too", path.display());
            }
            documented.insert(name);
        }
    }
    let all: BTreeSet<_> = Preset::ALL.iter().map(|preset| preset.name()).collect();
    assert_eq!(documented, all, "every preset is in a table of a page");
}

#[test]
fn the_overview_lists_every_preset_with_its_summary() {
    let text = std::fs::read_to_string(book().join("methods.md")).unwrap();
    let rows: BTreeMap<_, _> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(cells)
        .map(|cells| (cells[0].trim_matches('`'), cells[1]))
        .collect();
    let presets: BTreeMap<_, _> =
        Preset::ALL.iter().map(|preset| (preset.name(), preset.summary())).collect();
    assert_eq!(rows, presets);
}
