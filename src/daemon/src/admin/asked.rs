//! What is asked for: names in the path, and what stands behind the question mark. What cannot be read is refused in JSON, as everything is.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::answer::{Refused, refuse};

/// Names in the path.
pub(super) struct Path<T>(pub(super) T);

/// What stands behind the question mark.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let read = axum::extract::Path::from_request_parts(parts, state).await;
        let named = read.map(|axum::extract::Path(named)| Self(named));
        named.map_err(|error| refuse(404, "path_unknown", format!("HTTP 404 Not Found: {error}")))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let read = axum::extract::Query::from_request_parts(parts, state).await;
        let said = read.map(|axum::extract::Query(said)| Self(said));
        said.map_err(|error| refuse(400, "request_invalid", error.to_string()))
    }
}
