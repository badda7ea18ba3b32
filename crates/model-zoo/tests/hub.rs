//! Downloads from a stand-in for the Hugging Face hub on this machine.

#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::{fs, thread};

use model_zoo::{HubError, HubModel};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Serves `org/tiny`, of which branch `main` has the files of a folder and `old` fewer.
struct Hub {
    endpoint: String,
    /// The path and the token of each request.
    requests: Arc<Mutex<Vec<(String, Option<String>)>>>,
}

impl Hub {
    fn start(files: BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = requests.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = answer(stream.unwrap(), &files, &log);
            }
        });
        Self { endpoint, requests }
    }

    fn model(&self, cache: &Path) -> HubModel {
        HubModel {
            endpoint: Some(self.endpoint.clone()),
            cache: Some(cache.to_owned()),
            token: Some("secret".to_owned()),
            ..HubModel::new("org/tiny")
        }
    }

    fn paths(&self) -> Vec<String> {
        self.requests.lock().unwrap().drain(..).map(|(path, _)| path).collect()
    }
}

fn answer(
    mut stream: TcpStream,
    files: &BTreeMap<String, Vec<u8>>,
    log: &Mutex<Vec<(String, Option<String>)>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
            None => break,
        };
    }
    log.lock().unwrap().push((path.clone(), headers.get("authorization").cloned()));
    let listing = |names: Vec<&str>| {
        let siblings: Vec<_> = names.iter().map(|n| format!(r#"{{"rfilename":"{n}"}}"#)).collect();
        format!(r#"{{"siblings":[{}],"sha":"{COMMIT}"}}"#, siblings.join(","))
    };
    let (status, body) = match path.as_str() {
        "/api/models/org/tiny/revision/main" => {
            ("200 OK", listing(files.keys().map(String::as_str).collect()).into_bytes())
        }
        "/api/models/org/tiny/revision/old" => {
            ("200 OK", listing(vec!["config.json"]).into_bytes())
        }
        path => match path.strip_prefix(&format!("/org/tiny/resolve/{COMMIT}/")) {
            Some(file) if files.contains_key(file) => ("206 Partial Content", files[file].clone()),
            _ => ("404 Not Found", Vec::new()),
        },
    };
    let mut extra = String::new();
    let mut part = body.as_slice();
    if let Some((start, end)) = headers
        .get("range")
        .filter(|_| status.starts_with("206"))
        .and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))
    {
        let start: usize = start.parse().unwrap();
        let end = end.parse().map_or(body.len(), |end: usize| end + 1);
        part = &body[start..end];
        let name = path.rsplit('/').next().unwrap_or_default();
        extra = format!(
            "content-range: bytes {start}-{}/{}\r\netag: \"etag-{name}\"\r\n\
             x-repo-commit: {COMMIT}\r\n",
            end - 1,
            body.len()
        );
    }
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{extra}\r\n",
        part.len()
    )?;
    stream.write_all(part)
}

fn files() -> BTreeMap<String, Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/llama2");
    let read = |name: &str| (name.to_owned(), fs::read(folder.join(name)).unwrap());
    let mut files: BTreeMap<_, _> = ["config.json", "model.safetensors"].map(read).into();
    files.insert("README.md".to_owned(), b"text".to_vec());
    files.insert("pytorch_model.bin".to_owned(), b"the same in another format".to_vec());
    files
}

#[test]
fn models_are_downloaded_once_and_then_found_in_the_cache() {
    let hub = Hub::start(files());
    let cache = tempfile::tempdir().unwrap();
    let folder = hub.model(cache.path()).fetch().unwrap();
    for name in ["config.json", "model.safetensors"] {
        assert_eq!(fs::read(folder.join(name)).unwrap(), files()[name], "{name}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "nothing else is downloaded");
    assert!(folder.ends_with(format!("models--org--tiny/snapshots/{COMMIT}")), "{folder:?}");
    let tokens = hub.requests.lock().unwrap();
    assert!(tokens.iter().all(|(_, token)| token.as_deref() == Some("Bearer secret")));
    drop(tokens);

    hub.paths();
    assert_eq!(hub.model(cache.path()).fetch().unwrap(), folder);
    assert_eq!(hub.paths(), ["/api/models/org/tiny/revision/main"]);

    // Nobody listens there.
    let away =
        HubModel { endpoint: Some("http://127.0.0.1:9".to_owned()), ..hub.model(cache.path()) };
    assert_eq!(away.fetch().unwrap(), folder);
    let other = HubModel { revision: Some("other".to_owned()), ..away };
    assert!(matches!(other.fetch(), Err(HubError::Fetch { .. })));
}

#[test]
fn what_the_hub_does_not_have_is_named() {
    let hub = Hub::start(files());
    let cache = tempfile::tempdir().unwrap();
    let error = HubModel { revision: Some("old".to_owned()), ..hub.model(cache.path()) }.fetch();
    assert!(matches!(&error, Err(HubError::NothingUsable { revision, .. }) if revision == "old"));
    let error = HubModel { name: "org/other".to_owned(), ..hub.model(cache.path()) }.fetch();
    let text = error.unwrap_err().to_string();
    assert!(text.contains("`org/other`") && text.contains("no such model"), "{text}");
    assert!(text.contains(&hub.endpoint), "{text}");
    let error = HubModel { name: "../other".to_owned(), ..hub.model(cache.path()) }.fetch();
    assert!(matches!(error, Err(HubError::Name { .. })));
}
