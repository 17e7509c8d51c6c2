//! In construction.

mod config;
mod connect;
mod endpoint;
mod error;
mod tls;

pub use config::{PostgresConfig, SnapshotConfig, SnapshotMode, SnapshotOrder, TlsConfig, TlsMode};
