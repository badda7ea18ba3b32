//! Adapters of other projects on the model that they were made on.

mod x_lora;

use std::fs;
use std::path::{Path, PathBuf};

use adapter_formats::{
    AdapterFormat, FormatError, WriteOptions, detect_format, read_adapter, write_adapter,
};
use model_zoo::{Decoder, LoadOptions};
use moe_adapter::{AdaptedLinear, StoredAdapter, WeightsFile, attach_saved};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{Reference, golden, largest_difference, logits, material};
use crate::device::{device, tolerance};

/// Adapters, with the layout of each. Those that are not on the model `llama3` are in [`base_of`].
const ADAPTERS: [(&str, AdapterFormat); 17] = [
    ("lora", AdapterFormat::Peft),
    ("rslora", AdapterFormat::Peft),
    ("lora_pattern", AdapterFormat::Peft),
    ("dora", AdapterFormat::Peft),
    ("pissa", AdapterFormat::Peft),
    ("x_lora", AdapterFormat::XLora),
    ("x_lora_layerwise", AdapterFormat::XLora),
    ("tokens_tied", AdapterFormat::Peft),
    ("tokens_by_module", AdapterFormat::Peft),
    ("parameters_qwen3_moe", AdapterFormat::Peft),
    ("parameters_mixtral", AdapterFormat::Peft),
    ("loramoe", AdapterFormat::Loramoe),
    ("hydralora", AdapterFormat::Hydralora),
    ("goat", AdapterFormat::Goat),
    ("adamole", AdapterFormat::Adamole),
    ("mola", AdapterFormat::Mola),
    ("mixlora", AdapterFormat::Mixlora),
];

fn folder(name: &str) -> PathBuf {
    golden("adapters").join(name)
}

/// The model that an adapter is on.
fn base_of(name: &str) -> Decoder<AdaptedLinear> {
    let folder = match name {
        "tokens_by_module" => "llama2",
        "parameters_qwen3_moe" => "qwen3_moe",
        "parameters_mixtral" => "mixtral",
        _ => "llama3",
    };
    Decoder::load(golden(folder), &LoadOptions::default(), &device()).unwrap()
}

fn base() -> Decoder<AdaptedLinear> {
    base_of("llama3")
}

fn error_of(adapter: &StoredAdapter, reference: &Reference) -> f32 {
    error_on(base(), adapter, reference)
}

fn error_on(
    mut model: Decoder<AdaptedLinear>,
    adapter: &StoredAdapter,
    reference: &Reference,
) -> f32 {
    attach_saved(&mut model, &adapter.config, adapter.state.clone(), "adapter").unwrap();
    let found = logits(&model, &reference.input_on(&device()), None);
    largest_difference(&found, &reference.logits) / reference.largest()
}

#[test]
fn every_layout_gives_the_logits_of_its_project() {
    for (name, format) in ADAPTERS {
        let folder = folder(name);
        assert_eq!(detect_format(&folder).unwrap(), format, "{name}");
        let reference = Reference::read(&folder);
        let adapter = read_adapter(&folder).unwrap();
        let error = error_on(base_of(name), &adapter, &reference);
        eprintln!("{name}: relative error {error:e}");
        assert!(error <= tolerance(), "{name}: relative error {error:e}");
        let plain = logits(&base_of(name), &reference.input_on(&device()), None);
        let moved = largest_difference(&plain, &reference.logits) / reference.largest();
        assert!(moved > 1e-2, "{name}: the adapter hardly does anything: {moved:e}");
    }
}

#[test]
fn files_of_torch_hold_the_same() {
    for name in ["loramoe", "goat", "mixlora"] {
        let copy = tempfile::tempdir().unwrap();
        for file in ["adapter_config.json", "adapter_model.bin"] {
            fs::copy(folder(name).join(file), copy.path().join(file)).unwrap();
        }
        let read = read_adapter(copy.path()).unwrap();
        let expected = read_adapter(&folder(name)).unwrap();
        assert_eq!((read.config, read.state), (expected.config, expected.state), "{name}");
    }
}

/// As the published code does, and the paper does not say.
#[test]
fn the_balance_loss_of_loramoe_counts_padding() {
    let config = read_adapter(&folder("loramoe")).unwrap().config;
    let json = serde_json::to_string(&config.balance_loss).unwrap();
    assert!(json.contains("\"padding\":\"include\""), "{json}");
}

fn bytes(folder: &Path, file: &str) -> Vec<u8> {
    fs::read(folder.join(file)).unwrap()
}

fn keys(folder: &Path) -> Value {
    serde_json::from_slice(&bytes(folder, "adapter_config.json")).unwrap()
}

