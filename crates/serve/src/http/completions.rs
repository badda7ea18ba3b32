use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode};
use serde_json::Value;

use super::answer::{Answer, Kind, Prompt};
use super::app::{App, blocking, fields};
use super::asked::{TOP_LOGPROBS, asked};
use super::error::{ApiError, json_response};
use super::fields::{Fields, token};
use super::stream::stream;

/// OpenAI's.
const MAX_TOKENS: usize = 16;

/// `POST /v1/completions`.
pub(super) async fn completions(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let fields = fields(&app, request).await?;
    let mut asked = asked(&app, &fields)?;
    let echo = fields.boolean("echo")?;
    let generation = &mut asked.request.generation;
    generation.max_new_tokens = asked.max_tokens.unwrap_or(MAX_TOKENS);
    if generation.max_new_tokens == 0 && !echo {
        return Err(ApiError::invalid("`max_tokens` is 0, but must be at least 1 without `echo`")
            .at("max_tokens"));
    }
    asked.request.logprobs = fields.count("logprobs", TOP_LOGPROBS)?;
    asked.request.prompt_logprobs = asked.request.logprobs.filter(|_| echo);
    let own = Arc::clone(&app);
    let most = app.engine.config().max_queue.max(1) / asked.n.max(1);
    let prompts = blocking(move || prompts(&own, &fields, echo, most)).await?;
    let answer = Answer::new(&app, Kind::Completion, &asked, prompts)?;
    if asked.stream {
        return Ok(stream(answer));
    }
    answer.whole().await.map(|whole| json_response(StatusCode::OK, &whole))
}

/// A text, tokens, or a list of either.
fn prompts(app: &App, fields: &Fields, echo: bool, most: usize) -> Result<Vec<Prompt>, ApiError> {
    let value = fields
        .get("prompt")
        .ok_or_else(|| ApiError::invalid("`prompt` is missing").at("prompt"))?;
    let wrong = || {
        let allowed = "a text, a list of tokens, or a list of at least one of either";
        ApiError::value("prompt", value, allowed)
    };
    let special = match fields.get("add_special_tokens") {
        None => true,
        Some(_) => fields.boolean("add_special_tokens")?,
    };
    let of_tokens = |list: &[Value]| {
        let tokens: Vec<u32> = list.iter().map(token).collect::<Option<_>>()?;
        (!tokens.is_empty()).then_some(tokens)
    };
    let one = |value: &Value| -> Result<Prompt, ApiError> {
        let (tokens, text) = match value {
            Value::String(text) => {
                let tokens = app.tokenizer.encode(text, special);
                (tokens.map_err(|error| ApiError::invalid(error.to_string()))?, Some(text.clone()))
            }
            Value::Array(list) => (of_tokens(list).ok_or_else(wrong)?, None),
            _ => return Err(wrong()),
        };
        let echo = match (echo, text) {
            (false, _) => None,
            (true, Some(text)) => Some(text),
            (true, None) => Some(
                app.tokenizer
                    .decode(&tokens, false)
                    .map_err(|error| ApiError::invalid(error.to_string()))?,
            ),
        };
        Ok(Prompt { tokens, echo })
    };
    match value {
        Value::Array(list) if list.iter().any(|item| item.is_string() || item.is_array()) => {
            if list.len() > most {
                let message = format!(
                    "`prompt` has {} prompts, which with `n` are more answers than may wait; at \
                     most {most} are allowed",
                    list.len()
                );
                return Err(ApiError::invalid(message).at("prompt"));
            }
            list.iter().map(one).collect()
        }
        value => Ok(vec![one(value)?]),
    }
}
