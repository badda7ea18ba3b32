//! Adapters of other projects through the command.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde_json::Value;
use support::{arg, fails, lora_moe, material, succeeds, tiny_model};

const WEIGHTS: &str = "adapter_model.safetensors";

const ADAPTERS: [(&str, &str); 13] = [
    ("lora", "peft"),
    ("rslora", "peft"),
    ("lora_pattern", "peft"),
    ("dora", "peft"),
    ("pissa", "peft"),
    ("x_lora", "x-lora"),
    ("x_lora_layerwise", "x-lora"),
    ("loramoe", "loramoe"),
    ("hydralora", "hydralora"),
    ("goat", "goat"),
    ("adamole", "adamole"),
    ("mola", "mola"),
    ("mixlora", "mixlora"),
];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model-zoo/tests/golden").join(name)
}

fn adapter(name: &str) -> PathBuf {
    golden("adapters").join(name)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn logits(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (chunks, _) = file.tensor("logits").unwrap().data().as_chunks::<4>();
    chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn convert(from: &Path, to: &str, output: &Path, more: &[&str]) -> String {
    let mut arguments =
        vec!["convert", "--adapter", arg(from), "--to", to, "--output", arg(output)];
    arguments.extend(more);
    succeeds(&arguments)
}

#[test]
fn adapters_of_other_projects_give_their_logits() {
    let folder = tempfile::tempdir().unwrap();
    for (name, _) in ADAPTERS {
        let (adapter, output) = (adapter(name), folder.path().join(name));
        let reference = adapter.join("reference.safetensors");
        succeeds(&[
            "logits",
            "--model",
            arg(&golden("llama3")),
            "--adapter",
            arg(&adapter),
            "--inputs",
            arg(&reference),
            "--output",
            arg(&output),
        ]);
        let (ours, theirs) = (logits(&output), logits(&reference));
        let largest = theirs.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let difference = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs());
        let error = difference.fold(0.0_f32, f32::max) / largest;
        println!("{name}: {error:e}");
        assert!(error <= 1e-4, "{name}: {error:e}");
    }
}

#[test]
fn there_and_back_is_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    for (name, layout) in ADAPTERS {
        let (native, back) = (folder.path().join(name), folder.path().join(format!("{name}-2")));
        convert(&adapter(name), "native", &native, &[]);
        convert(&native, layout, &back, &["--from", "native"]);
        let bytes = |folder: &Path| std::fs::read(folder.join(WEIGHTS)).unwrap();
        assert!(bytes(&back) == bytes(&adapter(name)), "{name}");
        let keys = |folder: &Path| json(&folder.join("adapter_config.json"));
        assert_eq!(keys(&back), keys(&adapter(name)), "{name}");
    }
}

#[test]
fn a_start_is_stored_where_the_model_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("goat");
    convert(&adapter("goat"), "native", &output, &["--model", arg(&golden("llama3"))]);
    let text = succeeds(&["inspect", arg(&output)]);
    assert!(text.contains("start.lora_A.weight"), "{text}");
    assert!(text.contains("layout                native"), "{text}");
    let text = succeeds(&["inspect", arg(&adapter("goat"))]);
    assert!(!text.contains("start.lora_A.weight"), "{text}");
    assert!(text.contains("layout                goat"), "{text}");
}

/// Trains a few steps in `folder`, and returns the adapter.
fn trained(folder: &Path, adapter: &str) -> PathBuf {
    let (model, data) = tiny_model(folder);
    let (config, run) = (folder.join("run.toml"), folder.join("run"));
    let text = format!(
        "[model]\npath = {model:?}\n[adapter]\n{adapter}\n\
         [data]\ntrain = [{{ path = {data:?} }}]\ntemplate = \"plain\"\n\
         [training]\noutput_dir = {run:?}\nlearning_rate = 5e-3\nmax_steps = 2\n"
    );
    std::fs::write(&config, text).unwrap();
    succeeds(&["train", "--config", arg(&config)]);
    run
}

