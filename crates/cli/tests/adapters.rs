//! Merging, unmerging and combining adapters through the command.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use support::{arg, fails, lora_moe, succeeds, tiny_model};

/// A folder with a model, data, and adapters that were trained on them.
struct Place {
    folder: tempfile::TempDir,
    model: PathBuf,
    data: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (model, data) = tiny_model(folder.path());
        let ids: Vec<u8> = (0..12_i64).flat_map(|at| (3 * at % 20 + 3).to_le_bytes()).collect();
        let view = TensorView::new(Dtype::I64, vec![2, 6], &ids).unwrap();
        let bytes = serialize([("input_ids", view)], None).unwrap();
        std::fs::write(folder.path().join("in.safetensors"), bytes).unwrap();
        Self { folder, model, data }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration of a short run with these keys of the adapter.
    fn config(&self, name: &str, adapter: &str) -> PathBuf {
        let (run, config) = (self.path(name), self.path(&format!("{name}.toml")));
        let (model, data) = (&self.model, &self.data);
        let text = format!(
            "[model]\npath = {model:?}\n[adapter]\n{adapter}\n[data]\ntrain = [{{ path = {data:?} \
             }}]\ntemplate = \"plain\"\n[training]\noutput_dir = {run:?}\nmax_steps = 3\n\
             learning_rate = 0.05\nwarmup_ratio = 0.0\n"
        );
        std::fs::write(&config, text).unwrap();
        config
    }

    fn train(&self, name: &str, adapter: &str) -> PathBuf {
        let config = self.config(name, adapter);
        succeeds(&["train", "--config", arg(&config)]);
        self.path(name)
    }

