//! Rows of tables in the stream of a log: those that existed before it began, and those that somebody asks for again later.
//!
//! | module | what it does |
//! |---|---|
//! | [`handover`] | the first snapshot: rows, then the log behind them |
//! | [`incremental`] | snapshots that are asked for while the log is carried: rows between its changes |
//! | [`desk`] | where people ask for them, and see how far they are |
//! | [`run`] | what a checkpoint says of one |
//!
//! Nothing in here knows SQL: databases implement [`crate::ports::ChunkReader`], [`crate::ports::LogReader`] and
//! [`crate::ports::WindowReader`].

pub mod desk;
pub mod handover;
pub mod incremental;
mod keys;
mod request;
pub mod run;

pub use desk::{SnapshotDesk, SnapshotRequest, SnapshotState, TableState};
pub use handover::{Handover, Resume, SNAPSHOT_FINISHED, SnapshotPosition, snapshot_finished};
pub use incremental::Windows;
pub use run::{Run, RunId, RunStage, log_position};