#[test]
fn a_start_that_peft_cannot_repeat_goes_into_the_factors() {
    let folder = tempfile::tempdir().unwrap();
    for (svd, expected) in [("auto", "`init.svd`"), ("randomised", "random decomposition")] {
        let adapter = format!(
            "r = 2\nlora_alpha = 4\ntarget_modules = [\"q_proj\"]\n\
             init = {{ type = \"pissa\", svd = {svd:?} }}"
        );
        let place = folder.path().join(svd);
        std::fs::create_dir(&place).unwrap();
        let run = trained(&place, &adapter);
        let (lora, peft) = (place.join("lora"), place.join("peft"));
        let error =
            fails(&["convert", "--adapter", arg(&run), "--to", "peft", "--output", arg(&peft)]);
        assert!(error.contains(expected) && error.contains("lora-moe extract"), "{error}");
        succeeds(&["extract", "--adapter", arg(&run), "--expert", "0", "--output", arg(&lora)]);
        convert(&lora, "peft", &peft, &[]);
        let keys = json(&peft.join("adapter_config.json"));
        assert_eq!((&keys["r"], &keys["init_lora_weights"]), (&4.into(), &true.into()), "{keys}");
    }
}

#[test]
fn what_was_trained_here_is_a_lora_of_peft() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = "r = 2\nlora_alpha = 4\ntarget_modules = [\"q_proj\", \"up_proj\"]\n\
                   rank_pattern = { up_proj = 3 }";
    let run = trained(folder.path(), adapter);
    let output = folder.path().join("peft");
    convert(&run, "peft", &output, &[]);
    let keys = json(&output.join("adapter_config.json"));
    assert_eq!(keys["peft_type"], "LORA");
    assert_eq!(keys["task_type"], "CAUSAL_LM");
    assert_eq!((&keys["r"], &keys["lora_alpha"]), (&2.into(), &4.into()));
    assert_eq!(keys["rank_pattern"]["up_proj"], 3);
    assert!(keys.get("num_experts").is_none() && keys.get("router").is_none(), "{keys}");
    let text = succeeds(&["inspect", arg(&output)]);
    assert!(text.contains("layout                peft"), "{text}");
    assert!(text.contains("model.layers.1.mlp.up_proj.lora_A.weight"), "{text}");
}

#[test]
fn what_cannot_be_expressed_is_named_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    let refused = |name: &str, to: &str| {
        let error = fails(&[
            "convert",
            "--adapter",
            arg(&adapter(name)),
            "--to",
            to,
            "--output",
            arg(&output),
        ]);
        assert!(!output.join(WEIGHTS).exists());
        error
    };
    let error = refused("loramoe", "peft");
    assert!(error.contains("num_experts") && error.contains("peft"), "{error}");
    let error = refused("loramoe", "moe-peft-loramoe");
    assert!(error.contains("balance_loss") && error.contains("--drop-training"), "{error}");
    convert(&adapter("loramoe"), "moe-peft-loramoe", &output, &["--drop-training", "--bin"]);
    assert!(output.join("adapter_model.bin").exists() && !output.join(WEIGHTS).exists());
    let error = fails(&[
        "convert",
        "--adapter",
        arg(&adapter("lora")),
        "--to",
        "native",
        "--output",
        arg(&output),
    ]);
    assert!(error.contains("already holds an adapter"), "{error}");
    let all = folder.path().join("all");
    let mut config = json(&adapter("loramoe").join("adapter_config.json"));
    std::fs::create_dir(&all).unwrap();
    std::fs::copy(adapter("loramoe").join(WEIGHTS), all.join(WEIGHTS)).unwrap();
    config["target_modules"] = "all-linear".into();
    std::fs::write(all.join("adapter_config.json"), config.to_string()).unwrap();
    let new = folder.path().join("new");
    let error =
        fails(&["convert", "--adapter", arg(&all), "--to", "mixlora", "--output", arg(&new)]);
    assert!(error.contains("`target_modules` is \"all-linear\""), "{error}");
    assert!(!new.exists());
    let usage = lora_moe(&["convert", "--adapter", "x", "--to", "qlora", "--output", "y"]);
    assert_eq!(usage.status.code(), Some(2));
    let error = String::from_utf8(usage.stderr).unwrap();
    assert!(error.contains("qlora") && error.contains("moe-peft-dynmole"), "{error}");
}

#[test]
fn adapters_from_the_hub_come_back() {
    for name in ["sift_opf_lora", "gradience_tiny_lora_synthetic"] {
        let Some(source) = material(&format!("material/adapters/{name}")) else { continue };
        let folder = tempfile::tempdir().unwrap();
        let (native, back) = (folder.path().join("native"), folder.path().join("back"));
        println!("{}", succeeds(&["inspect", arg(&source)]));
        convert(&source, "native", &native, &[]);
        convert(&native, "peft", &back, &[]);
        let bytes = |folder: &Path| std::fs::read(folder.join(WEIGHTS)).unwrap();
        assert!(bytes(&back) == bytes(&source), "{name}");
    }
}
