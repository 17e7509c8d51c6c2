//! PostgreSQL as a source: its existing rows, then its write-ahead log.
//!
//! Read in this order: [`config`] (what can be said), `bootstrap` (from nothing to an open source), `scan` (rows),
//! `log` (changes: `log/socket.rs` → `log/assemble.rs`), `decode` (bytes to values).

mod check;
mod config;
mod connect;
mod decode;
mod discover;
mod endpoint;
mod error;
pub mod fuzzing;
mod position;
mod quote;
mod tls;
mod type_catalog;
mod type_name;

use type_catalog as types;

pub use config::{PostgresConfig, SnapshotConfig, SnapshotMode, SnapshotOrder, TlsConfig, TlsMode};
