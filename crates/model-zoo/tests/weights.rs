//! What is wrong with a folder of weights is said in full.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use burn::tensor::{DType, Device, Tensor};
use common::{Base, golden, tiny_config};
use model_zoo::{
    ConfigError, LoadOptions, ModelError, WeightDType, WeightError, WeightSource, WeightWriter,
};
use tempfile::TempDir;

fn copy(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(golden(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

fn load(folder: &Path) -> WeightError {
    match Base::load(folder, &LoadOptions::default(), &Device::flex()) {
        Err(ModelError::Weights(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Writes llama2's weights again, changed.
fn rewrite(folder: &Path, change: impl Fn(&str) -> Option<(String, Option<Vec<usize>>)>) {
    let device = Device::flex();
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut writer = WeightWriter::new();
    for (name, tensor) in file.tensors() {
        let Some((name, shape)) = change(&name) else { continue };
        let shape = shape.unwrap_or_else(|| tensor.shape().to_vec());
        match shape[..] {
            [n] => writer.push(name, Tensor::<1>::ones([n], &device)),
            [r, c] => writer.push(name, Tensor::<2>::ones([r, c], &device)),
            _ => unreachable!(),
        }
    }
    writer.write(&path).unwrap();
}

#[test]
fn a_folder_without_weights() {
    let folder = copy("llama2");
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    assert!(matches!(load(folder.path()), WeightError::NoWeights { .. }));
}

#[test]
fn a_missing_tensor_comes_with_the_nearest_names() {
    let folder = copy("llama2");
    rewrite(folder.path(), |name| Some((name.replace("model.norm.", "model.norms."), None)));
    let error = load(folder.path());
    assert!(
        matches!(&error, WeightError::MissingTensor { name, .. } if name == "model.norm.weight")
    );
    assert!(error.to_string().contains("nearest names are `model.norms.weight`"), "{error}");
}

#[test]
fn a_tensor_of_another_shape() {
    let folder = copy("llama2");
    rewrite(folder.path(), |name| {
        Some((name.to_owned(), name.ends_with("1.mlp.up_proj.weight").then(|| vec![32, 64])))
    });
    let error = load(folder.path()).to_string();
    assert!(
        error.ends_with(
            "tensor `model.layers.1.mlp.up_proj.weight` has shape [32, 64], but [64, 32] is expected"
        ),
        "{error}"
    );
}

#[test]
fn tensors_without_a_place_come_with_the_nearest_names() {
    // The second has no head of its own.
    for name in ["llama2", "llama3"] {
        let folder = copy(name);
        let path = folder.path().join("config.json");
        let config = fs::read_to_string(&path).unwrap();
        let config = config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
        fs::write(&path, config).unwrap();
        let error = load(folder.path());
        assert!(matches!(&error, WeightError::UnusedTensors { names, .. } if names.len() == 9));
        let expected = "`model.layers.1.input_layernorm.weight` \
                        (nearest: `model.layers.0.input_layernorm.weight`)";
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.to_string().ends_with("and 1 more"), "{error}");
    }
}

#[test]
fn what_follows_from_the_configuration_may_be_stored_too() {
    let folder = copy("llama3");
    let device = Device::flex();
    let path = folder.path().join("model.safetensors");
    let model = common::load(folder.path());
    model.save(folder.path()).unwrap();
    let mut source = WeightSource::open(folder.path(), WeightDType::F32).unwrap();
    let names: Vec<String> = source.names().map(str::to_owned).collect();
    let bytes = fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut writer = WeightWriter::new();
    for name in names {
        match file.tensor(&name).unwrap().shape() {
            [n] => writer.push(name.clone(), source.take(&name, [*n], &device).unwrap()),
            [r, c] => writer.push(name.clone(), source.take(&name, [*r, *c], &device).unwrap()),
            _ => unreachable!(),
        }
    }
    source.finish().unwrap();
    writer.push("lm_head.weight", Tensor::<2>::ones([96, 32], &device));
    writer.push("model.layers.0.self_attn.rotary_emb.inv_freq", Tensor::<1>::ones([4], &device));
    writer.write(&path).unwrap();
    common::load(folder.path());
}

#[test]
fn integers_are_no_weights() {
    let folder = copy("llama2");
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let text = String::from_utf8_lossy(&bytes[8..]).find("\"F32\"").unwrap() + 8;
    let mut changed = bytes;
    changed[text..text + 5].copy_from_slice(b"\"I32\"");
    fs::write(&path, changed).unwrap();
    let error = load(folder.path());
    assert!(matches!(&error, WeightError::Dtype { dtype, .. } if dtype == "I32"), "{error}");
}

#[test]
fn what_is_no_number_is_named() {
    for value in [f32::NAN, f32::INFINITY] {
        let folder = copy("llama2");
        let path = folder.path().join("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let (header, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let begin = metadata.info("model.norm.weight").unwrap().data_offsets.0;
        bytes[8 + header + begin..][..4].copy_from_slice(&value.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        let error = load(folder.path());
        assert!(
            matches!(&error, WeightError::NotFinite { name, .. } if name == "model.norm.weight"),
            "{error}"
        );
    }
}

#[test]
fn truncated_and_foreign_files() {
    let folder = copy("llama2");
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    for length in [0, 4, 100, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = load(folder.path());
        assert!(matches!(error, WeightError::Truncated { .. }), "{length}: {error}");
    }
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = load(folder.path()).to_string();
    let expected = format!("{} bytes, but {} are expected", bytes.len() / 2, bytes.len());
    assert!(error.contains(&expected), "{error}");
    assert!(error.contains("tensor `model.layers."), "{error}");
    fs::write(&path, b"version https://git-lfs.github.com/spec/v1").unwrap();
    assert!(matches!(load(folder.path()), WeightError::Pointer { .. }));
    fs::write(&path, b"<!DOCTYPE html><html><body>not found</body></html>").unwrap();
    assert!(matches!(load(folder.path()), WeightError::Format { .. }));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(load(folder.path()), WeightError::Io { .. }));
}

#[test]
fn pytorch_shards_hold_what_the_safetensors_file_does() {
    let (expected, found) =
        (common::load(&golden("llama2")), common::load(&golden("llama2_pytorch")));
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    expected.save(folders[0].path()).unwrap();
    found.save(folders[1].path()).unwrap();
    let [a, b] = folders.map(|folder| fs::read(folder.path().join("model.safetensors")).unwrap());
    assert_eq!(a, b);
}

#[test]
fn pytorch_files_that_are_damaged_or_not_of_this_format_are_named() {
    let folder = copy("llama2_pytorch");
    let name = "pytorch_model-00001-of-00002.bin";
    let path = folder.path().join(name);
    let bytes = fs::read(&path).unwrap();
    let wrong = |bytes: &[u8], part: &str| {
        fs::write(&path, bytes).unwrap();
        let error = load(folder.path());
        assert!(matches!(error, WeightError::PyTorch { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains(name) && error.contains(part), "{error}");
    };
    wrong(b"", "1.6");
    wrong(&[0x80, 2, 0x8a, 10], "1.6");
    for length in [4, 100, bytes.len() / 2, bytes.len() - 1] {
        wrong(&bytes[..length], "archive");
    }
    // The pickle with another name of the same length.
    let at = bytes.windows(12).position(|part| part == b"FloatStorage").unwrap();
    let mut changed = bytes.clone();
    changed[at..at + 5].copy_from_slice(b"QInt8");
    wrong(&changed, "QInt8Storage");
    fs::remove_file(&path).unwrap();
    assert!(matches!(load(folder.path()), WeightError::ShardMissing { .. }));
}

#[test]
fn weights_are_in_the_element_type_that_is_asked_for() {
    for (dtype, expected, limit) in [
        (WeightDType::F32, DType::F32, 1e-6),
        (WeightDType::F16, DType::F16, 0.01),
        (WeightDType::BF16, DType::BF16, 1e-6),
        (WeightDType::AsStored, DType::BF16, 1e-6),
    ] {
        let folder = golden("llama2_sharded_bf16");
        let options = LoadOptions { dtype, ..LoadOptions::default() };
        let model = Base::load(&folder, &options, &Device::flex()).unwrap();
        assert_eq!(model.model.embed_tokens.weight.val().dtype(), expected);
        let reference = common::Reference::read(&folder);
        let found = common::logits(&model, &reference.input(), None);
        let error = common::largest_difference(&found, &reference.logits) / reference.largest();
        assert!(error < limit, "{dtype}: {error}");
    }
}

#[test]
fn shards_that_are_missing_or_misplaced() {
    let folder = copy("llama2_sharded_bf16");
    let index = folder.path().join("model.safetensors.index.json");
    let text = fs::read_to_string(&index).unwrap();
    let wrong = |text: &str, part: &str| {
        fs::write(&index, text).unwrap();
        let error = load(folder.path());
        assert!(matches!(error, WeightError::Index { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    };
    wrong("[]", "index.json");
    wrong(&text.replace("model-00002", "../model-00002"), "is not a file name");
    wrong(&text.replace("lm_head.weight", "lm_head.weights"), "no shard does");
    fs::write(&index, text).unwrap();
    fs::remove_file(folder.path().join("model-00002-of-00003.safetensors")).unwrap();
    let error = load(folder.path());
    assert!(
        matches!(&error, WeightError::ShardMissing { shard, .. } if shard.contains("00002")),
        "{error}"
    );
}

#[test]
fn folders_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let model = Base::init_random(&tiny_config(), 0, &Device::flex()).unwrap();
    let error = model.save(file.join("model")).unwrap_err();
    assert!(matches!(error, ModelError::Write { .. }), "{error}");
    let error = WeightWriter::new().write(&file.join("weights")).unwrap_err();
    assert!(matches!(error, WeightError::Io { .. }), "{error}");
}

#[test]
fn configurations_at_fault_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let result = Base::load(folder.path(), &LoadOptions::default(), &Device::flex());
    assert!(matches!(result, Err(ModelError::Config(ConfigError::Read { .. }))));
    let mut config = tiny_config();
    config.num_key_value_heads = 4;
    let result = Base::init_random(&config, 0, &Device::flex());
    assert!(matches!(result, Err(ConfigError::Invalid { .. })));
}
