use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode};
use serde_json::Value;

use super::answer::{Answer, Kind, Prompt};
use super::app::{App, blocking, fields};
use super::asked::{TOP_LOGPROBS, asked};
use super::error::{ApiError, json_response};
use super::fields::Fields;
use super::stream::stream;

/// `POST /v1/chat/completions`.
pub(super) async fn chat(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let fields = fields(&app, request).await?;
    let mut asked = asked(&app, &fields)?;
    let top = fields.count("top_logprobs", TOP_LOGPROBS)?;
    let scored = fields.boolean("logprobs")?;
    if top.is_some_and(|top| top > 0) && !scored {
        return Err(
            ApiError::invalid("`top_logprobs` needs `logprobs` to be true").at("top_logprobs")
        );
    }
    asked.request.logprobs = scored.then_some(top.unwrap_or(0));
    let own = Arc::clone(&app);
    let tokens = blocking(move || conversation(&own, &fields)).await?;
    let room = app.engine.max_len().saturating_sub(tokens.len()).max(1);
    asked.request.generation.max_new_tokens = asked.max_tokens.unwrap_or(room).max(1);
    let prompt = Prompt { tokens, echo: None };
    let answer = Answer::new(&app, Kind::Chat, &asked, vec![prompt])?;
    if asked.stream {
        return Ok(stream(answer));
    }
    answer.whole().await.map(|whole| json_response(StatusCode::OK, &whole))
}

/// The tokens of a conversation in the model's own template.
pub(super) fn conversation(app: &App, fields: &Fields) -> Result<Vec<u32>, ApiError> {
    let wrong = |message: String| ApiError::invalid(message).at("messages");
    let messages = fields.list("messages")?.unwrap_or_default();
    if messages.is_empty() {
        return Err(wrong("`messages` must be a list of at least one message".to_owned()));
    }
    let messages: Vec<Value> =
        messages.iter().enumerate().map(message).collect::<Result<_, _>>()?;
    let tools = fields.list("tools")?.filter(|tools| !tools.is_empty());
    let generates = match fields.get("add_generation_prompt") {
        None => true,
        Some(_) => fields.boolean("add_generation_prompt")?,
    };
    let text = app
        .tokenizer
        .render_chat(&messages, tools, generates)
        .map_err(|error| wrong(error.to_string()))?;
    app.tokenizer.encode(&text, false).map_err(|error| wrong(error.to_string()))
}

/// A message whose content is a text, also where it came as a list of parts.
fn message((i, message): (usize, &Value)) -> Result<Value, ApiError> {
    let wrong = |what: &str| ApiError::invalid(format!("`messages[{i}]` {what}")).at("messages");
    let mut object = message.as_object().cloned().ok_or_else(|| wrong("is no object"))?;
    if !object.get("role").is_some_and(Value::is_string) {
        return Err(wrong("has no `role`, or one that is no text"));
    }
    match object.get("content") {
        None | Some(Value::Null | Value::String(_)) => {}
        Some(Value::Array(parts)) => {
            let text = |part: &Value| match part {
                Value::String(text) => Some(text.clone()),
                part => {
                    let is_text = part.get("type").is_some_and(|kind| kind == "text");
                    part.get("text").filter(|_| is_text)?.as_str().map(str::to_owned)
                }
            };
            let texts: Option<Vec<String>> = parts.iter().map(text).collect();
            let texts = texts.ok_or_else(|| wrong("has a part that is no text"))?;
            object.insert("content".to_owned(), Value::String(texts.join("\n")));
        }
        Some(_) => return Err(wrong("has a `content` that is no text and no list of parts")),
    }
    Ok(Value::Object(object))
}
