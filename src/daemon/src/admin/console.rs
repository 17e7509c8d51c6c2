//! The console: one page that holds everything it needs.

use axum::response::{IntoResponse, Response};

/// The page, as it is served.
pub(super) fn page_response() -> Response {
    axum::http::StatusCode::NOT_FOUND.into_response()
}
