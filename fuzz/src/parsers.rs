//! Every parser of files from strangers, as a function of a folder to work in and the bytes of a
//! file. Fuzzers give them what they make up, and a test of the workspace the files in `corpus`.
//!
//! Each returns whether the file was taken. Where a parser reads files of several forms, the first
//! byte of the data chooses one.

use std::fs;
use std::path::{Path, PathBuf};

use lora_moe::adapter_formats::read_adapter;
use lora_moe::data::{DataFile, read_prompts, read_records};
use lora_moe::eval_tasks::request::Response;
use lora_moe::eval_tasks::{DataSources, Limit, PromptOptions, Request, Task, TaskIndex};
use lora_moe::finetune::run::AnyRunConfig;
use lora_moe::model_zoo::{AnyModelConfig, ChatMessage, TextTokenizer, WeightDType, WeightSource};
use lora_moe::record_files::{OrderedValue, ReadOptions, SampleBy, read_rows, read_rows_as};
use lora_moe::study::{StudyConfig, read_study_results};

/// Whether the bytes are taken; the folder is the parser's own.
pub type Parser = fn(&Path, &[u8]) -> bool;

/// All of them, by name.
pub const PARSERS: [(&str, Parser); 16] = [
    ("model_config", model_config),
    ("weights", weights),
    ("shard_index", shard_index),
    ("pytorch", pytorch),
    ("pickle", pickle),
    ("adapter_config", adapter_config),
    ("adapter_weights", adapter_weights),
    ("tokenizer", tokenizer),
    ("tokenizer_config", tokenizer_config),
    ("chat_template", chat_template),
    ("task", task),
    ("rows_text", rows_text),
    ("rows_binary", rows_binary),
    ("recipe", recipe),
    ("study", study),
    ("study_results", study_results),
];

/// The adapters whose files are changed, one for each layout and kind.
pub const ADAPTERS: [&str; 11] = [
    "lora",
    "lora_pattern",
    "rslora",
    "dora",
    "pissa",
    "loramoe",
    "hydralora",
    "goat",
    "mixlora",
    "mola",
    "adamole",
];

/// Endings of files of rows that are text.
pub const TEXT_ROWS: [&str; 5] = ["json", "jsonl", "csv", "tsv", "txt"];

/// Endings of other files of rows.
pub const BINARY_ROWS: [&str; 5] = ["parquet", "arrow", "feather", "jsonl.gz", "jsonl.zst"];

/// The folder of the small models and adapters that tests compare with.
pub fn golden() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = "crates/model-zoo/tests/golden";
    let found = here.ancestors().map(|folder| folder.join(tests)).find(|folder| folder.exists());
    found.expect("this file is in a checkout")
}

/// Puts a file into a folder; a mapping of the one that was there stays as it was.
fn put(folder: &Path, name: &str, data: &[u8]) -> PathBuf {
    let path = folder.join(name);
    let written = fs::remove_file(&path).or(Ok(())).and_then(|()| fs::write(&path, data));
    written.expect("the folder can be written to");
    path
}

/// A folder below another; made with `fill` where it is not there.
fn prepared(folder: &Path, name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let path = folder.join(name);
    if !path.exists() {
        fs::create_dir_all(&path).expect("the folder can be written to");
        fill(&path);
    }
    path
}

fn copy_all(to: &Path, from: &Path) {
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a file has a name");
        if !path.ends_with("reference.safetensors") {
            fs::copy(&path, to.join(name)).expect("the folder can be written to");
        }
    }
}

/// One of a list, as the first byte says, and the other bytes.
fn chosen<'l, 'd, T>(list: &'l [T], data: &'d [u8]) -> Option<(&'l T, &'d [u8])> {
    let (first, rest) = data.split_first()?;
    // A printed digit, so that a file can be made with an editor.
    list.get(usize::from(first.wrapping_sub(b'0')) % list.len()).map(|one| (one, rest))
}

/// `config.json` of a model.
pub fn model_config(folder: &Path, data: &[u8]) -> bool {
    put(folder, "config.json", data);
    AnyModelConfig::from_folder(folder).is_ok()
}

fn opens(folder: &Path) -> bool {
    WeightSource::open(folder, WeightDType::default()).is_ok_and(|source| {
        source.stored_dtype();
        source.names().count() > 0
    })
}

/// `model.safetensors`.
pub fn weights(folder: &Path, data: &[u8]) -> bool {
    put(folder, "model.safetensors", data);
    opens(folder)
}

/// `model.safetensors.index.json`, beside one shard.
pub fn shard_index(folder: &Path, data: &[u8]) -> bool {
    let folder = prepared(folder, "index", |folder| {
        let shard = golden().join("adapters/lora/adapter_model.safetensors");
        fs::copy(shard, folder.join("a.safetensors")).expect("a golden file");
    });
    put(&folder, "model.safetensors.index.json", data);
    opens(&folder)
}

