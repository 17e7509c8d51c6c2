//! What the way to a SQLite file that is written to may be told.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use tailrace_core::setting::LocalFile;

use crate::config::BUSY_TIMEOUT_MS;

/// A SQLite database file that events are written into.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqliteSinkConfig {
    /// The database file, which must be there; an empty one is a database without tables.
    #[schemars(with = "LocalFile")]
    pub path: PathBuf,

    /// How long to wait for a lock that another process holds, milliseconds.
    #[serde(default = "busy_timeout_ms")]
    pub busy_timeout_ms: u64,
}

fn busy_timeout_ms() -> u64 {
    BUSY_TIMEOUT_MS
}