/// To this project's layout and back, which must change nothing.
fn comes_back(folder: &Path, format: AdapterFormat) -> TempDir {
    let (native, back) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let adapter = read_adapter(folder).unwrap();
    adapter.write(native.path()).unwrap();
    let stored = read_adapter(native.path()).unwrap();
    assert_eq!(stored, adapter);
    write_adapter(&stored, back.path(), &WriteOptions::new(format)).unwrap();
    let file = "adapter_model.safetensors";
    assert!(bytes(back.path(), file) == bytes(folder, file), "{}", folder.display());
    assert_eq!(keys(back.path()), keys(folder), "{}", folder.display());
    for part in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if part.is_dir() {
            let again = back.path().join(part.file_name().unwrap());
            assert!(bytes(&again, file) == bytes(&part, file), "{}", part.display());
            assert_eq!(keys(&again), keys(&part), "{}", part.display());
        }
    }
    back
}

#[test]
fn a_round_trip_gives_the_same_bytes() {
    for (name, format) in ADAPTERS {
        let back = comes_back(&folder(name), format);
        if format == AdapterFormat::Peft {
            let file = "adapter_config.json";
            assert_eq!(bytes(back.path(), file), bytes(&folder(name), file), "{name}");
        }
    }
}

#[test]
fn files_of_torch_come_back() {
    for (name, format) in ADAPTERS {
        let back = tempfile::tempdir().unwrap();
        let adapter = read_adapter(&folder(name)).unwrap();
        let options = WriteOptions { weights: WeightsFile::PyTorch, ..WriteOptions::new(format) };
        write_adapter(&adapter, back.path(), &options).unwrap();
        let again = read_adapter(back.path()).unwrap();
        assert_eq!((again.config, again.state), (adapter.config, adapter.state), "{name}");
    }
}

#[test]
fn adapters_from_the_wild_come_back() {
    for name in ["sift_opf_lora", "gradience_tiny_lora_synthetic"] {
        if let Some(folder) = material(&format!("adapters/{name}")) {
            comes_back(&folder, AdapterFormat::Peft);
        }
    }
}

#[test]
fn layouts_that_can_say_the_same_replace_each_other() {
    let between = |name: &str, format: AdapterFormat, drop_training: bool| {
        let folder = tempfile::tempdir().unwrap();
        let adapter = read_adapter(&golden("adapters").join(name)).unwrap();
        let options = WriteOptions { drop_training, ..WriteOptions::new(format) };
        write_adapter(&adapter, folder.path(), &options)?;
        Ok::<_, FormatError>((read_adapter(folder.path())?, folder))
    };
    for (name, format) in
        [("loramoe", AdapterFormat::MoePeftLoramoe), ("mola", AdapterFormat::Native)]
    {
        let error = between(name, format, false).map(|_| ());
        let (adapter, _) = between(name, format, true).unwrap();
        let error_of = error_of(&adapter, &Reference::read(&folder(name)));
        assert!(error_of <= tolerance(), "{name}: {error_of:e}");
        if name == "loramoe" {
            let message = error.unwrap_err().to_string();
            assert!(message.contains("`balance_loss`") && message.contains("--drop-training"));
        }
    }
}

#[test]
fn what_a_layout_cannot_say_is_named() {
    let refused = |name: &str, format: AdapterFormat| {
        let folder = tempfile::tempdir().unwrap();
        let adapter = read_adapter(&golden("adapters").join(name)).unwrap();
        let options = WriteOptions { drop_training: true, ..WriteOptions::new(format) };
        let error = write_adapter(&adapter, folder.path(), &options).unwrap_err().to_string();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{name}: something is written");
        error
    };
    for (name, format, expected) in [
        ("loramoe", AdapterFormat::Peft, "num_experts"),
        ("dora", AdapterFormat::Loramoe, "no router"),
        ("hydralora", AdapterFormat::Loramoe, "lora_A1.weight` is missing"),
        ("goat", AdapterFormat::Adamole, "router.type"),
        ("adamole", AdapterFormat::Goat, "split_rank"),
        ("mixlora", AdapterFormat::Mola, "lora_A_1.weight` is missing"),
        ("lora_pattern", AdapterFormat::Mixlora, "no router"),
        ("goat", AdapterFormat::XLora, "no classifier"),
        ("x_lora", AdapterFormat::Peft, "model_router"),
        ("x_lora_layerwise", AdapterFormat::Loramoe, "model_router"),
    ] {
        let error = refused(name, format);
        assert!(error.contains(expected), "{name} as {format}: {error}");
    }
}

