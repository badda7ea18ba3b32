//! The server over real HTTP, on loopback.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use moe_adapter::{Preset, StoredAdapter};
use serde_json::{Value, json};
use serve::engine::EngineConfig;
use serve::http::ServerConfig;
use support::http::{Server, request};
use support::prompt;

const COMPLETIONS: &str = "/v1/completions";
const CHAT: &str = "/v1/chat/completions";

fn completion(model: &str, more: Value) -> Value {
    let mut body = json!({
        "model": model, "prompt": prompt(1, 8), "max_tokens": 6, "temperature": 0, "ignore_eos": true,
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn models_health_and_the_page_are_there() {
    let server = Server::usual();
    let models = server.get("/v1/models").json();
    let names: Vec<&str> =
        models["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["tiny", "goat", "moe"]);
    assert_eq!(server.get("/v1/models/moe").json()["parent"], "tiny");
    assert_eq!(server.get("/v1/models/none").status, 404);
    assert_eq!(server.get("/health").status, 200);
    let page = server.get("/");
    assert!(page.status == 200 && page.body.contains("<textarea"), "{}", page.head);
    assert!(page.head.contains("content-security-policy"), "{}", page.head);
    // Nothing of it comes from elsewhere.
    assert!(!page.body.contains("http://") && !page.body.contains("https://"));
    // Under the name of another site, whose pages could otherwise read it.
    let head = "GET /v1/models HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n";
    assert_eq!(server.send(head.as_bytes()).status, 403);
    let nowhere = server.get("/v2");
    assert_eq!((nowhere.status, &nowhere.json()["error"]["code"]), (404, &json!(404)));
    assert_eq!(server.get(COMPLETIONS).status, 405);
}

#[test]
fn completions_have_openais_shape() {
    let server = Server::usual();
    let whole = server.post(COMPLETIONS, &completion("moe", json!({"logprobs": 2, "n": 2})));
    let answer = whole.json();
    assert_eq!(whole.status, 200, "{answer}");
    assert_eq!((&answer["object"], &answer["model"]), (&json!("text_completion"), &json!("moe")));
    assert_eq!(answer["usage"]["prompt_tokens"], 8);
    assert_eq!(answer["usage"]["completion_tokens"], 12);
    let choices = answer["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 2);
    assert_eq!(choices[0]["text"], choices[1]["text"]);
    assert_eq!(choices[0]["finish_reason"], "length");
    let logprobs = &choices[0]["logprobs"];
    for key in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(logprobs[key].as_array().unwrap().len(), 6, "{key}");
    }
    let other = server.post(COMPLETIONS, &completion("tiny", json!({}))).json();
    assert_ne!(other["choices"][0]["text"], choices[0]["text"]);
    assert_eq!(other["choices"][0]["logprobs"], Value::Null);

    // Several prompts, and the prompt as a part of the answer.
    let more = json!({"prompt": [prompt(1, 8), prompt(2, 5)], "echo": true, "logprobs": 1,
                      "max_tokens": 1});
    let echoed = server.post(COMPLETIONS, &completion("moe", more)).json();
    for (choice, len) in echoed["choices"].as_array().unwrap().iter().zip([8, 5]) {
        let logprobs = &choice["logprobs"];
        assert_eq!(logprobs["tokens"].as_array().unwrap().len(), len + 1);
        assert_eq!(logprobs["token_logprobs"][0], Value::Null);
        assert!(logprobs["token_logprobs"][1].as_f64().unwrap() < 0.0);
        let text: String = logprobs["tokens"].as_array().unwrap()[..len]
            .iter()
            .map(|token| token.as_str().unwrap())
            .collect();
        let squeezed = |text: &str| text.replace(' ', "");
        assert!(squeezed(choice["text"].as_str().unwrap()).starts_with(&squeezed(&text)));
    }
}

/// Equal, but for the rounding of numbers, which depends on what was computed together.
fn assert_close(found: &Value, expected: &Value) {
    match (found, expected) {
        (Value::Number(a), Value::Number(b)) => {
            let [a, b] = [a, b].map(|number| number.as_f64().unwrap());
            assert!((a - b).abs() < 2e-4, "{a} and {b}");
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len());
            a.iter().zip(b).for_each(|(a, b)| assert_close(a, b));
        }
        (Value::Object(a), Value::Object(b)) => {
            assert!(a.keys().eq(b.keys()));
            a.values().zip(b.values()).for_each(|(a, b)| assert_close(a, b));
        }
        (a, b) => assert_eq!(a, b),
    }
}

#[test]
fn a_stream_says_what_the_whole_answer_says() {
    let server = Server::usual();
    let more = json!({"logprobs": 1, "routing": true, "max_tokens": 12, "n": 2});
    let whole = server.post(COMPLETIONS, &completion("goat", more.clone())).json();
    let mut body = completion("goat", more);
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let answer = server.post(COMPLETIONS, &body);
    assert!(answer.head.contains("text/event-stream"), "{}", answer.head);
    let mut parts = answer.parts();
    assert_eq!(parts.pop().unwrap()["usage"]["completion_tokens"], 24);
    for (index, choice) in whole["choices"].as_array().unwrap().iter().enumerate() {
        let own: Vec<&Value> =
            parts.iter().map(|p| &p["choices"][0]).filter(|c| c["index"] == index).collect();
        let text: String = own.iter().map(|c| c["text"].as_str().unwrap()).collect();
        assert_eq!(text, choice["text"].as_str().unwrap());
        let all = |key: &dyn Fn(&Value) -> Option<Vec<Value>>| {
            Value::Array(own.iter().filter_map(|choice| key(choice)).flatten().collect())
        };
        let scores = all(&|choice| choice["logprobs"]["token_logprobs"].as_array().cloned());
        assert_close(&scores, &choice["logprobs"]["token_logprobs"]);
        let routing = all(&|choice| choice["routing"].as_array().cloned());
        assert_close(&routing, &choice["routing"]);
        let routing = routing.as_array().unwrap();
        assert_eq!(routing.len(), 12);
        assert_eq!(routing[0][1]["layer"], 1);
        assert_eq!(own.last().unwrap()["finish_reason"], "length");
    }
}

#[test]
fn chats_use_the_models_template() {
    let server = Server::usual();
    let body = |more: Value| {
        let mut body = json!({
            "model": "moe", "max_tokens": 5, "temperature": 0, "ignore_eos": true,
            "messages": [
                {"role": "system", "content": "copy"},
                {"role": "user", "content": [{"type": "text", "text": "a b"}]},
            ],
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let more = json!({"logprobs": true, "top_logprobs": 2});
    let answer = server.post(CHAT, &body(more)).json();
    assert_eq!(answer["object"], "chat.completion", "{answer}");
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"]["role"], "assistant");
    let content = choice["logprobs"]["content"].as_array().unwrap();
    assert_eq!(content.len(), 5);
    assert_eq!(content[0]["top_logprobs"].as_array().unwrap().len(), 2);
    assert!(content[0]["bytes"].is_array());

    let parts = server.post(CHAT, &body(json!({"stream": true}))).parts();
    assert_eq!(parts[0]["object"], "chat.completion.chunk");
    assert_eq!(parts[0]["choices"][0]["delta"]["role"], "assistant");
    let text = parts.iter().map(|p| p["choices"][0]["delta"]["content"].as_str().unwrap());
    assert_eq!(text.collect::<String>(), choice["message"]["content"].as_str().unwrap());

    // The template is given the tools, and tokens are counted as the engine gets them.
    let count = |more: Value| server.post("/tokenize", &body(more)).json()["count"].clone();
    let plain = count(json!({}));
    assert_eq!(answer["usage"]["prompt_tokens"], plain);
    assert!(count(json!({"tools": [{"type": "function"}]})).as_u64() > plain.as_u64());
    let tokens = server.post("/tokenize", &json!({"prompt": "copy a b"})).json();
    let text = server.post("/detokenize", &json!({"tokens": tokens["tokens"]})).json();
    assert!(text["prompt"].as_str().unwrap().contains("copy a b"), "{text}");
    let answer =
        server.post(COMPLETIONS, &completion("tiny", json!({"prompt": "copy a b"}))).json();
    assert_eq!(answer["usage"]["prompt_tokens"], tokens["count"]);
}

#[test]
fn wrong_requests_are_told_which_key_is_wrong() {
    let server = Server::usual();
    for (key, value) in [
        ("temperature", json!("hot")),
        ("temperature", json!(-1)),
        ("max_tokens", json!(1.5)),
        ("max_tokens", json!(1_000_000_000_000_u64)),
        ("max_tokens", json!(0)),
        ("max_tokens", json!(250)),
        ("top_p", json!(0)),
        ("top_p", json!(2)),
        ("top_k", json!("all")),
        ("min_p", json!(7)),
        ("n", json!(0)),
        ("n", json!(100_000)),
        ("stop", json!([1])),
        ("stop", json!("")),
        ("seed", json!("x")),
        ("logprobs", json!(1000)),
        ("echo", json!("yes")),
        ("stream", json!(1)),
        ("prompt", json!(7)),
        ("prompt", json!([])),
        ("prompt", json!([[1, "a"]])),
        ("prompt", json!([-1])),
        ("prompt", json!(vec![vec![1]; 300])),
        ("model", json!(3)),
        ("routing", json!("all")),
        ("presence_penalty", json!(9)),
        ("repetition_penalty", json!(0)),
        ("logit_bias", json!({"1": 5})),
        ("response_format", json!({"type": "json_object"})),
    ] {
        let answer = server.post(COMPLETIONS, &completion("tiny", json!({key: value})));
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["param"]), (400, &json!(key)), "{key} {error}");
        assert_eq!(error["type"], "BadRequestError");
    }
    let answer = server.post(COMPLETIONS, &completion("nobody", json!({})));
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (404, &json!("model")));
    // Keys that nothing knows are ignored, as other servers do.
    assert_eq!(server.post(COMPLETIONS, &completion("moe", json!({"user": "me"}))).status, 200);
    for messages in [json!([]), json!([{}]), json!("x"), json!([{"role": "user", "content": 3}])] {
        let answer = server.post(CHAT, &json!({"messages": messages}));
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("messages")));
    }
    for (body, head, status) in [
        (&b"{"[..], "", 400),
        (b"\xff\xfe", "", 400),
        (b"{\"prompt\": \"\\ud800\"}", "", 400),
        (b"[]", "", 400),
        (b"{}", "Content-Type: text/plain\r\n", 415),
        (b"{}", "", 400),
    ] {
        let answer = server.post_bytes(COMPLETIONS, body, head);
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.json()["error"]["message"].is_string());
    }
    assert_eq!(server.metric("requests_failed_total"), 0.0);
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn bodies_queues_and_keys_have_limits() {
    let engine = EngineConfig { max_queue: 1, max_rows: 1, ..EngineConfig::default() };
    let key = Some("secret".to_owned());
    let config = ServerConfig { max_body: 4096, api_key: key, ..ServerConfig::default() };
    let server = Server::start(engine, config, true);
    assert_eq!(server.get("/health").status, 200);
    assert_eq!(server.get("/v1/models").status, 401);
    let with_key = "Authorization: Bearer secret\r\n";
    let wrong = "Authorization: Bearer secreT\r\n";
    let small = completion("tiny", json!({"max_tokens": 1})).to_string();
    assert_eq!(server.post_bytes(COMPLETIONS, small.as_bytes(), wrong).status, 401);
    assert_eq!(server.post_bytes(COMPLETIONS, small.as_bytes(), with_key).status, 200);
    let large = json!({"prompt": "x".repeat(5000)}).to_string();
    assert_eq!(server.post_bytes(COMPLETIONS, large.as_bytes(), with_key).status, 413);
    // A length that is only said.
    let head = format!(
        "POST {COMPLETIONS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{with_key}\
         Connection: close\r\nContent-Length: 99999999999\r\n\r\n{{"
    );
    assert_eq!(server.send(head.as_bytes()).status, 413);

    // One runs, one waits, and the third is told to come again.
    let long = completion("tiny", json!({"max_tokens": 240, "stream": true})).to_string();
    let long = request(COMPLETIONS, long.as_bytes(), with_key);
    let mut streams: Vec<_> = (0..2).map(|_| server.connect()).collect();
    streams[0].write_all(&long).unwrap();
    let mut first = [0; 64];
    streams[0].read_exact(&mut first).unwrap();
    streams[1].write_all(&long).unwrap();
    let head = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{with_key}\r\n");
    let waits = || server.send(head.as_bytes()).body.contains("lora_moe_requests_waiting 1\n");
    while !waits() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let refused = server.post_bytes(COMPLETIONS, small.as_bytes(), with_key);
    assert_eq!(refused.status, 429);
    assert!(refused.head.to_ascii_lowercase().contains("retry-after: 1"), "{}", refused.head);
    assert_eq!(refused.json()["error"]["type"], "RateLimitError");
}

#[test]
fn clients_that_leave_make_room() {
    let server = Server::usual();
    let long = |stream: bool| {
        let body = completion("moe", json!({"max_tokens": 240, "stream": stream}));
        request(COMPLETIONS, body.to_string().as_bytes(), "")
    };
    for (stream, cancelled) in [(true, 1.0), (false, 2.0)] {
        let mut client = server.connect();
        client.write_all(&long(stream)).unwrap();
        server.until("requests_running", 1.0);
        drop(client);
        server.until("requests_cancelled_total", cancelled);
    }
    server.until("requests_running", 0.0);
    // Half a request, and nothing more.
    let mut silent = server.connect();
    silent.write_all(&long(true)[..60]).unwrap();
    assert_eq!(server.post(COMPLETIONS, &completion("moe", json!({}))).status, 200);
}

#[test]
fn clients_that_are_too_slow_are_left() {
    let client_time = Duration::from_millis(300);
    let config = ServerConfig { client_time, ..ServerConfig::default() };
    let server = Server::start(EngineConfig::default(), config, true);
    let whole = request(COMPLETIONS, completion("moe", json!({})).to_string().as_bytes(), "");
    for part in [&whole[..20], &whole[..whole.len() - 5]] {
        let started = Instant::now();
        let mut slow = server.connect();
        slow.write_all(part).unwrap();
        let mut answer = Vec::new();
        let _ = slow.read_to_end(&mut answer);
        assert!(started.elapsed() < Duration::from_secs(20));
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.contains(" 408 "), "{answer}");
    }
}

