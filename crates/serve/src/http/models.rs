use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::app::{App, blocking, fields};
use super::error::{ApiError, json_response, with_type};

/// `GET /v1/models`.
pub(super) async fn models(State(app): State<Arc<App>>) -> Response<Body> {
    json_response(StatusCode::OK, &json!({"object": "list", "data": all(&app)}))
}

/// `GET /v1/models/NAME`.
pub(super) async fn model(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Response<Body>, ApiError> {
    let found = all(&app).into_iter().find(|model| model["id"] == name.as_str());
    match found {
        Some(model) => Ok(json_response(StatusCode::OK, &model)),
        None => {
            let message = format!("there is no model or adapter `{name}`");
            Err(ApiError::new(StatusCode::NOT_FOUND, message).at("model"))
        }
    }
}

fn all(app: &App) -> Vec<Value> {
    let entry = |id: &str, root: Value, parent: Value| {
        json!({
            "id": id,
            "object": "model",
            "created": 0,
            "owned_by": "lora-moe",
            "root": root,
            "parent": parent,
            "max_model_len": app.engine.max_len(),
        })
    };
    let base = entry(&app.name, json!(app.name), Value::Null);
    let adapters = app.engine.adapters();
    let adapters = adapters.iter().map(|adapter| {
        let root = adapter.path.as_ref().map(|path| path.display().to_string());
        entry(&adapter.name, json!(root), json!(app.name))
    });
    std::iter::once(base).chain(adapters).collect()
}

/// `POST /v1/load_lora_adapter`: `lora_name` from the folder `lora_path`.
pub(super) async fn load(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let fields = fields(&app, request).await?;
    may_change(&app)?;
    let name = fields.required("lora_name")?.to_owned();
    let path = PathBuf::from(fields.required("lora_path")?);
    if name.is_empty() {
        return Err(ApiError::invalid("`lora_name` is empty").at("lora_name"));
    }
    let done = format!("Success: LoRA adapter '{name}' added successfully.");
    // Reading and attaching take seconds.
    blocking(move || Ok(app.add_adapter(&name, &path)?)).await?;
    Ok(with_type(StatusCode::OK, "text/plain; charset=utf-8", done))
}

/// `POST /v1/unload_lora_adapter`.
pub(super) async fn unload(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let fields = fields(&app, request).await?;
    may_change(&app)?;
    let name = fields.required("lora_name")?;
    app.engine.remove_adapter(name)?;
    let done = format!("Success: LoRA adapter '{name}' removed successfully.");
    Ok(with_type(StatusCode::OK, "text/plain; charset=utf-8", done))
}

fn may_change(app: &App) -> Result<(), ApiError> {
    if app.local || app.config.api_key.is_some() {
        return Ok(());
    }
    let message = "adapters are loaded and unloaded only with an API key, or where the server \
                   listens on this machine alone";
    Err(ApiError::new(StatusCode::FORBIDDEN, message))
}
