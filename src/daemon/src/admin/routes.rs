//! The routes and what they answer.

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tailrace_core::telemetry::metrics::{self, ProcessNumbers};
use tailrace_core::telemetry::{Life, Snapshot};

use super::{Shown, letters, registry, snapshots};
use crate::supervisor::PANICKED;

/// The release, as Cargo knows it.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Memory pages of Linux on the machines that there are; the kernel counts in them.
const PAGE_BYTES: u64 = 4096;

/// The answer of `/status`.
#[derive(Serialize)]
struct Status {
    version: &'static str,
    uptime_ms: u64,
    connectors: Vec<Snapshot>,
}

/// The answer of `/livez` and `/readyz`: a word, and the connectors that are the reason.
#[derive(Serialize)]
struct Health {
    status: &'static str,
    reasons: Vec<Reason>,
}

#[derive(Serialize)]
struct Reason {
    #[serde(skip_serializing_if = "Option::is_none")]
    connector: Option<String>,
    state: String,
}

/// Every route; anything else is not found.
pub(super) fn router(shown: Shown) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .route("/metrics", get(metrics_text))
        .merge(letters::router())
        .merge(snapshots::router())
        .merge(registry::router())
        .layer(from_fn_with_state(shown.clone(), guard))
        .with_state(shown)
}

/// Refuses what no operator sends, and sets the headers of every answer.
async fn guard(State(shown): State<Shown>, request: Request, next: Next) -> Response {
    let hosts: Vec<_> = request.headers().get_all(HOST).iter().collect();
    let answer = match hosts.as_slice() {
        [host] if is_here(host, &shown) => {
            if request.headers().contains_key(ORIGIN) {
                StatusCode::FORBIDDEN.into_response()
            } else {
                next.run(request).await
            }
        }
        [] | [_] => StatusCode::MISDIRECTED_REQUEST.into_response(),
        [..] => StatusCode::BAD_REQUEST.into_response(),
    };
    with_headers(answer)
}

fn with_headers(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    answer
}

/// The names under which a client on this machine finds the endpoint, with its port.
fn is_here(host: &HeaderValue, shown: &Shown) -> bool {
    let address = shown.address;
    let names = [address.to_string(), format!("localhost:{}", address.port())];
    host.to_str()
        .is_ok_and(|host| names.iter().any(|name| name.eq_ignore_ascii_case(host)))
}

async fn livez(State(shown): State<Shown>) -> Response {
    let mut reasons = Vec::new();
    if shown.heartbeat.is_stalled() {
        reasons.push(Reason {
            connector: None,
            state: "runtime_stalled".to_owned(),
        });
    }
    let panicked = shown
        .connectors
        .iter()
        .filter(|connector| connector.life() == Life::Halted(PANICKED.to_owned()));
    reasons.extend(panicked.map(|connector| Reason {
        connector: Some(connector.connector.clone()),
        state: format!("halted:{PANICKED}"),
    }));
    health(reasons)
}

async fn readyz(State(shown): State<Shown>) -> Response {
    let waiting = shown
        .connectors
        .iter()
        .map(|connector| (connector, connector.life()))
        .filter(|(_, life)| !life.is_ready());
    let reasons = waiting.map(|(connector, life)| Reason {
        connector: Some(connector.connector.clone()),
        state: match &life {
            Life::Halted(code) | Life::Degraded(code) => format!("{}:{code}", life.name()),
            Life::Starting | Life::Snapshotting | Life::Streaming | Life::Paused | Life::Stopped => {
                life.name().to_owned()
            }
        },
    });
    health(reasons.collect())
}

fn health(reasons: Vec<Reason>) -> Response {
    if reasons.is_empty() {
        (StatusCode::OK, Json(Health { status: "ok", reasons })).into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(Health {
                status: "unavailable",
                reasons,
            }),
        )
            .into_response()
    }
}

async fn status(State(shown): State<Shown>) -> Json<Status> {
    Json(Status {
        version: VERSION,
        uptime_ms: u64::try_from(shown.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        connectors: shown.connectors.iter().map(|connector| connector.snapshot()).collect(),
    })
}

async fn metrics_text(State(shown): State<Shown>) -> Response {
    let process = ProcessNumbers {
        version: VERSION,
        uptime_seconds: shown.started.elapsed().as_secs_f64(),
        resident_bytes: resident_bytes(),
    };
    match metrics::exposition(&shown.connectors, process) {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The second number of Linux's `/proc/self/statm`, proc(5); nothing elsewhere.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(PAGE_BYTES)
}
