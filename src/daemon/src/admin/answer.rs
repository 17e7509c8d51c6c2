//! Answers: JSON, and refusals as Kafka Connect writes them.

use axum::http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use tailrace_core::Error;
use tailrace_core::error::Kind;

use crate::letters;
use crate::supervisor::CONNECTOR_UNKNOWN;
use crate::supervisor::change::{CONFIG_INVALID, CONNECTOR_EXISTS, OWNED_BY_FILE};

/// Why something was not done.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Refusal {
    /// The status of the answer once more, as Kafka Connect has it.
    error_code: u16,
    /// What, where, and what to do.
    message: String,
    /// Stable name in snake case.
    code: String,
}

/// A refusal, ready to be sent.
#[derive(Debug)]
pub(super) struct Refused(Box<Response>);

/// What a handler says.
pub(super) type Answer = Result<Response, Refused>;

/// A refusal.
pub(super) fn refuse(status: u16, code: &str, message: impl Into<String>) -> Refused {
    let refusal = Refusal {
        error_code: status,
        message: message.into(),
        code: code.to_owned(),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Refused(Box::new(json(status, &refusal)))
}

/// A body of JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => (
            status,
            [(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
            body,
        )
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// JSON that is text already.
pub(super) fn json_text(body: String) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// What went wrong, as an answer.
pub(super) fn failed(error: &Error) -> Refused {
    let status = match (error.code(), error.kind()) {
        (letters::UNKNOWN | CONNECTOR_UNKNOWN, _) => 404,
        (letters::CLOSED | letters::BEHIND | OWNED_BY_FILE | CONNECTOR_EXISTS, _) => 409,
        (CONFIG_INVALID, _) => 400,
        (_, Kind::Transient | Kind::Fenced) => 503,
        (_, Kind::Definite | Kind::Poison) => 500,
    };
    refuse(status, error.code(), error.report())
}

// === impl Refused ===

impl Refused {
    /// An answer that is one because something else is needed first.
    pub(super) fn with(answer: Response) -> Self {
        Self(Box::new(answer))
    }

    /// With a header beside those that every answer has.
    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers_mut().insert(name, value);
        self
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        *self.0
    }
}
