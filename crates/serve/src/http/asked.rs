use std::time::Instant;

use model_zoo::GenerationConfig;

use super::app::App;
use super::error::ApiError;
use super::fields::Fields;
use crate::engine::Request;

/// The most tokens whose log-probabilities are given beside a chosen one.
pub(super) const TOP_LOGPROBS: usize = 20;

/// The most stop texts.
const STOPS: usize = 16;

/// What requests of all kinds ask for.
pub(super) struct Asked {
    /// What the engine is asked, but for the prompt.
    pub(super) request: Request,
    /// The number of answers to each prompt.
    pub(super) n: usize,
    /// Whether the answer comes in parts.
    pub(super) stream: bool,
    /// Whether the last part counts the tokens.
    pub(super) include_usage: bool,
    /// The most new tokens, where it is said.
    pub(super) max_tokens: Option<usize>,
}

/// Keys that would change the answer, and that this server cannot follow.
const REFUSED: [&str; 8] = [
    "suffix",
    "logit_bias",
    "response_format",
    "structured_outputs",
    "guided_json",
    "chat_template",
    "chat_template_kwargs",
    "continue_final_message",
];

pub(super) fn asked(app: &App, fields: &Fields) -> Result<Asked, ApiError> {
    for key in REFUSED {
        let Some(value) = fields.get(key) else { continue };
        let nothing = match value {
            serde_json::Value::Bool(value) => !value,
            serde_json::Value::Object(map) => {
                map.is_empty() || map.get("type").is_some_and(|kind| kind == "text")
            }
            serde_json::Value::String(text) => text.is_empty(),
            _ => false,
        };
        if !nothing {
            return Err(ApiError::invalid(format!("`{key}` is not supported")).at(key));
        }
    }
    let len = app.engine.max_len();
    let mut eos_token_ids = Vec::new();
    if let Some(given) = fields.tokens("stop_token_ids")?.filter(|given| !given.is_empty()) {
        eos_token_ids = [app.engine.eos_token_ids(), &given].concat();
    }
    let max_tokens = match fields.count("max_completion_tokens", len)? {
        Some(count) => Some(count),
        None => fields.count("max_tokens", len)?,
    };
    let stop = fields.texts("stop", STOPS)?;
    if stop.iter().any(String::is_empty) {
        return Err(ApiError::invalid("`stop` has an empty text").at("stop"));
    }
    let generation = GenerationConfig {
        max_new_tokens: 1,
        temperature: fields.number("temperature", 0.0..=100.0)?.unwrap_or(1.0),
        top_k: fields
            .integer("top_k", -1..=i64::from(i32::MAX))?
            .and_then(|k| usize::try_from(k).ok())
            .filter(|k| *k > 0),
        top_p: positive(fields, "top_p")?,
        min_p: fields.number("min_p", 0.0..=1.0)?.filter(|min_p| *min_p > 0.0),
        repetition_penalty: fields.number("repetition_penalty", 0.01..=100.0)?.unwrap_or(1.0),
        presence_penalty: fields.number("presence_penalty", -2.0..=2.0)?.unwrap_or(0.0),
        frequency_penalty: fields.number("frequency_penalty", -2.0..=2.0)?.unwrap_or(0.0),
        stop,
        seed: match fields.integer("seed", i64::MIN..=i64::MAX)? {
            Some(seed) => seed as u64,
            None => rand::random(),
        },
        eos_token_ids,
    };
    let stream_options = match fields.get("stream_options") {
        None => None,
        Some(serde_json::Value::Object(options)) => options.get("include_usage").cloned(),
        Some(value) => return Err(ApiError::value("stream_options", value, "an object")),
    };
    Ok(Asked {
        request: Request {
            adapter: app.adapter(fields)?,
            generation,
            ignore_eos: fields.boolean("ignore_eos")?,
            routing: fields.boolean("routing")?,
            deadline: Some(Instant::now() + app.config.request_time),
            ..Request::default()
        },
        n: fields.integer("n", 1..=128)?.map_or(1, |n| n as usize),
        stream: fields.boolean("stream")?,
        include_usage: stream_options == Some(serde_json::Value::Bool(true)),
        max_tokens,
    })
}

/// A probability above 0; 1 is the same as none.
fn positive(fields: &Fields, key: &str) -> Result<Option<f64>, ApiError> {
    match (fields.number(key, 0.0..=1.0)?, fields.get(key)) {
        (Some(0.0), Some(value)) => Err(ApiError::value(key, value, "above 0 and at most 1")),
        (number, _) => Ok(number.filter(|number| *number < 1.0)),
    }
}
