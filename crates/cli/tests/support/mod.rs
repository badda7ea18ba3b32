//! Runs the command, and makes small models to run it on.
#![allow(dead_code)] // Each test file uses a part.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

use lora_moe::burn::tensor::Device;
use lora_moe::model_zoo::{Decoder, DecoderConfig, TextTokenizer};
use lora_moe::study::world::{BOS, EOS, PAD, World, WorldConfig};

/// Runs `lora-moe` with arguments.
pub fn lora_moe(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lora-moe"))
        .args(arguments)
        .env_remove("LORA_MOE_DEVICE")
        .env_remove("LORA_MOE_PRECISION")
        .output()
        .expect("the command starts")
}

/// Starts it and kills it (`kill -9`) after so many seconds; returns whether it was still running.
pub fn killed_after(arguments: &[&str], seconds: f64) -> bool {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lora-moe"))
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    running
}

/// Runs it and returns its standard output; fails with its standard error.
pub fn succeeds(arguments: &[&str]) -> String {
    let output = lora_moe(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "lora-moe {arguments:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs it, expects exit code 1, and returns its standard error.
pub fn fails(arguments: &[&str]) -> String {
    let output = lora_moe(arguments);
    assert_eq!(output.status.code(), Some(1), "lora-moe {arguments:?}");
    String::from_utf8(output.stderr).expect("text")
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

/// A random model with a tokenizer, and instruction data in its words.
pub fn tiny_model(folder: &Path) -> (PathBuf, PathBuf) {
    let world = World::new(&WorldConfig { entities: 8, ..WorldConfig::default() }).unwrap();
    let mut config = DecoderConfig::new(world.vocabulary().len(), 32, 64, 2, 4);
    config.max_position_embeddings = 64;
    // Wide enough that a frozen model of this size has something to adapt.
    config.initializer_range = 0.2;
    config.bos_token_id = Some(BOS);
    config.eos_token_ids = vec![EOS];
    config.pad_token_id = Some(PAD);
    let model: Decoder = Decoder::init_random(&config, 1, &Device::flex()).unwrap();
    let path = folder.join("model");
    model.save(&path).unwrap();
    let tokenizer = world.tokenizer().unwrap();
    TextTokenizer::from_tokenizer(tokenizer, Some("<s>"), Some("</s>"), Some("<pad>"))
        .unwrap()
        .save(&path)
        .unwrap();
    let records: Vec<_> = world
        .instruction(120, 0)
        .into_iter()
        .map(|exchange| {
            serde_json::json!({
                "instruction": exchange.prompt,
                "output": exchange.answer,
                "task_type": exchange.task_type,
            })
        })
        .collect();
    let data = folder.join("data.json");
    std::fs::write(&data, serde_json::to_string(&records).unwrap()).unwrap();
    (path, data)
}

/// A file beside the checkout; prints why and returns `None` where it is absent.
pub fn material(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(path);
    if !path.exists() {
        println!("skipped: {} is absent", path.display());
        return None;
    }
    Some(path)
}

/// The address that a server says it listens on, first of all, and what else it says.
pub fn address_of(server: &mut Child) -> (String, BufReader<ChildStderr>) {
    let mut error = BufReader::new(server.stderr.take().unwrap());
    let mut line = String::new();
    error.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://");
    (address.unwrap_or_else(|| panic!("no address: {line}")).to_owned(), error)
}
