//! Every route. What is asked in vain is answered as Kafka Connect does.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::get as plain_get;
use serde_json::Value;

use super::answer::{Refused, json, refuse};
use super::config::Role;
use super::operation::{self, Operation, document, get};
use super::{Shown, connect, connector, guard, journal, letters, registry, snapshots, status, tail};

/// Everything that can be asked beside the registry of schemas, which has an interface of its own.
pub(super) fn operations() -> Vec<Operation> {
    let mut all = status::operations();
    all.extend(connect::operations());
    all.extend(connector::operations());
    all.extend(snapshots::operations());
    all.extend(letters::operations());
    all.extend(journal::operations());
    all.extend(tail::operations());
    all.push(
        get("/openapi.json", openapi)
            .says("This document", "")
            .tag("State")
            .role(Role::Read)
            .answers::<Value>(200, "OpenAPI"),
    );
    all
}

/// The routes of the main address.
pub(super) fn router(shown: Shown) -> Router {
    operation::router(operations())
        .merge(registry::router())
        .fallback(unknown)
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn_with_state(shown.clone(), guard::guard))
        .with_state(shown)
}

/// The routes for probes.
pub(super) fn probes(shown: Shown) -> Router {
    Router::new()
        .route("/livez", plain_get(status::is_live))
        .route("/readyz", plain_get(status::is_ready))
        .with_state(shown)
}

async fn openapi(State(_): State<Shown>) -> Response {
    json(StatusCode::OK, &document(&operations(), status::VERSION))
}

async fn unknown() -> Refused {
    refuse(
        404,
        "path_unknown",
        "HTTP 404 Not Found; `GET /openapi.json` has every path",
    )
}

async fn not_allowed() -> Refused {
    refuse(405, "method_not_allowed", "HTTP 405 Method Not Allowed")
}
