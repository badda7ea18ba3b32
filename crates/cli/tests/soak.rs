//! Memory stays flat: thousands of steps, hundreds of evaluations, loads and answers in one process.
//!
//! Takes minutes, so it only runs when asked for: `scripts/soak.sh`. `LORA_MOE_BIN` names a command to
//! be watched in place of the one that was built for tests.

#![cfg(all(target_os = "linux", feature = "serve"))]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{address_of, arg, tiny_model};

fn command(arguments: &[&str]) -> Command {
    let built = PathBuf::from(env!("CARGO_BIN_EXE_lora-moe"));
    let path = std::env::var_os("LORA_MOE_BIN").map_or(built, PathBuf::from);
    let mut command = Command::new(path);
    command.args(arguments).env_remove("LORA_MOE_DEVICE");
    command
}

/// The resident memory of a process in MiB; `None` when it has ended.
fn resident(child: &mut Child) -> Option<f64> {
    if child.try_wait().unwrap().is_some() {
        return None;
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kib| kib / 1024.0)
}

/// What was resident over time.
#[derive(Default)]
struct Memory(Vec<f64>);

impl Memory {
    /// The most in each quarter of the time. The last may be above the second by a tenth and 4 MiB; the
    /// first is when buffers, caches and pools are made.
    fn is_flat(&self, what: &str) {
        assert!(self.0.len() >= 40, "{what}: only {} measurements", self.0.len());
        let quarter = self.0.len().div_ceil(4);
        let most: Vec<f64> =
            self.0.chunks(quarter).map(|part| part.iter().copied().fold(0.0, f64::max)).collect();
        println!("{what}: at most {most:.1?} MiB in the quarters of the time");
        assert!(most[3] <= most[1] * 1.1 + 4.0, "{what}: {most:?}");
    }
}

/// A run of 6,000 steps with 300 evaluations among them; gives its folder.
fn trained(folder: &Path, model: &Path, data: &Path) -> PathBuf {
    let (config, run) = (folder.join("run.toml"), folder.join("run"));
    let text = format!(
        "[model]\npath = {model:?}\n[adapter]\npreset = \"loramoe-paper\"\nr = 2\n\
         [data]\ntrain = [{{ path = {data:?} }}]\nvalidation_split = 20\ntemplate = \"plain\"\n\
         [training]\noutput_dir = {run:?}\nmax_steps = 6000\neval_steps = 20\nsave_steps = 500\n\
         learning_rate = 0.001\nper_device_train_batch_size = 4\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut child = command(&["train", "--config", arg(&config)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut memory = Memory::default();
    while let Some(mib) = resident(&mut child) {
        memory.0.push(mib);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(child.wait().unwrap().success());
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let evaluations = metrics.lines().filter(|line| line.contains("\"eval_loss\"")).count();
    assert!(evaluations >= 300, "{evaluations} evaluations");
    memory.is_flat(&format!("6000 steps and {evaluations} evaluations"));
    run
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(model: &Path) -> Self {
        // With a cache that is soon full.
        let mut child = command(&["serve", "--model", arg(model), "--port", "0"])
            .args(["--cache-tokens", "2048"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (address, mut error) = address_of(&mut child);
        // Whatever else it says must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut error, &mut std::io::sink()));
        Self { child, address }
    }

    fn post(&self, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
#[ignore = "takes minutes: scripts/soak.sh"]
fn memory_is_flat() {
    let started = Instant::now();
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = tiny_model(folder.path());
    let run = trained(folder.path(), &model, &data);

    let mut server = Server::start(&model);
    let load = serde_json::json!({"lora_name": "mine", "lora_path": run}).to_string();
    let ask = r#"{"model": "mine", "prompt": "copy : a b", "max_tokens": 40, "ignore_eos": true}"#;
    let mut memory = Memory::default();
    let mut tokens = 0;
    for _ in 0..500 {
        server.post("/v1/load_lora_adapter", &load);
        let answer = server.post("/v1/completions", ask);
        let body: serde_json::Value =
            serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        tokens += body["usage"]["completion_tokens"].as_u64().unwrap();
        server.post("/v1/unload_lora_adapter", r#"{"lora_name": "mine"}"#);
        memory.0.push(resident(&mut server.child).unwrap());
    }
    assert!(tokens >= 20_000, "{tokens} tokens");
    memory.is_flat(&format!("500 loads of an adapter and {tokens} tokens by it"));

    let mut server = Server::start(&model);
    let mut memory = Memory::default();
    let mut tokens = 0;
    for _ in 0..500 {
        let ask =
            r#"{"prompt": "copy : a b", "max_tokens": 40, "ignore_eos": true, "temperature": 1}"#;
        let answer = server.post("/v1/completions", ask);
        let body: serde_json::Value =
            serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        tokens += body["usage"]["completion_tokens"].as_u64().unwrap();
        memory.0.push(resident(&mut server.child).unwrap());
    }
    memory.is_flat(&format!("{tokens} tokens by the base model"));

    let words = words_are_flat(&model);
    println!("{words} different words, in {:.0} s", started.elapsed().as_secs_f64());
}

/// A server is asked for the tokens of words that it has not seen, by 16 clients at a time; gives how many
/// there were. What it remembers of words must have an end, in each of its threads.
fn words_are_flat(model: &Path) -> usize {
    const CLIENTS: usize = 16;
    const ROUNDS: usize = 60;
    const WORDS: usize = 150;
    std::fs::write(model.join("tokenizer.json"), letters()).unwrap();
    let mut server = Server::start(model);
    let mut memory = Memory::default();
    for round in 0..ROUNDS {
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let server = &server;
                scope.spawn(move || {
                    let first = (round * CLIENTS + client) * WORDS;
                    let words: Vec<_> =
                        (first..first + WORDS).map(|word| format!("w{word:06}")).collect();
                    let ask =
                        serde_json::json!({"prompt": words.join(" "), "add_special_tokens": false});
                    let answer = server.post("/tokenize", &ask.to_string());
                    let count = format!("\"count\":{}", 7 * WORDS);
                    assert!(answer.contains(&count), "{answer}");
                });
            }
        });
        memory.0.push(resident(&mut server.child).unwrap());
    }
    memory.is_flat("words that differ");
    CLIENTS * ROUNDS * WORDS
}

/// A tokenizer of letters and digits: byte-pair encoding, whose words are remembered, without pairs.
fn letters() -> String {
    let characters = ('a'..='z').chain('0'..='9').map(String::from);
    let tokens = ["<pad>", "<s>", "</s>"].map(String::from).into_iter().chain(characters);
    let vocabulary: BTreeMap<String, usize> = tokens.zip(0..).collect();
    let special = |id: usize, content| {
        serde_json::json!({
            "id": id, "content": content, "special": true, "normalized": false,
            "lstrip": false, "rstrip": false, "single_word": false,
        })
    };
    let tokenizer = serde_json::json!({
        "version": "1.0",
        "added_tokens": [special(0, "<pad>"), special(1, "<s>"), special(2, "</s>")],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    });
    tokenizer.to_string()
}
