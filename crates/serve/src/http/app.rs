use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use model_zoo::TextTokenizer;
use moe_adapter::AdapterLayers;

use super::error::ApiError;
use super::fields::Fields;
use crate::engine::Engine;

/// Reads the adapter of a folder.
pub type LoadAdapter = Box<dyn Fn(&Path) -> Result<AdapterLayers, String> + Send + Sync>;

/// The limits of a server, beside those of its engine.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// What clients have to send as `Authorization: Bearer …`. Default: nothing.
    pub api_key: Option<String>,
    /// The largest body of a request, in bytes. Default 4 MiB.
    pub max_body: usize,
    /// How long a request may take, waiting included. Default ten minutes.
    pub request_time: Duration,
    /// How long a client may take to send a request, or to read some of an answer. Default one
    /// minute.
    pub client_time: Duration,
    /// The most connections. Default 1,024.
    pub max_connections: usize,
    /// How long what runs may go on when the server ends. Default half a minute.
    pub closing_time: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            api_key: None,
            max_body: 4 << 20,
            request_time: Duration::from_secs(600),
            client_time: Duration::from_secs(60),
            max_connections: 1024,
            closing_time: Duration::from_secs(30),
        }
    }
}

/// What a server answers from.
pub struct App {
    /// What computes.
    pub engine: Engine,
    /// Turns text into tokens. What its threads remember is bounded by
    /// [`TextTokenizer::with_cached_words`].
    pub tokenizer: Arc<TextTokenizer>,
    /// The name of the base model.
    pub name: String,
    /// Reads adapters.
    pub load: LoadAdapter,
    /// The limits.
    pub config: ServerConfig,
    /// Whether it listens on this machine alone. Without a key it is then not to be reached under
    /// names of others, which pages of other sites could give it, and clients may load and unload
    /// adapters.
    pub local: bool,
}

impl App {
    /// The adapter that a request names by `model`; `None` for the base model, also where it names
    /// nothing.
    pub(super) fn adapter(&self, fields: &Fields) -> Result<Option<String>, ApiError> {
        Ok(fields.text("model")?.filter(|name| *name != self.name).map(str::to_owned))
    }

    /// Loads an adapter.
    ///
    /// # Errors
    ///
    /// [`EngineError`](crate::engine::EngineError) naming the adapter and what is wrong.
    pub fn add_adapter(&self, name: &str, path: &Path) -> Result<(), crate::engine::EngineError> {
        use crate::engine::EngineError;
        let there = self.engine.adapters().iter().any(|adapter| adapter.name == name);
        if there || name == self.name {
            return Err(EngineError::KnownAdapter { name: name.to_owned() });
        }
        let layers = (self.load)(path)
            .map_err(|reason| EngineError::Adapter { name: name.to_owned(), reason })?;
        self.engine.add_adapter(name, Some(path.to_owned()), layers)
    }
}

/// The keys of a request.
pub(super) async fn fields(app: &App, request: Request<Body>) -> Result<Fields, ApiError> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let json = content_type.and_then(|value| value.to_str().ok()).is_some_and(|value| {
        let kind = value.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json")
    });
    if !json {
        // Pages of other sites can send anything else without being asked for permission.
        let message = "the header Content-Type must be application/json";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let most = app.config.max_body;
    let too_large = || {
        let message = format!("the body has more than {most} bytes");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    let body = request.into_body();
    // Where the head says how long it is, nothing of it need be read.
    if body.size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    let limited = Limited::new(body, most);
    let body = tokio::time::timeout(app.config.client_time, limited.collect()).await;
    let body = body.map_err(|_| {
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "the body of the request did not come in time")
    })?;
    let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => too_large(),
        None => ApiError::invalid(format!("the body could not be read: {error}")),
    })?;
    Fields::parse(&body.to_bytes())
}

/// Does what takes long, as turning a long text into tokens, where nothing else waits for it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the request failed: {error}"),
        ))
    })
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