/// `pytorch_model.bin`.
pub fn pytorch(folder: &Path, data: &[u8]) -> bool {
    put(folder, "pytorch_model.bin", data);
    opens(folder)
}

/// The pickle within a file of `torch.save`, whose archive is as it should be.
pub fn pickle(folder: &Path, data: &[u8]) -> bool {
    let archive = archive(&[("a/data.pkl", data), ("a/data/0", &[0; 64]), ("a/version", b"3\n")]);
    pytorch(folder, &archive)
}

/// An archive of uncompressed files.
pub fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in files {
        let offset = bytes.len() as u32;
        let size = (data.len() as u32).to_le_bytes();
        let length = (name.len() as u16).to_le_bytes();
        // Version, flags, method, time, date; no checksum, which is not looked at.
        let common = [&[10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &size[..], &size, &length];
        bytes.extend_from_slice(b"PK\x03\x04");
        bytes.extend(common.concat());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(data);
        directory.extend_from_slice(b"PK\x01\x02\x0a\x00");
        directory.extend(common.concat());
        directory.extend_from_slice(&[0; 12]);
        directory.extend_from_slice(&offset.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
    }
    let (start, size) = (bytes.len() as u32, directory.len() as u32);
    let count = (files.len() as u16).to_le_bytes();
    bytes.append(&mut directory);
    bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    bytes.extend([&count[..], &count, &size.to_le_bytes(), &start.to_le_bytes(), &[0; 2]].concat());
    bytes
}

fn adapter(folder: &Path, data: &[u8], file: &str) -> bool {
    let Some((layout, data)) = chosen(&ADAPTERS, data) else {
        return false;
    };
    let folder = prepared(folder, &format!("{layout}-{file}"), |folder| {
        copy_all(folder, &golden().join("adapters").join(layout));
    });
    put(&folder, file, data);
    read_adapter(&folder).is_ok()
}

/// `adapter_config.json` of each layout, beside its tensors.
pub fn adapter_config(folder: &Path, data: &[u8]) -> bool {
    adapter(folder, data, "adapter_config.json")
}

/// `adapter_model.safetensors` of each layout, beside its configuration.
pub fn adapter_weights(folder: &Path, data: &[u8]) -> bool {
    adapter(folder, data, "adapter_model.safetensors")
}

/// A tokenizer of a few words.
pub const TOKENIZER: &str = r###"{"version":"1.0","added_tokens":[{"id":0,"content":"<s>","single_word":false,
"lstrip":false,"rstrip":false,"normalized":false,"special":true}],"normalizer":{"type":"Lowercase"},
"pre_tokenizer":{"type":"Whitespace"},"post_processor":null,"decoder":{"type":"WordPiece","prefix":"##",
"cleanup":true},"model":{"type":"WordLevel","vocab":{"<s>":0,"copy":1,":":2,"ein":3},"unk_token":"<s>"}}"###;

fn tokenizes(folder: &Path) -> bool {
    TextTokenizer::from_folder(folder).is_ok_and(|tokenizer| {
        let ids = tokenizer.encode("copy : ein Wort\u{e4}", true);
        let decoded = tokenizer.decode(&[0, 1, 2, 7], false);
        ids.is_ok_and(|ids| tokenizer.decode(&ids, true).is_ok()) && decoded.is_ok()
    })
}

/// `tokenizer.json`.
pub fn tokenizer(folder: &Path, data: &[u8]) -> bool {
    put(folder, "tokenizer.json", data);
    tokenizes(folder)
}

fn with_tokenizer(folder: &Path) -> PathBuf {
    prepared(folder, "words", |folder| drop(put(folder, "tokenizer.json", TOKENIZER.as_bytes())))
}

/// The files beside a `tokenizer.json`.
pub fn tokenizer_config(folder: &Path, data: &[u8]) -> bool {
    let files = ["tokenizer_config.json", "special_tokens_map.json", "generation_config.json"];
    let Some((file, data)) = chosen(&files, data) else {
        return false;
    };
    let folder = with_tokenizer(folder);
    put(&folder, file, data);
    let taken = tokenizes(&folder) && templates(&folder);
    put(&folder, file, b"{}");
    taken
}

fn templates(folder: &Path) -> bool {
    let messages = [
        ChatMessage::new("system", "be brief"),
        ChatMessage::new("user", "hello"),
        ChatMessage::new("assistant", "yes"),
    ];
    TextTokenizer::from_folder(folder).is_ok_and(|tokenizer| {
        let tools = [serde_json::json!({"type": "function", "function": {"name": "f"}})];
        let with_tools = tokenizer.render_chat(&messages, Some(&tools), true);
        let marked = tokenizer.render_marked_chat::<_, ()>(&messages, None);
        with_tools.is_ok() | marked.is_ok()
    })
}