#[test]
fn adapters_are_loaded_and_unloaded() {
    let server = Server::usual();
    let (model, _) = support::model();
    let config = support::config(Preset::Mixlora);
    let mut stored = StoredAdapter::of(&support::adapted(&model, &config, 2), &config, None);
    let folder = tempfile::tempdir().unwrap();
    stored.write(folder.path()).unwrap();
    let load = |name: &str, path: &str| {
        server.post("/v1/load_lora_adapter", &json!({"lora_name": name, "lora_path": path}))
    };
    let path = folder.path().to_str().unwrap();
    let loaded = load("new", path);
    assert_eq!(loaded.status, 200, "{}", loaded.body);
    assert_eq!(load("new", path).status, 400);
    assert_eq!(load("tiny", path).status, 400);
    let missing = load("other", "/nowhere");
    assert!(missing.status == 400 && missing.body.contains("/nowhere"), "{}", missing.body);
    let answer = |model: &str| server.post(COMPLETIONS, &completion(model, json!({})));
    assert_eq!(answer("new").status, 200);
    assert_ne!(answer("new").json()["choices"], answer("tiny").json()["choices"]);
    let unload = || server.post("/v1/unload_lora_adapter", &json!({"lora_name": "new"})).status;
    assert_eq!((unload(), unload(), answer("new").status), (200, 404, 404));

    // What has weights of its own for the whole model cannot share it.
    stored.config.bias = moe_adapter::BiasTraining::All;
    stored.write(folder.path()).unwrap();
    let refused = load("biases", path);
    assert!(refused.status == 400 && refused.body.contains("biases"), "{}", refused.body);

    let closed = Server::start(EngineConfig::default(), ServerConfig::default(), false);
    let body = json!({"lora_name": "new", "lora_path": path});
    assert_eq!(closed.post("/v1/load_lora_adapter", &body).status, 403);
}

