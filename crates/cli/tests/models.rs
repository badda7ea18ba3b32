//! Parity with reference implementations, through the command.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors};
use serde_json::Value;
use support::{arg, fails, material, succeeds};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model-zoo/tests/golden").join(name)
}

fn logits(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor("logits").unwrap();
    assert_eq!(view.dtype(), Dtype::F32);
    let (chunks, _) = view.data().as_chunks::<4>();
    (view.shape().to_vec(), chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

/// The largest difference relative to the largest reference logit.
fn error(model: &Path, reference: &Path) -> f32 {
    error_with(model, reference, &[])
}

fn error_with(model: &Path, reference: &Path, more: &[&str]) -> f32 {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.safetensors");
    let mut arguments =
        vec!["logits", "--model", arg(model), "--inputs", arg(reference), "--output", arg(&output)];
    arguments.extend(more);
    succeeds(&arguments);
    let ((shape, ours), (expected, theirs)) = (logits(&output), logits(reference));
    assert_eq!(shape, expected);
    let largest = theirs.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let difference =
        ours.iter().zip(&theirs).fold(0.0_f32, |largest, (a, b)| largest.max((a - b).abs()));
    difference / largest
}

#[test]
fn logits_are_those_of_the_golden_models() {
    for name in [
        "llama2",
        "llama3",
        "llama2_sharded_bf16",
        "llama2_pytorch",
        "mistral",
        "qwen2",
        "qwen3",
        "gemma2",
        "phi3",
    ] {
        let folder = golden(name);
        let error = error(&folder, &folder.join("reference.safetensors"));
        println!("{name}: {error:e}");
        assert!(error <= 1e-4, "{name}: {error}");
    }
}

#[test]
fn element_types_and_split_linears_are_chosen_on_the_command_line() {
    let folder = golden("phi3");
    let reference = folder.join("reference.safetensors");
    assert!(error_with(&folder, &reference, &["--split-fused"]) <= 1e-4);
    let rounded = error_with(&folder, &reference, &["--dtype", "bfloat16"]);
    assert!(rounded > 1e-4 && rounded < 0.1, "{rounded}");
    assert!(error_with(&folder, &reference, &["--dtype", "auto"]) <= 1e-4);
    // Encoders compute in the type of their matrices.
    let encoder = golden("roberta_cls");
    let mut arguments = vec!["logits", "--model", arg(&encoder), "--inputs", arg(&reference)];
    arguments.extend(["--output", "unused", "--dtype", "float16", "--adapter", "unused"]);
    let error = fails(&arguments);
    assert!(error.contains("`dtype` is float16, but must be float32"), "{error}");
}

#[test]
fn stories260k_gives_the_reference_logits_and_text() {
    let Some(folder) = material("material/stories260K") else { return };
    let error = error(&folder, &folder.join("reference.safetensors"));
    println!("stories260K: {error:e}");
    assert!(error <= 1e-4, "{error}");

    let text = std::fs::read_to_string(folder.join("reference.json")).unwrap();
    let reference: Value = serde_json::from_str(&text).unwrap();
    let count = |key: &str| reference[key].as_array().unwrap().len();
    let tokens = (count("greedy_ids") - count("prompt_ids")).to_string();
    let generate = |more: &[&str]| {
        let prompt = reference["prompt"].as_str().unwrap();
        let mut arguments = vec![
            "generate",
            "--model",
            arg(&folder),
            "--prompt",
            prompt,
            "--max-new-tokens",
            &tokens,
            "--temperature",
            "0",
        ];
        arguments.extend(more);
        succeeds(&arguments)
    };
    let expected = reference["greedy_text"].as_str().unwrap();
    assert_eq!(generate(&[]).trim_end(), expected.trim_end());
    let continuation = generate(&["--skip-prompt"]);
    assert_eq!(format!("Once upon a time{}", continuation.trim_end()), expected.trim_end());
    let sentence = continuation.split_once('.').unwrap().0;
    assert_eq!(generate(&["--skip-prompt", "--stop", "."]).trim_end(), sentence);
}

#[test]
fn inspect_counts_the_parameters_of_published_configurations() {
    let Some(folder) = material("material/configs/hf") else { return };
    for (file, family, parameters) in [
        ("llama-2-7b-hf.json", "llama", "6,738,415,616"),
        ("llama-3-8b.json", "llama", "8,030,261,248"),
        ("llama-3.1-8b-instruct.json", "llama", "8,030,261,248"),
        ("llama-3.2-1b-instruct.json", "llama", "1,235,814,400"),
        ("tinyllama-1.1b-chat.json", "llama", "1,100,048,384"),
        ("smollm2-135m.json", "llama", "134,515,008"),
        ("qwen2.5-0.5b.json", "qwen2", "494,032,768"),
        ("qwen2.5-7b-instruct.json", "qwen2", "7,615,616,512"),
        ("qwen3-0.6b.json", "qwen3", "596,049,920"),
        ("mistral-7b-instruct-v0.3.json", "mistral", "7,248,023,552"),
        ("gemma-2-2b.json", "gemma2", "2,614,341,888"),
        ("phi-3-mini-4k.json", "phi3", "3,821,079,552"),
        ("roberta-large.json", "roberta", "355,361,794"),
        ("clip-vit-base-patch32.json", "clip_vision_model", "87,849,216"),
    ] {
        let text = succeeds(&["inspect", arg(&folder.join(file))]);
        assert!(text.contains(parameters), "{file}: {text}");
        assert!(text.contains(&format!("family                {family}\n")), "{file}: {text}");
    }
}

#[test]
fn inputs_that_cannot_be_used_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = golden("llama2");
    let run = |bytes: &[u8]| {
        let input = folder.path().join("in.safetensors");
        std::fs::write(&input, bytes).unwrap();
        let output = folder.path().join("out.safetensors");
        let error = fails(&[
            "logits",
            "--model",
            arg(&model),
            "--inputs",
            arg(&input),
            "--output",
            arg(&output),
        ]);
        assert!(error.contains("in.safetensors"), "{error}");
        assert!(!output.exists());
        error
    };
    let file = |ids: &[i64], shape: [usize; 2]| {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let view =
            safetensors::tensor::TensorView::new(Dtype::I64, shape.to_vec(), &bytes).unwrap();
        safetensors::serialize([("input_ids", view)], None).unwrap()
    };
    assert!(run(b"nothing").contains("safetensors"));
    assert!(run(&file(&[1, 96], [1, 2])).contains("holds 96"));
    assert!(run(&file(&vec![1; 129], [1, 129])).contains("129 positions"));
    let error = fails(&["generate", "--model", "nowhere", "--prompt", "x"]);
    assert!(error.contains("nowhere"), "{error}");
    #[cfg(not(feature = "hub"))]
    {
        let error = fails(&["generate", "--model", "organisation/name", "--prompt", "x"]);
        assert!(error.contains("`organisation/name` is not a folder here"), "{error}");
    }
    let error =
        fails(&["generate", "--model", arg(&model), "--prompt", "x", "--temperature", "-1"]);
    assert!(error.contains("temperature"), "{error}");
}

/// A copy of a golden folder.
fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden(name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

#[test]
fn folders_at_fault_are_named_with_what_was_expected_and_found() {
    let inputs = golden("llama2").join("reference.safetensors");
    let refused = |folder: &Path, expected: &[&str]| {
        let output = folder.join("out.safetensors");
        let (model, inputs) = (["--model", arg(folder)], ["--inputs", arg(&inputs)]);
        let error =
            fails(&[&["logits"], &model[..], &inputs[..], &["--output", arg(&output)]].concat());
        for part in expected {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
    };
    // Another key of the configuration makes tensors missing, left over, or of another shape.
    let with_key = |key: &str, value: Value, expected: &[&str]| {
        let folder = copy("llama2");
        let path = folder.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config[key] = value;
        std::fs::write(&path, config.to_string()).unwrap();
        refused(folder.path(), expected);
    };
    with_key("model_type", "mamba".into(), &["config.json", "`model_type` is mamba", "mistral"]);
    let layers = json_of(&golden("llama2"))["num_hidden_layers"].as_u64().unwrap();
    let missing = format!("model.layers.{layers}.");
    with_key("num_hidden_layers", (layers + 1).into(), &["no tensor", &missing]);
    let left = format!("model.layers.{}.", layers - 1);
    with_key("num_hidden_layers", (layers - 1).into(), &[&left]);
    with_key("vocab_size", 95.into(), &["embed_tokens.weight", "95", "96"]);

    let cut = |name: &str, file: &str| {
        let folder = copy(name);
        let path = folder.path().join(file);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        refused(folder.path(), &[file]);
    };
    cut("llama2", "model.safetensors");
    cut("llama2_pytorch", "pytorch_model-00002-of-00002.bin");
    let folder = copy("llama2_sharded_bf16");
    let shard = "model-00002-of-00003.safetensors";
    std::fs::remove_file(folder.path().join(shard)).unwrap();
    refused(folder.path(), &[shard]);
}

fn json_of(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap()
}
