//! The embedded event stream: an append-only log of segments on disk, so that Tailrace runs with nothing installed.
//!
//! ```text
//! <path>/
//!   writer.lock                            held by the one process that writes; holds its pid
//!   legacy.public.orders/                  a topic; other bytes than A-Z a-z 0-9 . _ - are written %xx
//!     00000/                               its one partition
//!       00000000000000000000.log           sealed: a later segment is there; never changes again
//!       00000000000000183204.log           active: records are appended here
//!   consumers/
//!     desk.json                            offsets that group `desk` has stored
//!     desk.lock                            held by the one consumer of the group
//! ```
//!
//! Read in this order: `record.rs` (bytes of a record), `segment.rs` (files of records, and what is torn or damaged),
//! `log.rs` (appending to one topic), `writer.rs` (the thread that writes for all producers), `reader.rs` (following
//! one topic), `consumer.rs` and `subscription.rs` (reading back, for people and for sinks), `stream.rs` (the port).
//!
//! What is promised:
//!
//! - A record is durable when `deliver` resolves, under the default `fsync: always`: written, and synced to the disk.
//! - Offsets grow by one, are never given twice, and never mean another record. A write that failed leaves a gap.
//! - A torn tail is cut off at the next start, with a warning that counts the bytes. Damage anywhere else is an error
//!   that names file and byte, never skipped.
//! - Readers need no lock and no writer: they see whole records only.

mod check;
mod config;
mod consumer;
mod error;
mod grants;
mod lock;
mod log;
mod offsets;
mod reader;
mod record;
mod retention;
mod segment;
mod stream;
mod subscription;
mod topic;
mod writer;

pub use config::{FileStreamConfig, FsyncPolicy};
pub use record::{Damage, Headers, Record, parse_record};
pub use stream::FileStream;
