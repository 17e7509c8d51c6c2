//! MySQL and MariaDB as sources: their existing rows, then their binary log.
//!
//! Read in this order: [`config`] (what can be said), `bootstrap` (from nothing to an open source), `scan` (rows),
//! `log` (changes: `log/dump.rs` → `log/assemble.rs`), `decode` (bytes to values), `ddl` (definitions that change on the way).

mod bootstrap;
mod charset;
mod check;
mod column_type;
mod config;
mod connect;
mod ddl;
mod decode;
mod discover;
mod error;
pub mod fuzzing;
mod log;
mod memory;
mod position;
mod quote;
mod scan;
mod server;
mod table;

pub use column_type::InvalidDates;
