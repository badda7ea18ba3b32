//! Files that somebody, or a disk, has changed at random: each parser says yes or no, and neither
//! panics nor runs without end.
//!
//! `LORA_MOE_MUTATIONS` sets how many changed files each parser is given (default 100). The changes
//! follow from their number alone, so a file that is found is found again. They are blind, not guided
//! by what the parsers do with them.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lora_moe::adapter_formats::read_adapter;
use lora_moe::data::read_records;
use lora_moe::eval_tasks::TaskIndex;
use lora_moe::finetune::run::{RunConfig, run_template};
use lora_moe::model_zoo::{AnyModelConfig, ChatMessage, TextTokenizer, WeightDType, WeightSource};
use lora_moe::moe_adapter::Preset;
use lora_moe::study::StudyConfig;
use support::{arg, succeeds, tiny_model};

/// What formats give a meaning to.
const WORDS: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    "\n",
    ":",
    ",",
    "-1",
    "0",
    "1e999",
    "NaN",
    "null",
    "true",
    "18446744073709551616",
    "\u{0}",
    "\u{fffd}",
    "{{",
    "{%",
    "&a",
    "*a",
    "<<",
    "!!",
];

/// A sequence of numbers that look random (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % limit.max(1)
    }
}

/// A file with one to four changes.
fn mutated(seed: &[u8], number: u64) -> Vec<u8> {
    let mut numbers = Numbers(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut bytes = seed.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len() + 1);
        let end = (at + 1 + numbers.below(24)).min(bytes.len());
        match numbers.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            1 if at < bytes.len() => bytes[at] = numbers.below(256) as u8,
            2 => drop(bytes.drain(at.min(end)..end)),
            3 => {
                let copied = bytes[at.min(end)..end].to_vec();
                let to = numbers.below(bytes.len() + 1);
                bytes.splice(to..to, copied);
            }
            4 => bytes.truncate(at),
            5 => {
                let deep = WORDS[[0, 2, 18][numbers.below(3)]].repeat(20_000);
                bytes.splice(at..at, deep.into_bytes());
            }
            _ => {
                let word = WORDS[numbers.below(WORDS.len())];
                bytes.splice(at..at, word.bytes());
            }
        }
    }
    bytes
}

/// Gives a parser changed files; it is told in which folder, of which `file` is the changed one.
fn hold(name: &str, seed: &[u8], folder: &Path, file: &str, parse: impl Fn(&Path) -> bool) {
    let count = std::env::var("LORA_MOE_MUTATIONS").ok().and_then(|count| count.parse().ok());
    let path = folder.join(file);
    std::fs::write(&path, seed).unwrap();
    assert!(parse(folder), "{name}: the file as it was is refused");
    let (mut taken, mut slowest) = (0, Duration::ZERO);
    let count: u64 = count.unwrap_or(100);
    for number in 0..count {
        std::fs::write(&path, mutated(seed, number)).unwrap();
        let started = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| parse(folder))) {
            Ok(accepted) => taken += u64::from(accepted),
            Err(_) => panic!("{name}: change {number} makes it panic: {}", path.display()),
        }
        slowest = slowest.max(started.elapsed());
    }
    println!("{name}: {taken} of {count} accepted, the slowest took {slowest:?}");
    assert!(slowest < Duration::from_secs(20), "{name}: {slowest:?}");
    std::fs::write(&path, seed).unwrap();
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model-zoo/tests/golden").join(name)
}

/// A folder with the files of another.
fn copied(to: &Path, from: &Path) -> PathBuf {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    to.to_owned()
}

#[test]
fn configurations_of_models() {
    let folder = tempfile::tempdir().unwrap();
    for family in [
        "llama3",
        "gemma2",
        "gemma3",
        "phi3",
        "phi4_mini",
        "rope_yarn_mscale",
        "smollm3",
        "qwen3_moe",
        "roberta_cls",
        "vit_cls",
    ] {
        let seed = std::fs::read(golden(family).join("config.json")).unwrap();
        hold(family, &seed, folder.path(), "config.json", |folder| {
            AnyModelConfig::from_folder(folder).is_ok()
        });
    }
}

#[test]
fn weights() {
    let folder = tempfile::tempdir().unwrap();
    for (name, file) in [
        ("llama3", "model.safetensors"),
        ("llama2_pytorch", "pytorch_model-00001-of-00002.bin"),
        ("llama2_pytorch", "pytorch_model.bin.index.json"),
    ] {
        let folder = copied(&folder.path().join(name), &golden(name));
        let seed = std::fs::read(folder.join(file)).unwrap();
        hold(file, &seed, &folder, file, |folder| {
            WeightSource::open(folder, WeightDType::default()).is_ok()
        });
    }
}

