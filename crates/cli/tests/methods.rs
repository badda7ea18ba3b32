//! Every strategy from the command, and merging.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use support::{arg, fails, succeeds, tiny_model};

struct Workplace {
    folder: tempfile::TempDir,
    model: PathBuf,
    config: PathBuf,
}

impl Workplace {
    fn new(adapter: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (model, data) = tiny_model(folder.path());
        let config = folder.path().join("run.toml");
        let text = format!(
            "[model]\npath = {model:?}\n[adapter]\n{adapter}\n\
             [data]\ntrain = [{{ path = {data:?} }}]\ntemplate = \"plain\"\n\
             [training]\noutput_dir = \"unset\"\nlearning_rate = 5e-3\nmax_steps = 4\n\
             logging_steps = 1\nper_device_train_batch_size = 4\n"
        );
        std::fs::write(&config, text).unwrap();
        Self { folder, model, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn train(&self, output: &Path, more: &[&str]) {
        let set = format!("training.output_dir={}", arg(output));
        let mut arguments = vec!["train", "--config", arg(&self.config), "--set", &set];
        arguments.extend(more);
        succeeds(&arguments);
    }

    /// The logits of a model, with or without an adapter.
    fn logits(&self, model: &Path, adapter: Option<&Path>) -> Vec<f32> {
        let (inputs, outputs) = (self.path("in.safetensors"), self.path("out.safetensors"));
        let ids: Vec<u8> = (3..13_i64).flat_map(i64::to_le_bytes).collect();
        let view = TensorView::new(Dtype::I64, vec![2, 5], &ids).unwrap();
        let bytes = safetensors::serialize([("input_ids", view)], None).unwrap();
        std::fs::write(&inputs, bytes).unwrap();
        let mut arguments = vec![
            "logits",
            "--model",
            arg(model),
            "--inputs",
            arg(&inputs),
            "--output",
            arg(&outputs),
        ];
        if let Some(adapter) = adapter {
            arguments.extend(["--adapter", arg(adapter)]);
        }
        succeeds(&arguments);
        let bytes = std::fs::read(&outputs).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let data = file.tensor("logits").unwrap().data().to_vec();
        data.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
    }
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    let largest = b.iter().fold(0.0_f32, |max, value| value.abs().max(max));
    a.iter().zip(b).fold(0.0_f32, |max, (a, b)| (a - b).abs().max(max)) / largest
}

#[test]
fn each_router_trains_by_one_key() {
    let place = Workplace::new("preset = \"loramoe-paper\"\nr = 2\nbalance_loss.blc_weight = 0.0");
    let routers = [
        "uniform",
        "dense",
        "top_k",
        "noisy_top_k",
        "top_p",
        "adamole",
        "dynmole",
        "sparsegen",
        "switch",
        "expert_choice",
        "sigmoid",
        "sliding_cluster",
    ];
    for router in routers {
        let output = place.path(router);
        place.train(&output, &["--set", &format!("adapter.router.type={router}")]);
        let metrics = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap();
        assert!(metrics.lines().count() >= 4, "{router}: {metrics}");
        place.logits(&place.model, Some(&output));
    }
    let message = fails(&[
        "train",
        "--config",
        arg(&place.config),
        "--set",
        "adapter.router={ type = \"top_k\", k = 9 }",
        "--set",
        &format!("training.output_dir={}", arg(&place.path("refused"))),
    ]);
    assert!(message.contains('k') && message.contains('9'), "{message}");
}

#[test]
fn a_start_from_the_weights_resumes_and_loads_without_being_repeated() {
    let place = Workplace::new("preset = \"goat-paper\"\nr = 8");
    let (whole, parts) = (place.path("whole"), place.path("parts"));
    place.train(&whole, &["--set", "training.save_steps=2"]);
    std::fs::create_dir_all(parts.join("checkpoint-2")).unwrap();
    for entry in std::fs::read_dir(whole.join("checkpoint-2")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), parts.join("checkpoint-2").join(entry.file_name())).unwrap();
    }
    std::fs::copy(whole.join("metrics.jsonl"), parts.join("metrics.jsonl")).unwrap();
    place.train(&parts, &["--set", "training.save_steps=2", "--resume"]);
    let adapter = |folder: &Path| std::fs::read(folder.join("adapter_model.safetensors")).unwrap();
    assert_eq!(adapter(&whole), adapter(&parts));
    assert_eq!(place.logits(&place.model, Some(&whole)), place.logits(&place.model, Some(&parts)));
}

#[test]
fn a_merged_model_computes_what_the_adapter_did() {
    let place = Workplace::new("preset = \"dora\"\nr = 2");
    let (adapter, merged) = (place.path("adapter"), place.path("merged"));
    place.train(&adapter, &[]);
    let merge = |adapter: &Path, merged: &Path, more: &[&str]| {
        let mut arguments = vec!["merge", "--model", arg(&place.model), "--adapter"];
        let (adapter, merged) = (arg(adapter).to_owned(), arg(merged).to_owned());
        arguments.extend([adapter.as_str(), "--output", merged.as_str()]);
        arguments.extend(more);
        support::lora_moe(&arguments)
    };
    assert!(merge(&adapter, &merged, &[]).status.success());
    let expected = place.logits(&place.model, Some(&adapter));
    assert!(difference(&place.logits(&merged, None), &expected) < 1e-5);
    assert!(!merge(&adapter, &merged, &[]).status.success(), "a model was overwritten");

    let mixture = place.path("mixture");
    place.train(&mixture, &["--set", "adapter.preset=slim", "--set", "adapter.r=2"]);
    let refused = merge(&mixture, &place.path("refused"), &[]);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && message.contains("--prompt"), "{message}");
    let at_prompt = place.path("at_prompt");
    assert!(merge(&mixture, &at_prompt, &["--prompt", "the"]).status.success());
    assert_eq!(place.logits(&at_prompt, None).len(), expected.len());
}