/// A copy of a folder with its configuration changed.
fn with_keys(name: &str, change: impl Fn(&mut Value)) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let mut config = keys(&folder(name));
    change(&mut config);
    fs::write(copy.path().join("adapter_config.json"), config.to_string()).unwrap();
    let file = "adapter_model.safetensors";
    fs::copy(folder(name).join(file), copy.path().join(file)).unwrap();
    copy
}

#[test]
fn keys_that_are_not_understood_are_refused_by_name() {
    for (name, key, value, expected) in [
        ("lora", "lora_alhpa", json!(4), "`lora_alpha`"),
        ("lora", "use_bdlora", json!({"nblocks": 2}), "`use_bdlora`"),
        ("lora", "init_lora_weights", json!("mica"), "\"pissa\""),
        ("lora", "target_modules", json!(null), "`target_modules` is missing"),
        ("lora", "alpha", json!(5), "as `lora_alpha`"),
        ("lora", "r", json!("four"), "`r` is \"four\""),
        ("lora", "peft_type", json!("VERA"), "\"VERA\""),
        ("goat", "init_type", json!("hydralora"), "goat_mini"),
        ("mixlora", "routing_strategy", json!("mixlora-switch"), "mixlora-dynamic"),
        ("mixlora", "act_fn", json!("gelu"), "`act_fn`"),
        ("loramoe", "lora_nums", json!(5), "lora_A4.weight"),
        ("loramoe", "lora_nums", json!(3), "lora_A3.weight"),
        ("mola", "number_experts", json!([2, 5]), "lora_A_4.weight"),
    ] {
        let copy = with_keys(name, |config| config[key] = value.clone());
        let error = read_adapter(copy.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}, {key}: {error}");
    }
}

#[test]
fn experts_of_mixlora_may_have_sizes_of_their_own() {
    let alpha = json!(keys(&folder("mixlora"))["lora_alpha"].as_f64().unwrap() * 2.0);
    let copy = with_keys("mixlora", |config| config["expert_lora"] = json!({"lora_alpha": alpha}));
    let adapter = read_adapter(copy.path()).unwrap();
    assert_eq!(json!(adapter.config.alpha_pattern), json!({ r"mlp\..+": alpha }));
    let reference = Reference::read(&folder("mixlora"));
    assert!(error_of(&adapter, &reference) > 100.0 * tolerance());
    comes_back(copy.path(), AdapterFormat::Mixlora);
    let fresh = tempfile::tempdir().unwrap();
    let adapter = StoredAdapter { source: None, ..adapter };
    let options = WriteOptions { drop_training: true, ..WriteOptions::new(AdapterFormat::Mixlora) };
    write_adapter(&adapter, fresh.path(), &options).unwrap();
    let written = &keys(fresh.path())["expert_lora"]["lora_alpha"];
    assert_eq!(written.as_f64(), alpha.as_f64());
}

#[test]
fn a_tensor_that_is_missing_or_left_over_is_named() {
    use tensor_files::TensorTable;
    let changed = |name: &str, change: &dyn Fn(&mut TensorTable)| {
        let copy = with_keys(name, |_| {});
        let path = copy.path().join("adapter_model.safetensors");
        let mut table = TensorTable::read(&path).unwrap();
        change(&mut table);
        table.write(&path).unwrap();
        let adapter = match read_adapter(copy.path()) {
            Ok(adapter) => adapter,
            Err(error) => return error.to_string(),
        };
        let state = adapter.state;
        attach_saved(&mut base(), &adapter.config, state, "file").unwrap_err().to_string()
    };
    let name = "base_model.model.model.layers.1.mlp.up_proj.lora_A2.weight";
    let error = changed("loramoe", &|table| drop(table.tensors.remove(name)));
    assert!(error.contains(name), "{error}");
    let q = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    let error = changed("lora", &|table| drop(table.tensors.remove(q)));
    assert!(error.contains("layers.0.self_attn.q_proj.lora_A.weight` is missing"), "{error}");
    let rename = |table: &mut TensorTable, to: &str| {
        let tensor = table.tensors[q].clone();
        table.tensors.insert(to.to_owned(), tensor);
    };
    let error = changed("lora", &|table| rename(table, &q.replace("lora_A", "lora_C")));
    assert!(error.contains("lora_C") && error.contains("…lora_A.weight"), "{error}");
    let error = changed("lora", &|table| rename(table, &q.replace("layers.0", "layers.7")));
    assert!(error.contains("layers.7") && error.contains("nearest: `model.layers"), "{error}");
    let error = changed("goat", &|table| {
        let copy = "base_model.model.model.layers.0.mlp.up_proj.moe_layer.gate.weight";
        table.tensors.get_mut(copy).unwrap().bytes[0] ^= 1;
    });
    assert!(error.contains("a copy of"), "{error}");
}
