//! Writing events into the tables of a database, written once for every SQL database.
//!
//! ```text
//!   EventBatch ─▶ plan: which table, which columns ─▶ fold: one effect per key ─▶ Work ─▶ Session::write
//!                 (evolve: the DDL that is allowed)                               rows and offsets, one transaction
//! ```
//!
//! Read in this order: [`config`] (what may be asked for), [`work`] (what a database is given to do), [`session`] (what a database
//! must be able to do).

pub mod check;
pub mod config;
pub mod error;
mod evolve;
mod extra;
mod faults;
mod fold;
mod key;
mod name;
pub mod plain;
pub(crate) mod plan;
pub mod session;
mod sql_sink;
pub mod target;
mod version;
pub mod work;

pub use evolve::alters_table;
pub use sql_sink::{SinkRules, SqlSink};