#[test]
fn adapters() {
    let folder = tempfile::tempdir().unwrap();
    for layout in ["lora", "dora", "loramoe", "hydralora", "goat", "mixlora"] {
        let folder = copied(&folder.path().join(layout), &golden("adapters").join(layout));
        for file in ["adapter_config.json", "adapter_model.safetensors"] {
            let seed = std::fs::read(folder.join(file)).unwrap();
            let name = format!("{layout}/{file}");
            hold(&name, &seed, &folder, file, |folder| read_adapter(folder).is_ok());
        }
    }
    let archive = folder.path().join("archive");
    let lora = golden("adapters/lora");
    succeeds(&[
        "convert",
        "--adapter",
        arg(&lora),
        "--to",
        "peft",
        "--bin",
        "--output",
        arg(&archive),
    ]);
    let seed = std::fs::read(archive.join("adapter_model.bin")).unwrap();
    hold("adapter_model.bin", &seed, &archive, "adapter_model.bin", |folder| {
        read_adapter(folder).is_ok()
    });
}

#[test]
fn chat_templates() {
    let folder = tempfile::tempdir().unwrap();
    let (model, _) = tiny_model(folder.path());
    let seed = "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}\
                {{ message['content'] | trim }}{% if loop.last and add_generation_prompt %}\
                {{ '<|assistant|>' }}{% endif %}{% endfor %}";
    hold("chat_template.jinja", seed.as_bytes(), &model, "chat_template.jinja", |folder| {
        let messages = [ChatMessage::new("system", "be brief"), ChatMessage::new("user", "hello")];
        TextTokenizer::from_folder(folder)
            .is_ok_and(|tokenizer| tokenizer.apply_chat_template(&messages, true).is_ok())
    });
}

#[test]
fn tokenizers() {
    let folder = tempfile::tempdir().unwrap();
    let (model, _) = tiny_model(folder.path());
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        let seed = std::fs::read(model.join(file)).unwrap();
        hold(file, &seed, &model, file, |folder| {
            TextTokenizer::from_folder(folder)
                .is_ok_and(|tokenizer| tokenizer.encode("copy : ein", true).is_ok())
        });
    }
}

#[test]
fn tasks() {
    let folder = tempfile::tempdir().unwrap();
    let seed = r#"
task: t
tag: [a, b]
dataset_path: json
dataset_kwargs:
  data_files: {test: rows.jsonl}
test_split: test
output_type: generate_until
doc_to_text: '{{q}} {% if a %}x{% endif %}'
doc_to_target: a
generation_kwargs: {until: ["."], max_gen_toks: 5}
filter_list:
  - name: number
    filter:
      - function: regex
        regex_pattern: '(\d+)'
      - function: take_first
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
metadata: {version: 1.0}
"#;
    hold("task.yaml", seed.as_bytes(), folder.path(), "t.yaml", |folder| {
        TaskIndex::with_folders(&[folder.to_owned()])
            .is_ok_and(|index| index.select(&["t"]).is_ok())
    });
}

#[test]
fn recipes_and_studies() {
    let folder = tempfile::tempdir().unwrap();
    for preset in [Preset::LoramoePaper, Preset::GoatPaper] {
        let seed = run_template(preset);
        hold(preset.name(), seed.as_bytes(), folder.path(), "run.toml", |folder| {
            RunConfig::from_file(&folder.join("run.toml"), &[]).is_ok()
        });
    }
    let seed = StudyConfig::DEFAULT_TOML;
    hold("study.toml", seed.as_bytes(), folder.path(), "study.toml", |folder| {
        StudyConfig::from_file(&folder.join("study.toml")).is_ok()
    });
}

#[test]
fn rows() {
    let folder = tempfile::tempdir().unwrap();
    let chat = "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \
                \"content\": \"b\"}]}\n{\"messages\": [{\"role\": \"user\", \"content\": \"c\"}, \
                {\"role\": \"assistant\", \"content\": \"d\"}]}\n";
    for (file, seed) in [
        ("rows.json", "[{\"instruction\": \"a\", \"input\": \"\", \"output\": \"b\"}]"),
        ("rows.jsonl", chat),
        ("rows.csv", "instruction,input,output\n\"a, b\",,c\nd,e,\"f\"\"g\"\n"),
        ("rows.tsv", "prompt\tcompletion\na\tb\n"),
    ] {
        hold(file, seed.as_bytes(), folder.path(), file, |folder| {
            read_records(&[folder.join(file).as_path().into()]).is_ok()
        });
    }
}
