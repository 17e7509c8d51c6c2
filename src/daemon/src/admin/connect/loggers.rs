//! `/admin/loggers`: what is logged, changed while it runs. A logger is a part of the program: `tailrace_postgres`, or `root` for all of them.

use std::collections::BTreeMap;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::TAG;
use crate::admin::Shown;
use crate::admin::access::Caller;
use crate::admin::answer::{Answer, Refused, json as answer, refuse};
use crate::admin::asked::{Path, Query};
use crate::admin::config::Role;
use crate::admin::operation::{Operation, get, put};
use crate::logging::{self, Logger};

/// A level that is asked for.
#[derive(Deserialize, JsonSchema)]
struct NewLevel {
    /// OFF, ERROR, WARN, INFO, DEBUG or TRACE.
    level: String,
}

/// A logger's level.
#[derive(Serialize, JsonSchema)]
struct LoggerLevel {
    level: &'static str,
    /// Milliseconds since 1970; null where it was not changed since the start.
    last_modified: Option<i64>,
}

#[derive(Deserialize)]
struct Scope {
    scope: Option<String>,
}

/// The routes.
pub(super) fn operations() -> Vec<Operation> {
    let scope = json!({ "type": "string", "enum": ["worker", "cluster"], "default": "worker" });
    let all = [
        get("/admin/loggers", list)
            .says("Loggers and their levels", "")
            .role(Role::Read)
            .answers::<BTreeMap<String, LoggerLevel>>(200, "Levels by logger"),
        get("/admin/loggers/{logger}", show)
            .says("The level of a logger", "")
            .role(Role::Read)
            .answers::<LoggerLevel>(200, "The level")
            .refuses(404, "There is no such logger"),
        put("/admin/loggers/{logger}", change)
            .says("Changes the level of a logger, until the process ends", "")
            .role(Role::Operate)
            .parameter("scope", "Both mean this process", scope)
            .takes::<NewLevel>("The level")
            .answers::<Vec<String>>(200, "The loggers that were changed")
            .does(204, "Changed, for the scope `cluster`")
            .refuses(404, "There is no such logger, or no such level"),
    ];
    all.into_iter().map(|operation| operation.tag(TAG)).collect()
}

async fn list() -> Response {
    let levels: BTreeMap<String, LoggerLevel> = logging::loggers()
        .into_iter()
        .map(|logger| (logger.name.to_owned(), LoggerLevel::of(&logger)))
        .collect();
    answer(StatusCode::OK, &levels)
}

async fn show(Path(name): Path<String>) -> Answer {
    let logger = find(&name)?;
    Ok(answer(StatusCode::OK, &LoggerLevel::of(&logger)))
}

async fn change(
    State(shown): State<Shown>,
    Path(name): Path<String>,
    Query(scope): Query<Scope>,
    Extension(caller): Extension<Caller>,
    bytes: Bytes,
) -> Answer {
    let wanted: NewLevel = serde_json::from_slice(&bytes).map_err(|_| {
        refuse(
            400,
            "request_invalid",
            "Desired 'level' parameter was not specified in request.",
        )
    })?;
    let logger = find(&name)?;
    let level = logging::level_named(&wanted.level)
        .ok_or_else(|| refuse(404, "level_unknown", format!("invalid log level '{}'.", wanted.level)))?;
    let changed = logging::set_level(logger.name, level);
    let detail = format!("logs of {name} from level {} on", wanted.level);
    shown.supervisor.journal().write(None, &caller.name, "logging", &detail);
    Ok(match scope.scope.as_deref() {
        Some("cluster") => StatusCode::NO_CONTENT.into_response(),
        _ => answer(StatusCode::OK, &changed),
    })
}

fn find(name: &str) -> Result<Logger, Refused> {
    let found = logging::loggers().into_iter().find(|logger| logger.name == name);
    found.ok_or_else(|| refuse(404, "logger_unknown", format!("Logger {name} not found.")))
}

// === impl LoggerLevel ===

impl LoggerLevel {
    fn of(logger: &Logger) -> Self {
        Self {
            level: logger.level,
            last_modified: logger.changed_at_ms,
        }
    }
}
