//! X-LoRA through the command: adapters are mixed, the classifier is trained, used, merged and written
//! for PEFT.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde_json::Value;
use support::{arg, fails, succeeds, tiny_model};

/// The tensors of an adapter, as bytes.
fn state(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = std::fs::read(folder.join("adapter_model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter().map(|(name, tensor)| (name.to_owned(), tensor.data().to_vec())).collect()
}

#[test]
fn trained_adapters_become_experts_of_a_classifier() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = tiny_model(folder.path());
    let at = |name: &str| folder.path().join(name);
    // Arguments live as long as the test.
    let on = |name: &str| -> &'static str { arg(&at(name)).to_owned().leak() };
    let config = at("run.toml");
    let text = format!(
        "[model]\npath = {model:?}\n[adapter]\npreset = \"lora\"\nr = 2\n\
         [data]\ntrain = [{{ path = {data:?} }}]\ntemplate = \"plain\"\n[training]\n\
         output_dir = \"unset\"\nlearning_rate = 5e-3\nmax_steps = 6\n\
         per_device_train_batch_size = 4\n"
    );
    std::fs::write(&config, text).unwrap();
    let output = |name: &str| format!("training.output_dir={}", on(name));
    for (name, seed, rank) in [("one", 1, 2), ("two", 2, 3)] {
        let (seed, rank) = (format!("training.seed={seed}"), format!("adapter.r={rank}"));
        let sets = ["--set", &seed, "--set", &rank, "--set", &output(name)];
        succeeds(&[&["train", "--config", arg(&config)], &sets[..]].concat());
    }
    let adapters = ["--adapters", on("one"), on("two")];
    let mixed = ["--router", "x-lora", "--output", on("mix")];
    succeeds(&[&["mix"], &adapters[..], &mixed].concat());

    // The experts stay as they are.
    let routed = at("router.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let from = format!("from = {:?}\ntrain = \"router\"\n", at("mix"));
    std::fs::write(&routed, text.replace("preset = \"lora\"\nr = 2\n", &from)).unwrap();
    let train = ["train", "--config", arg(&routed), "--set", &output("routed")];
    succeeds(&[&train[..], &["--set", "training.recompute=block"]].concat());
    let (before, after) = (state(&at("mix")), state(&at("routed")));
    assert!(before.keys().eq(after.keys()));
    for (name, tensor) in &after {
        let learned = name.contains("model_router.layers.");
        assert_eq!(learned, *tensor != before[name], "{name}");
    }

    let logits = |adapter: &str, output: &str| {
        let input = at("in.safetensors");
        let bytes: Vec<u8> = [1_i64, 5, 2, 7].iter().flat_map(|id| id.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::I64, vec![1, 4], &bytes).unwrap();
        std::fs::write(&input, serialize([("input_ids", view)], None).unwrap()).unwrap();
        let paths = ["--inputs", arg(&input), "--output", on(output)];
        let of = ["logits", "--model", arg(&model), "--adapter", on(adapter)];
        succeeds(&[&of[..], &paths].concat());
        std::fs::read(at(output)).unwrap()
    };
    let expected = logits("routed", "routed.safetensors");
    let convert = |from: &str, to: &str, layout: &str| {
        let paths = ["--adapter", on(from), "--output", on(to), "--to", layout];
        succeeds(&[&["convert"], &paths[..]].concat());
    };
    convert("routed", "peft", "x-lora");
    let keys: Value =
        serde_json::from_slice(&std::fs::read(at("peft/adapter_config.json")).unwrap()).unwrap();
    assert_eq!(keys["peft_type"], "XLORA");
    assert!(at("peft/1/adapter_model.safetensors").is_file());
    assert_eq!(logits("peft", "peft.safetensors"), expected);
    convert("peft", "back", "native");
    assert_eq!(state(&at("back")), after);

    // One prompt, with a cache and without.
    let generate = ["generate", "--model", arg(&model), "--prompt", "copy :"];
    let adapted = |more: &[&str]| {
        let adapter = ["--adapter", on("routed"), "--max-new-tokens", "4"];
        succeeds(&[&generate[..], &adapter, more].concat())
    };
    assert_eq!(adapted(&[]), adapted(&[]));
    let merge = ["merge", "--model", arg(&model), "--adapter", on("routed")];
    let error = fails(&[&merge[..], &["--output", on("merged")]].concat());
    assert!(error.contains("--prompt"), "{error}");
    let prompt = ["--prompt", "copy :", "--output", on("merged")];
    succeeds(&[&merge[..], &prompt].concat());
    let merged = ["generate", "--model", on("merged"), "--prompt", "copy :"];
    succeeds(&[&merged[..], &["--max-new-tokens", "4"]].concat());
    let eval = ["eval", "--model", arg(&model), "--adapter", on("routed")];
    let of_data = ["--data", arg(&data), "--template", "plain"];
    let result: Value = serde_json::from_str(&succeeds(&[&eval[..], &of_data].concat())).unwrap();
    assert!(result["loss"].as_f64().unwrap().is_finite());
}
