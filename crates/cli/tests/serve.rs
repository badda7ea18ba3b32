//! `lora-moe serve`, from the folder of a trained adapter to an answer.

#![cfg(all(unix, feature = "serve"))]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::{address_of, arg, fails, succeeds, tiny_model};

/// Starts a server on a port that is free; returns it, its address and its standard error.
fn start(arguments: &[&str]) -> (Child, String, BufReader<std::process::ChildStderr>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lora-moe"))
        .arg("serve")
        .args(arguments)
        .args(["--port", "0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (address, error) = address_of(&mut child);
    (child, address, error)
}

fn ask(address: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_trained_adapter_answers_as_generate_does_and_the_server_ends_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = tiny_model(folder.path());
    let config = folder.path().join("run.toml");
    let run = folder.path().join("run");
    let text = format!(
        "[model]\npath = {model:?}\n[adapter]\npreset = \"loramoe-paper\"\nr = 2\n\
         [data]\ntrain = [{{ path = {data:?} }}]\nvalidation_split = 20\ntemplate = \"plain\"\n\
         [training]\noutput_dir = {run:?}\nmax_steps = 40\nlearning_rate = 0.01\n\
         per_device_train_batch_size = 4\n"
    );
    std::fs::write(&config, text).unwrap();
    succeeds(&["train", "--config", arg(&config)]);
    let common = ["--model", arg(&model), "--adapter", arg(&run), "--prompt", "copy : a b"];
    let rest = ["--skip-prompt", "--max-new-tokens", "8"];
    let expected = succeeds(&[&["generate"], &common[..], &rest[..]].concat());

    let adapter = format!("mine={}", arg(&run));
    let (mut server, address, mut error) =
        start(&["--model", arg(&model), "--adapter", &adapter, "--closing-seconds", "60"]);
    let body = r#"{"model": "mine", "prompt": "copy : a b", "max_tokens": 8, "temperature": 0}"#;
    let found = answer(ask(&address, body));
    let json = found.split_once("\r\n\r\n").unwrap().1;
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["choices"][0]["text"], expected.trim_end_matches('\n'), "{json}");

    let long = r#"{"model": "mine", "prompt": "copy : a b", "max_tokens": 50, "ignore_eos": true,
                   "stream": true}"#;
    let mut running = ask(&address, long);
    // Its head: it is taken in.
    running.read_exact(&mut [0; 15]).unwrap();
    let id = server.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let rest = answer(running);
    assert!(rest.contains("data: [DONE]") && !rest.contains("error"), "{rest}");
    let mut said = String::new();
    error.read_to_string(&mut said).unwrap();
    assert!(server.wait().unwrap().success(), "{said}");
}

#[test]
fn what_cannot_be_served_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (model, _) = tiny_model(folder.path());
    let wrong = ["serve", "--model", arg(&model), "--port", "0", "--adapter", "x=/nowhere"];
    let error = fails(&wrong);
    assert!(error.contains("`x`") && error.contains("/nowhere"), "{error}");
}
