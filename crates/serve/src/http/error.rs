use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use crate::engine::EngineError;

/// An error in OpenAI's shape.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    status: StatusCode,
    message: String,
    /// The key of the request at fault.
    param: Option<String>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// A value that is not what is allowed for its key.
    pub(super) fn value(key: &str, found: &Value, allowed: &str) -> Self {
        let mut found = found.to_string();
        if found.len() > 80 {
            let end = (0..=80).rev().find(|end| found.is_char_boundary(*end)).unwrap_or(0);
            found.truncate(end);
            found.push('…');
        }
        Self::invalid(format!("`{key}` is {found}, but must be {allowed}")).at(key)
    }

    pub(super) fn at(mut self, key: &str) -> Self {
        self.param = Some(key.to_owned());
        self
    }

    /// What stands in the body.
    pub(super) fn body(&self) -> Value {
        let kind = match self.status {
            StatusCode::NOT_FOUND => "NotFoundError",
            StatusCode::UNAUTHORIZED => "AuthenticationError",
            StatusCode::TOO_MANY_REQUESTS => "RateLimitError",
            status if status.is_server_error() => "InternalServerError",
            _ => "BadRequestError",
        };
        json!({"error": {
            "message": self.message,
            "type": kind,
            "param": self.param,
            "code": self.status.as_u16(),
        }})
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let (status, param) = match &error {
            EngineError::UnknownAdapter { .. } => (StatusCode::NOT_FOUND, Some("model")),
            EngineError::TooLong { .. } => (StatusCode::BAD_REQUEST, Some("max_tokens")),
            EngineError::Invalid(_)
            | EngineError::KnownAdapter { .. }
            | EngineError::Adapter { .. } => (StatusCode::BAD_REQUEST, None),
            EngineError::QueueFull { .. } => (StatusCode::TOO_MANY_REQUESTS, None),
            EngineError::Closing => (StatusCode::SERVICE_UNAVAILABLE, None),
            EngineError::TimedOut => (StatusCode::GATEWAY_TIMEOUT, None),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, None),
        };
        Self { status, message: error.to_string(), param: param.map(str::to_owned) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let mut response = json_response(self.status, &self.body());
        let headers = response.headers_mut();
        match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

/// A body of JSON.
pub(super) fn json_response(status: StatusCode, value: &Value) -> Response<Body> {
    with_type(status, "application/json", value.to_string())
}

/// A body of some type.
pub(super) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
