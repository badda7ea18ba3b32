//! A whole run through the library, without the command: data from a file, training into a folder,
//! the adapter loaded onto the base model again, generation.
//!
//! ```text
//! cargo run --release --example train_with_library -- [FOLDER]
//! ```
//!
//! FOLDER (default `examples-out`) receives a tiny random model, so that nothing is downloaded; any
//! folder of a supported decoder can stand in its place. What is learned is to go on with the
//! alphabet.
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};

use lora_moe::data::{EncodeConfig, encode_records, read_records};
use lora_moe::device::default_device;
use lora_moe::finetune::train::{Resume, Silent, Trainer, TrainingConfig};
use lora_moe::model_zoo::{
    Decoder, DecoderConfig, GenerationConfig, LoadOptions, TextTokenizer, generate,
};
use lora_moe::moe_adapter::{
    AdaptedLinear, Preset, TargetModules, attach, attach_saved, load_adapter,
};
use lora_moe::study::world::{ALPHABET, BOS, EOS, PAD, World, WorldConfig};

pub(crate) fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).map_or_else(|| "examples-out".into(), PathBuf::from);
    run(&folder)
}

pub(crate) fn run(folder: &Path) -> anyhow::Result<()> {
    let device = default_device()?;
    let (base, data) = (folder.join("model"), folder.join("train.jsonl"));
    write_model(&base)?;
    write_data(&data)?;

    // Data: files, records, samples.
    let tokenizer = TextTokenizer::from_folder(&base)?;
    let records = read_records(&[data.as_path().into()])?;
    let (samples, report) = encode_records(&records, &tokenizer, &EncodeConfig::default())?;
    println!("{} samples of {} tokens", report.samples, report.tokens);
    let (validation, train) = samples.split_at(4);
    // A method: a preset, with some keys changed.
    let mut adapter = Preset::GoatPaper.config();
    (adapter.r, adapter.num_experts) = (16, 4);
    adapter.target_modules = TargetModules::all_linear();
    let mut model = Decoder::<AdaptedLinear>::load(&base, &LoadOptions::default(), &device)?;
    println!("{} linears adapted", attach(&mut model, &adapter, 0)?);

    // Training; the run's folder has what the command writes. `Silent` can be an observer instead.
    let run = folder.join("run");
    if run.exists() {
        std::fs::remove_dir_all(&run)?; // a finished run is not overwritten
    }
    let training =
        TrainingConfig { learning_rate: 1e-2, num_train_epochs: 15.0, ..TrainingConfig::default() };
    let trainer = Trainer::new(model, &adapter, &training, train, validation, &run)?
        .with_base_model(base.display().to_string());
    let (_, summary) = trainer.run(&Resume::No, &mut Silent)?;
    println!("{} steps, training loss {:.3}", summary.steps, summary.train_loss);
    if let Some(evaluation) = summary.evaluation {
        println!("validation loss {:.3}", evaluation.loss);
    }

    // The adapter from its folder, on the base model as it was.
    let mut model = Decoder::<AdaptedLinear>::load(&base, &LoadOptions::default(), &device)?;
    let (adapter, state) = load_adapter(&run)?;
    attach_saved(&mut model, &adapter, state, &run.display().to_string())?;
    let prompt = "d e f";
    let ids = tokenizer.encode(prompt, true)?;
    let config = GenerationConfig { max_new_tokens: 8, ..GenerationConfig::default() };
    let generated = generate(&model, &tokenizer, &ids, &config, |_| {})?;
    println!("{prompt} -> {}", generated.text.trim());
    anyhow::ensure!(generated.text.trim() == "g h i", "the alphabet was not learned");
    Ok(())
}

fn write_model(folder: &Path) -> anyhow::Result<()> {
    let tokenizer = World::new(&WorldConfig::default())?.tokenizer()?;
    let tokenizer =
        TextTokenizer::from_tokenizer(tokenizer, Some("<s>"), Some("</s>"), Some("<pad>"))?;
    let mut config = DecoderConfig::new(tokenizer.vocab_size(), 64, 128, 2, 4);
    config.initializer_range = 0.2; // a frozen random head needs larger weights to be of use
    config.bos_token_id = Some(BOS);
    config.eos_token_ids = vec![EOS];
    config.pad_token_id = Some(PAD);
    tokenizer.save(folder)?;
    Ok(Decoder::<AdaptedLinear>::init_random(&config, 0, &default_device()?)?.save(folder)?)
}

/// Three letters, and the three after them; every run of letters occurs a few times.
fn write_data(path: &Path) -> anyhow::Result<()> {
    let letter = |at: usize| ALPHABET[at % ALPHABET.len()];
    let letters = |at: usize| format!("{} {} {}", letter(at), letter(at + 1), letter(at + 2));
    let line = |at: usize| {
        format!("{{\"prompt\": \"{}\", \"completion\": \" {}\"}}\n", letters(at), letters(at + 3))
    };
    Ok(std::fs::write(path, (0..4 * ALPHABET.len()).map(line).collect::<String>())?)
}