/// `chat_template.jinja`.
pub fn chat_template(folder: &Path, data: &[u8]) -> bool {
    let folder = with_tokenizer(folder);
    put(&folder, "chat_template.jinja", data);
    templates(&folder)
}

/// Three rows for tasks to ask about.
const TASK_ROWS: &str = r#"{"q": "1 + 1", "a": "2", "choices": ["2", "3"], "gold": 0}
{"q": "", "a": 7, "choices": [], "gold": "1"}
{"q": null, "a": ["x"], "choices": ["y"], "gold": 5}
"#;

/// The YAML of a task, up to the scores of answers to it.
pub fn task(folder: &Path, data: &[u8]) -> bool {
    let folder = prepared(folder, "task", |folder| {
        put(folder, "rows.test.jsonl", TASK_ROWS.as_bytes());
    });
    put(&folder, "t.yaml", data);
    let run = || -> Result<(), Box<dyn std::error::Error>> {
        let index = TaskIndex::of_folders(std::slice::from_ref(&folder))?;
        let sources = DataSources { roots: vec![folder.clone()], hub: None };
        for (_, mut config) in index.select(&["t"])?.tasks {
            // Reads nothing but what is in this folder: a fuzzer would find the disk.
            config.dataset.path = "rows".into();
            (config.dataset.name, config.dataset.data_files) = (None, None);
            let task = Task::load(config, &sources, None)?;
            let instances = task.instances(&PromptOptions::default(), Limit::All)?;
            let mut scores = Vec::new();
            for document in 0..task.documents().len() {
                let responses: Vec<_> = instances
                    .iter()
                    .filter(|instance| instance.document == document)
                    .map(|instance| vec![answered(&instance.request)])
                    .collect();
                scores.push(task.score(document, &responses)?);
            }
            task.aggregate(&scores, 100)?;
        }
        Ok(())
    };
    run().is_ok()
}

fn answered(request: &Request) -> Response {
    match request {
        Request::LogLikelihood { .. } => {
            Response::LogLikelihood { log_likelihood: -1.0, is_greedy: true }
        }
        Request::LogLikelihoodRolling { .. } => {
            Response::LogLikelihoodRolling { log_likelihood: -2.0 }
        }
        Request::SequenceClassification { .. } | Request::ImageClassification { .. } => {
            Response::Logits(vec![0.5, -1.0])
        }
        Request::GenerateUntil { .. } => Response::Generated("the answer is 2.".into()),
    }
}

fn rows(folder: &Path, data: &[u8], endings: &[&str]) -> bool {
    let Some((ending, data)) = chosen(endings, data) else {
        return false;
    };
    let path = put(folder, &format!("rows.{ending}"), data);
    let samples = [SampleBy::Line, SampleBy::Paragraph, SampleBy::Document];
    let sample_by = samples[data.len() % samples.len()];
    let options = ReadOptions {
        sample_by,
        field: data.starts_with(b"{\n").then(|| "rows".to_owned()),
        ..ReadOptions::default()
    };
    let taken = read_rows(&path, &options).is_ok();
    let untyped = ReadOptions { untyped: true, headerless: data.len() % 2 == 0, ..options };
    let ordered = read_rows_as::<OrderedValue>(&path, &untyped).is_ok();
    let records = read_records(&[DataFile::new(&path)]).is_ok();
    let prompts = read_prompts(&DataFile::new(&path)).is_ok();
    fs::remove_file(path).expect("it was written");
    taken | ordered | records | prompts
}

/// Rows and records of JSON, JSON Lines, tables and text.
pub fn rows_text(folder: &Path, data: &[u8]) -> bool {
    rows(folder, data, &TEXT_ROWS)
}

/// Rows and records of Parquet, Arrow and packed files.
pub fn rows_binary(folder: &Path, data: &[u8]) -> bool {
    rows(folder, data, &BINARY_ROWS)
}

/// The TOML of a run.
pub fn recipe(_: &Path, data: &[u8]) -> bool {
    str::from_utf8(data).is_ok_and(|text| AnyRunConfig::from_toml(text, "run.toml", &[]).is_ok())
}

/// The TOML of a study.
pub fn study(_: &Path, data: &[u8]) -> bool {
    str::from_utf8(data).is_ok_and(|text| StudyConfig::from_toml(text, "study.toml").is_ok())
}

/// `results.json` of a study.
pub fn study_results(folder: &Path, data: &[u8]) -> bool {
    read_study_results(&put(folder, "results.json", data)).is_ok()
}
