//! The weights of a zoo model by Burn's own means: burn-store writes a safetensors file that
//! transformers and `Decoder::load` read, and reads those of safetensors and of `torch.save`.
//!
//! ```text
//! cargo run --release --example burn_store
//! cargo run --release --example burn_store -- a-folder-with-pytorch_model.bin
//! ```
//!
//! What differs between a checkpoint and the modules is a mapping of keys: queries, keys and values
//! are in a module `qkv`, and the linear of a projection that can be adapted is its `base`.
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};

use anyhow::Context;
use lora_moe::burn::store::{
    BurnToPyTorchAdapter, KeyRemapper, ModuleSnapshot, PyTorchToBurnAdapter, PytorchStore,
    SafetensorsStore,
};
use lora_moe::burn::tensor::{Device, Int, Tensor};
use lora_moe::device::default_device;
use lora_moe::model_zoo::{CausalLm, Decoder, DecoderConfig, LoadOptions, TokenInput};
use lora_moe::router::RoutingTape;

pub(crate) fn main() -> anyhow::Result<()> {
    let pytorch = std::env::args().nth(1).map(PathBuf::from);
    run(&std::env::temp_dir().join("burn_store"), pytorch.as_deref())
}

pub(crate) fn run(folder: &Path, pytorch: Option<&Path>) -> anyhow::Result<()> {
    let device = default_device()?;
    let config = DecoderConfig::new(64, 32, 64, 2, 4);
    let model: Decoder = Decoder::init_random(&config, 0, &device)?;
    let expected = logits(&model, &device);

    // Writes `config.json` and the weights, which burn-store then writes again.
    model.save(folder)?;
    let file = folder.join("model.safetensors");
    std::fs::remove_file(&file)?;
    let mut store = SafetensorsStore::from_file(&file)
        .with_to_adapter(BurnToPyTorchAdapter)
        .skip_enum_variants(true)
        .remap(to_checkpoint()?);
    model.save_into(&mut store)?;
    let read: Decoder = Decoder::load(folder, &LoadOptions::default(), &device)?;
    let difference = difference(&expected, &logits(&read, &device));
    println!("written by burn-store, read by model-zoo: largest difference {difference:.1e}");
    anyhow::ensure!(difference < 1e-6, "the models differ");

    let mut read: Decoder = Decoder::init_random(&config, 1, &device)?;
    let mut store = SafetensorsStore::from_file(&file)
        .with_from_adapter(PyTorchToBurnAdapter)
        .skip_enum_variants(true)
        .remap(from_checkpoint()?);
    read.load_from(&mut store)?;
    let difference = self::difference(&expected, &logits(&read, &device));
    println!("read by burn-store: largest difference {difference:.1e}");
    anyhow::ensure!(difference < 1e-6, "the models differ");

    match pytorch {
        Some(folder) => read_pytorch(folder, &device),
        None => Ok(()),
    }
}

/// Reads the files `*.bin` of a folder through burn-store, and compares with `Decoder::load`.
fn read_pytorch(folder: &Path, device: &Device) -> anyhow::Result<()> {
    let expected: Decoder = Decoder::load(folder, &LoadOptions::default(), device)?;
    let config = DecoderConfig::from_folder(folder)?;
    let mut model: Decoder = Decoder::init_random(&config, 0, device)?;
    let mut files = Vec::new();
    for entry in folder.read_dir().with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "bin") {
            files.push(path);
        }
    }
    files.sort();
    for file in &files {
        // Each file has a part of the weights.
        let mut store = PytorchStore::from_file(file).allow_partial(true).remap(from_checkpoint()?);
        let result = model.load_from(&mut store)?;
        println!("{}: {} tensors", file.display(), result.applied.len());
    }
    let difference = difference(&logits(&expected, device), &logits(&model, device));
    println!("read by burn-store from torch.save: largest difference {difference:.1e}");
    anyhow::ensure!(difference < 1e-6, "the models differ");
    Ok(())
}

/// Keys of a Hugging Face checkpoint to paths of modules.
fn from_checkpoint() -> anyhow::Result<KeyRemapper> {
    Ok(KeyRemapper::from_patterns(vec![
        (r"\.self_attn\.([qkv])_proj\.", ".self_attn.qkv.${1}_proj."),
        (r"_proj\.(weight|bias)$", "_proj.base.${1}"),
    ])?)
}

/// Paths of modules to keys of a Hugging Face checkpoint.
fn to_checkpoint() -> anyhow::Result<KeyRemapper> {
    Ok(KeyRemapper::from_patterns(vec![
        (r"\.self_attn\.qkv\.", ".self_attn."),
        (r"_proj\.base\.", "_proj."),
    ])?)
}

fn logits(model: &Decoder, device: &Device) -> Vec<f32> {
    let input_ids = Tensor::<2, Int>::from_ints([[1, 5, 9, 3, 7, 2]], device);
    let input = TokenInput::new(input_ids);
    let mut tape = RoutingTape::new(input.context());
    let logits = model.logits(model.hidden_states(&input, None, &mut tape));
    logits.into_data().iter::<f32>().collect()
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
