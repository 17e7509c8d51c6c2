//! The language and the loops of Tailrace: no socket, no SQL, no file.
//!
//! Everything here is small and stable, because every other crate rebuilds when it changes. Read in this order:
//! [`value`] and [`schema`] (what a row is), [`batch`] (how changes travel), [`position`] (how far we are),
//! [`ports`] (the traits that connectors implement), [`pipeline`] (the loop that drives them).

pub mod backoff;
pub mod batch;
pub mod calendar;
pub mod check;
pub mod dead_letter;
pub mod error;
pub mod event;
pub mod failpoint;
pub mod grants;
pub mod pattern;
pub mod pipeline;
pub mod ports;
pub mod position;
pub mod predecessor;
pub mod record_batch;
pub mod registry;
pub mod schema;
pub mod schema_change;
pub mod secret;
pub mod setting;
pub mod snapshot;
pub mod task;
pub mod telemetry;
pub mod testkit;
pub mod topic;
pub mod trace;
pub mod transform;
pub mod value;

pub use error::{Error, Result};
