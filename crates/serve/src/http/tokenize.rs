use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode};
use serde_json::json;

use super::app::{App, blocking, fields};
use super::chat::conversation;
use super::error::{ApiError, json_response};
use super::fields::Fields;

/// `POST /tokenize`: of `prompt`, or of `messages`.
pub(super) async fn tokenize(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let fields = fields(&app, request).await?;
    let own = Arc::clone(&app);
    let tokens = blocking(move || tokens(&own, &fields)).await?;
    let body = json!({
        "count": tokens.len(),
        "max_model_len": app.engine.max_len(),
        "tokens": tokens,
    });
    Ok(json_response(StatusCode::OK, &body))
}

fn tokens(app: &App, fields: &Fields) -> Result<Vec<u32>, ApiError> {
    if fields.get("messages").is_some() {
        return conversation(app, fields);
    }
    let special = match fields.get("add_special_tokens") {
        None => true,
        Some(_) => fields.boolean("add_special_tokens")?,
    };
    let tokens = app.tokenizer.encode(fields.required("prompt")?, special);
    tokens.map_err(|error| ApiError::invalid(error.to_string()).at("prompt"))
}

/// `POST /detokenize`: the text of `tokens`.
pub(super) async fn detokenize(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let fields = fields(&app, request).await?;
    let text = blocking(move || {
        let tokens = fields
            .tokens("tokens")?
            .ok_or_else(|| ApiError::invalid("`tokens` is missing").at("tokens"))?;
        let text = app.tokenizer.decode(&tokens, false);
        text.map_err(|error| ApiError::invalid(error.to_string()).at("tokens"))
    });
    let text = text.await?;
    Ok(json_response(StatusCode::OK, &json!({"prompt": text})))
}