#[test]
fn metrics_count_what_was_done() {
    let server = Server::usual();
    server.post(COMPLETIONS, &completion("moe", json!({})));
    server.until("requests_running", 0.0);
    assert_eq!(server.metric("requests_finished_total"), 1.0);
    assert_eq!(server.metric("generated_tokens_total"), 6.0);
    assert_eq!(server.metric("prompt_tokens_total"), 8.0);
    assert_eq!(server.metric("time_to_first_token_seconds_count"), 1.0);
    let text = server.get("/metrics").body;
    assert!(text.contains("lora_moe_expert_weight_total{adapter=\"moe\",expert=\"0\"}"), "{text}");
}

#[test]
fn a_server_that_is_asked_to_end_finishes_what_runs() {
    let mut server = Server::usual();
    let body = completion("goat", json!({"max_tokens": 200}));
    let bytes = request(COMPLETIONS, body.to_string().as_bytes(), "");
    let mut client = server.connect();
    client.write_all(&bytes).unwrap();
    server.until("requests_running", 1.0);
    server.join();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"completion_tokens\":200"), "{answer}");
    assert!(std::net::TcpStream::connect(server.address).is_err());

    // Within a limit.
    let config = ServerConfig { closing_time: Duration::ZERO, ..ServerConfig::default() };
    let mut server = Server::start(EngineConfig::default(), config, true);
    let mut client = server.connect();
    client.write_all(&bytes).unwrap();
    server.until("requests_running", 1.0);
    server.join();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(" 503 ") && answer.contains("shutting down"), "{answer}");
}