    fn logits(&self, model: &Path, adapter: Option<&Path>) -> Vec<f32> {
        let (input, output) = (self.path("in.safetensors"), self.path("out.safetensors"));
        let mut arguments = vec![
            "logits",
            "--model",
            arg(model),
            "--inputs",
            arg(&input),
            "--output",
            arg(&output),
        ];
        if let Some(adapter) = adapter {
            arguments.extend(["--adapter", arg(adapter)]);
        }
        succeeds(&arguments);
        let bytes = std::fs::read(&output).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let (chunks, _) = file.tensor("logits").unwrap().data().as_chunks::<4>();
        chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    fn merge(&self, adapter: &Path, output: &Path, more: &[&str]) {
        let mut arguments = vec!["merge", "--model", arg(&self.model), "--adapter", arg(adapter)];
        arguments.extend(["--output", arg(output)]);
        arguments.extend(more);
        succeeds(&arguments);
    }
}

/// The largest difference, relative to the largest value.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let pairs = found.iter().zip(expected);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

fn tensors(file: &Path) -> BTreeMap<String, Vec<f32>> {
    let bytes = std::fs::read(file).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |data: &[u8]| {
        let (chunks, _) = data.as_chunks::<4>();
        chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    file.tensors().into_iter().map(|(name, view)| (name, values(view.data()))).collect()
}

const LORA: &str = "r = 2\nlora_alpha = 4\ntarget_modules = [\"q_proj\", \"up_proj\"]";

#[test]
fn merged_models_compute_what_the_adapter_did_and_give_the_base_back() {
    let place = Place::new();
    let uniform = "num_experts = 2\nrouter = { type = \"uniform\" }";
    let pissa = "init = { type = \"pissa\" }";
    let cases = [
        ("lora", LORA.to_owned(), false),
        ("dora", format!("{LORA}\nexperts = {{ type = \"dora\" }}"), true),
        ("dora_pissa", format!("{LORA}\n{pissa}\nexperts = {{ type = \"dora\" }}"), true),
        ("uniform", format!("{LORA}\n{uniform}"), true),
        ("full", "preset = \"full\"".to_owned(), true),
    ];
    let before = tensors(&place.model.join("model.safetensors"));
    for (name, adapter, recorded) in cases {
        let adapter = place.train(name, &adapter);
        let merged = place.path(&format!("{name}-merged"));
        place.merge(&adapter, &merged, &[]);
        let expected = place.logits(&place.model, Some(&adapter));
        let off = difference(&place.logits(&merged, None), &expected);
        assert!(off < 1e-5, "{name}: {off:e}");
        assert!(difference(&place.logits(&place.model, None), &expected) > 1e-3, "{name}");
        assert_eq!(merged.join("merged_adapter.safetensors").exists(), recorded, "{name}");

        let back = place.path(&format!("{name}-back"));
        let arguments = ["unmerge", "--model", arg(&merged), "--adapter", arg(&adapter)];
        succeeds(&[&arguments[..], &["--output", arg(&back)]].concat());
        let back = tensors(&back.join("model.safetensors"));
        assert!(back.keys().eq(before.keys()));
        for (tensor, expected) in &before {
            let off = difference(&back[tensor], expected);
            assert!(off <= 1e-6, "{name}: {tensor}: {off:e}");
        }
    }
    // What the record says cannot be found out from the folder.
    std::fs::remove_file(place.path("dora-merged").join("merged_adapter.safetensors")).unwrap();
    let (merged, dora) = (place.path("dora-merged"), place.path("dora"));
    let output = place.path("refused");
    let arguments = ["unmerge", "--model", arg(&merged), "--adapter", arg(&dora)];
    let text = fails(&[&arguments[..], &["--output", arg(&output)]].concat());
    assert!(text.contains("DoRA") && text.contains("merged_adapter.safetensors"), "{text}");
    // The record of one adapter is not that of another.
    let (merged, full) = (place.path("uniform-merged"), place.path("full"));
    let arguments = ["unmerge", "--model", arg(&merged), "--adapter", arg(&full)];
    let text = fails(&[&arguments[..], &["--output", arg(&output)]].concat());
    assert!(text.contains("another"), "{text}");
    assert!(!output.exists());
}

#[test]
fn a_head_and_rows_of_tokens_are_trained_merged_and_given_back() {
    let place = Place::new();
    let whole = place.train("whole", "preset = \"lora\"\nmodules_to_save = [\"lm_head\"]");
    let base = tensors(&place.model.join("model.safetensors"));
    let trained = tensors(&whole.join("adapter_model.safetensors"));
    let head = &trained["base_model.model.lm_head.weight"];
    assert!(difference(head, &base["lm_head.weight"]) > 1e-3, "the head has not learned");

    let rows =
        "preset = \"lora\"\ntrainable_token_indices = { embed_tokens = [4, 9], lm_head = [4] }";
    let rows = place.train("rows", rows);
    let trained = tensors(&rows.join("adapter_model.safetensors"));
    for (module, tokens) in [("model.embed_tokens", &[4, 9][..]), ("lm_head", &[4])] {
        let name = format!("base_model.model.{module}.token_adapter.trainable_tokens_delta");
        let before = &base[&format!("{module}.weight")];
        let size = trained[&name].len() / tokens.len();
        for (row, token) in trained[&name].chunks(size).zip(tokens) {
            let before = &before[token * size..][..size];
            assert!(difference(row, before) > 1e-3, "{module}: row {token} has not learned");
        }
    }
    let (merged, back) = (place.path("merged"), place.path("back"));
    let [model, rows_arg] = [arg(&place.model), arg(&rows)];
    succeeds(&["merge", "--model", model, "--adapter", rows_arg, "--output", arg(&merged)]);
    let adapted = place.logits(&place.model, Some(&rows));
    assert!(difference(&place.logits(&merged, None), &adapted) < 1e-5);
    let [merged, back_arg] = [arg(&merged), arg(&back)];
    succeeds(&["unmerge", "--model", merged, "--adapter", rows_arg, "--output", back_arg]);
    let restored = tensors(&back.join("model.safetensors"));
    for (name, values) in &base {
        assert!(difference(&restored[name], values) < 1e-6, "{name}");
    }
}

#[test]
fn a_merged_model_has_the_element_type_of_its_base_unless_another_is_asked_for() {
    let mut place = Place::new();
    let types = |folder: &Path| -> Vec<Dtype> {
        let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut types: Vec<_> = file.iter().map(|(_, tensor)| tensor.dtype()).collect();
        types.dedup();
        types
    };
    let lora = place.train("lora", "preset = \"lora\"\nr = 2");
    let exact = place.path("exact");
    place.merge(&lora, &exact, &[]);
    assert_eq!(types(&exact), [Dtype::F32]);

    let half = place.path("half");
    let asked = ["--output-dtype", "bfloat16", "--output", arg(&half)];
    let merge = ["merge", "--model", arg(&place.model), "--adapter", arg(&lora)];
    let output = lora_moe(&[&merge[..], &asked].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    // Half of the spacing of 8 bits, uniformly: about 2^-9 / sqrt(3) / 0.72 of a weight.
    assert!(said.contains("in bfloat16, which rounds the weights by 1."), "{said}");
    assert!(said.contains("e-3 of their norm"), "{said}");
    assert_eq!(types(&half), [Dtype::BF16]);
    let config = std::fs::read_to_string(half.join("config.json")).unwrap();
    assert!(config.contains("\"torch_dtype\": \"bfloat16\""), "{config}");
    let off = difference(&place.logits(&half, None), &place.logits(&exact, None));
    assert!(off > 0.0 && off < 2e-2, "{off}");

    // A base in bf16, and nothing said.
    place.model = half;
    let again = place.train("again", "preset = \"lora\"\nr = 2");
    let merged = place.path("merged");
    place.merge(&again, &merged, &[]);
    assert_eq!(types(&merged), [Dtype::BF16]);
}

#[test]
fn a_mixture_merges_at_given_weights_or_is_refused_with_the_ways_out() {
    let place = Place::new();
    let mixture = place.train("mixture", &format!("{LORA}\nnum_experts = 2"));
    let refuse = |more: &[&str]| {
        let output = place.path("refused");
        let arguments =
            ["merge", "--model", arg(&place.model), "--adapter", arg(&mixture), "--output"];
        let text = fails(&[&arguments[..], &[arg(&output)], more].concat());
        assert!(!output.exists());
        text
    };
    let text = refuse(&[]);
    assert!(text.contains("--prompt") && text.contains("--weights"), "{text}");
    assert!(refuse(&["--weights", "0.5,0.3,0.2"]).contains("2 finite numbers"));
    let merged = place.path("merged");
    place.merge(&mixture, &merged, &["--weights", "0.2,0.8"]);
    let off = difference(&place.logits(&merged, None), &place.logits(&place.model, None));
    assert!(off > 1e-3, "{off:e}");
}

#[test]
fn experts_and_static_mixtures_are_written_as_loras_of_peft() {
    let place = Place::new();
    let mixture = place.train("mixture", &format!("{LORA}\nnum_experts = 2"));
    let extract = |name: &str, more: &[&str]| {
        let output = place.path(name);
        let arguments = ["extract", "--adapter", arg(&mixture), "--output", arg(&output)];
        succeeds(&[&arguments[..], more].concat());
        let text = succeeds(&["inspect", arg(&output)]);
        assert!(text.contains("layout                peft"), "{text}");
        place.logits(&place.model, Some(&output))
    };
    for (name, weights, more) in [
        ("first", "1,0", ["--expert", "0"]),
        ("second", "0,1", ["--expert", "1"]),
        ("both", "0.2,0.8", ["--weights", "0.2,0.8"]),
    ] {
        let merged = place.path(&format!("{name}-merged"));
        place.merge(&mixture, &merged, &["--weights", weights]);
        let off = difference(&extract(name, &more), &place.logits(&merged, None));
        assert!(off < 1e-5, "{name}: {off:e}");
    }
    let refuse = |more: &[&str]| {
        let output = place.path("refused");
        let arguments = ["extract", "--adapter", arg(&mixture), "--output", arg(&output)];
        let text = fails(&[&arguments[..], more].concat());
        assert!(!output.exists());
        text
    };
    assert!(refuse(&[]).contains("--weights"));
    assert!(refuse(&["--expert", "2"]).contains("there are 2"));
}

#[test]
fn a_mix_starts_as_the_mean_and_its_router_is_trained_alone() {
    let place = Place::new();
    let first = place.train("first", LORA);
    let second = place.train(
        "second",
        "r = 3\nlora_alpha = 4\nuse_rslora = true\ntarget_modules = [\"up_proj\", \"v_proj\"]",
    );
    let mix = place.path("mix");
    let arguments = ["mix", "--adapters", arg(&first), arg(&second), "--output", arg(&mix)];
    let output = lora_moe(&arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && text.contains("adapter 2 adapts 4 of 6"), "{text}");
    let (merged, mean) = (place.path("merged"), place.logits(&place.model, Some(&mix)));
    place.merge(&mix, &merged, &["--weights", "0.5,0.5"]);
    let off = difference(&place.logits(&merged, None), &mean);
    assert!(off < 1e-5, "{off:e}");

    let run = place.train("tuned", &format!("from = {mix:?}\ntrain = \"router\""));
    let file = "adapter_model.safetensors";
    let (before, after) = (tensors(&mix.join(file)), tensors(&run.join(file)));
    assert!(before.keys().eq(after.keys()));
    for (name, values) in &before {
        let same = values.iter().map(|v| v.to_bits()).eq(after[name].iter().map(|v| v.to_bits()));
        assert_eq!(same, !name.contains("router"), "{name}");
    }
    // All of a saved adapter goes on from where it was.
    let run = place.train("on", &format!("from = {first:?}\nlora_dropout = 0.1"));
    assert_ne!(tensors(&run.join(file)), tensors(&first.join(file)));

    let refuse = |adapter: &str| {
        let config = place.config("refused", adapter);
        fails(&["train", "--config", arg(&config)])
    };
    let text = refuse(&format!("from = {mix:?}\nr = 7"));
    assert!(text.contains("`adapter.r` is 7") && text.contains("has 3"), "{text}");
    assert!(refuse(&format!("{LORA}\ntrain = \"router\"")).contains("`adapter.from`"));
    let text = refuse(&format!("from = {first:?}\ntrain = \"router\""));
    assert!(text.contains("no router of the adapter has parameters"), "{text}");
    assert!(refuse(&format!("{LORA}\ntrain = \"gate\"")).contains("router"));
}
