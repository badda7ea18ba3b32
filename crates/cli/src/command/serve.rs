use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use lora_moe::burn::tensor::DType;
use lora_moe::device::parse_device;
use lora_moe::finetune::run::load_model;
use lora_moe::model_zoo::TextTokenizer;
use serve::adapter_loader;
use serve::engine::{Engine, EngineConfig};
use serve::http::{App, LoadAdapter, ServerConfig, serve};

use crate::args::ServeArgs;
use crate::interrupt::Interrupt;

/// The words that each thread remembers with their tokens: prompts of strangers repeat few, and a
/// server runs for long.
const CACHED_WORDS: usize = 1000;

/// Runs `lora-moe serve`.
pub fn run(args: &ServeArgs, device: &str, interrupt: &Interrupt) -> Result<()> {
    let device = parse_device(device)?;
    // Before anything is loaded: whoever waits for the port learns at once that it is taken.
    let address = (args.host, args.port);
    let listener = TcpListener::bind(address)
        .with_context(|| format!("cannot listen on {}:{}", args.host, args.port))?;
    let folder = args.model.folder()?;
    let tokenizer = TextTokenizer::from_folder(&folder)?.with_cached_words(CACHED_WORDS);
    let tokenizer = Arc::new(tokenizer);
    let model = load_model(&folder, None, &args.model.options(), &device)?;
    let name = match &args.served_model_name {
        Some(name) => name.clone(),
        None => {
            let path = args.model.model.canonicalize().unwrap_or(args.model.model.clone());
            path.file_name().map_or("base".to_owned(), |name| name.to_string_lossy().into_owned())
        }
    };
    let load: LoadAdapter = match model.activation_dtype() {
        DType::F32 => adapter_loader(&model),
        _ => Box::new(|_| {
            Err("adapters are f32, and the model computes in a half type; use --dtype float32"
                .to_owned())
        }),
    };
    let config = EngineConfig {
        max_rows: args.max_rows,
        prompt_tokens: args.prompt_tokens,
        cache_tokens: args.cache_tokens,
        max_queue: args.max_queue,
        max_len: args.max_len,
        share_prefixes: !args.no_prefix_sharing,
    };
    let engine = Engine::start(model, Arc::clone(&tokenizer), config)?;
    let app = App {
        engine,
        tokenizer,
        name,
        load,
        local: args.host.is_loopback(),
        config: ServerConfig {
            api_key: args.api_key.clone(),
            max_body: args.max_body,
            request_time: Duration::from_secs(args.request_seconds),
            client_time: Duration::from_secs(args.client_seconds),
            max_connections: args.max_connections,
            closing_time: Duration::from_secs(args.closing_seconds),
        },
    };
    for (name, folder) in &args.adapter {
        app.add_adapter(name, folder)?;
    }
    interrupt.listen()?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let asked = interrupt.clone();
    serve(listener, app, move || asked.asked())?;
    Ok(())
}
