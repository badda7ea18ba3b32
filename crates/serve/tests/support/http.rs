//! A server on loopback, and a client of a few lines.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use moe_adapter::{AdapterLayers, Preset};
use serde_json::Value;
use serve::adapter_loader;
use serve::engine::{Engine, EngineConfig};
use serve::http::{App, ServerConfig, serve};

/// A server, which ends when this goes.
pub struct Server {
    pub address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    /// The parts of a stream; the last is `[DONE]`, which is left out.
    pub fn parts(&self) -> Vec<Value> {
        let mut parts: Vec<&str> =
            self.body.split("\n\n").filter(|part| !part.is_empty()).collect();
        assert_eq!(parts.pop(), Some("data: [DONE]"), "{}", self.body);
        let part = |part: &str| serde_json::from_str(part.strip_prefix("data: ").unwrap()).unwrap();
        parts.into_iter().map(part).collect()
    }
}

impl Server {
    /// With an adapter `moe` of LoRAMoE and one `goat`.
    pub fn start(engine: EngineConfig, config: ServerConfig, local: bool) -> Self {
        let (model, tokenizer) = super::model();
        let load = adapter_loader(&model);
        let adapters = [("moe", Preset::LoramoePaper), ("goat", Preset::GoatPaper)];
        let adapters = adapters.map(|(name, preset)| {
            let adapted = super::adapted(&model, &super::config(preset), 5);
            (name, AdapterLayers::of(&adapted))
        });
        let engine = Engine::start(model, Arc::clone(&tokenizer), engine).unwrap();
        for (name, layers) in adapters {
            engine.add_adapter(name, None, layers).unwrap();
        }
        let name = "tiny".to_owned();
        let app = App { engine, tokenizer, name, load, config, local };
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            serve(listener, app, move || flag.load(Ordering::SeqCst)).unwrap();
        });
        Self { address, ended, thread: Some(thread) }
    }

    pub fn usual() -> Self {
        Self::start(EngineConfig::default(), ServerConfig::default(), true)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send(
            format!("GET {path} HTTP/1.1\r\nHost: localhost:8000\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        )
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_bytes(path, body.to_string().as_bytes(), "")
    }

    /// With further lines of the head, each ended.
    pub fn post_bytes(&self, path: &str, body: &[u8], head: &str) -> Answer {
        self.send(&request(path, body, head))
    }

    /// Sends bytes, and reads the answer to its end.
    pub fn send(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        read(&answer)
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// The value of a line of the metrics.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("lora_moe_{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Waits until a line of the metrics has a value.
    pub fn until(&self, name: &str, value: f64) {
        for _ in 0..1000 {
            if self.metric(name) == value {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{name} is {} and not {value}", self.metric(name));
    }

    /// Says that it is to end, and goes on.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    /// Waits until it has ended.
    pub fn join(&mut self) {
        self.end();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.join();
    }
}

/// A request of JSON.
pub fn request(path: &str, body: &[u8], head: &str) -> Vec<u8> {
    let content_type = match head.contains("Content-Type") {
        true => "",
        false => "Content-Type: application/json\r\n",
    };
    let mut bytes = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost:8000\r\nConnection: close\r\n{content_type}{head}\
         Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend(body);
    bytes
}

fn read(answer: &[u8]) -> Answer {
    let text = String::from_utf8(answer.to_vec()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = match head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        true => dechunked(body),
        false => body.to_owned(),
    };
    Answer { status, head: head.to_owned(), body }
}

fn dechunked(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        body.push_str(&after[..size]);
        rest = after[size..].strip_prefix("\r\n").unwrap_or("");
        if size == 0 {
            break;
        }
    }
    body
}
