//! What can go wrong with files, classified.

use std::io;
use std::path::Path;

use tailrace_core::Error;

use crate::segment::FORMAT;

/// The config says something impossible.
pub(crate) const CONFIG: &str = "stream_config_invalid";
/// Another process writes to the stream.
pub(crate) const LOCKED: &str = tailrace_core::check::STREAM_LOCKED;
/// Another consumer has the group.
pub(crate) const GROUP_IN_USE: &str = "stream_group_in_use";
/// A write or sync failed.
pub(crate) const UNWRITABLE: &str = "stream_unwritable";
/// A read failed.
pub(crate) const UNREADABLE: &str = "stream_unreadable";
/// The content of a segment is not what was written.
pub(crate) const CORRUPT: &str = "stream_corrupt";
/// A later release wrote it.
pub(crate) const NEWER: &str = "stream_newer";
/// Stored offsets are not what was written.
pub(crate) const OFFSETS_CORRUPT: &str = "stream_offsets_corrupt";
/// The record at the wanted offset was deleted.
pub(crate) const OUT_OF_RANGE: &str = "offset_out_of_range";
/// No folder can have the name.
pub(crate) const TOPIC_NAME: &str = "topic_name_invalid";
/// Two topics would share a folder.
pub(crate) const TOPIC_COLLISION: &str = "topic_collision";
/// The record is longer than a segment reader accepts.
pub(crate) const TOO_LARGE: &str = "record_too_large";

/// Why a group of batches could not be written. Each batch of the group is told the same.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// The operating system refused.
    Unwritable(String),
    /// What is there already cannot be trusted, or is not ours.
    Definite { code: &'static str, message: String },
}

// === impl Failure ===

impl Failure {
    pub(crate) fn unwritable(path: &Path, error: &io::Error) -> Self {
        Self::Unwritable(format!(
            "{} cannot be written: {error}; free space on its disk or repair it: events wait until it can",
            path.display()
        ))
    }

    pub(crate) fn error(&self) -> Error {
        match self {
            Self::Unwritable(message) => Error::transient(UNWRITABLE, message.as_str()),
            Self::Definite { code, message } => Error::definite(code, message.as_str()),
        }
    }
}

/// A segment is damaged at a byte.
pub(crate) fn corrupt(segment: &Path, at_byte: u64, finding: &str) -> Failure {
    let message = format!(
        "{} is damaged at byte {at_byte}: {finding}; restore the file from a backup; only if nobody needs what follows, \
         cut it there with: truncate --size={at_byte} {0}",
        segment.display()
    );
    Failure::Definite { code: CORRUPT, message }
}

/// A segment has a format of a later release.
pub(crate) fn newer(segment: &Path, format: u8) -> Failure {
    let message = format!(
        "{} was written by a newer Tailrace (format {format}, and Tailrace {} knows formats up to {FORMAT}); run that one, or a later one; or \
         give this one another folder in `path`",
        segment.display(),
        env!("CARGO_PKG_VERSION")
    );
    Failure::Definite { code: NEWER, message }
}

/// A file cannot be read now.
pub(crate) fn unreadable(path: &Path, error: io::Error) -> Error {
    let message = format!(
        "{} cannot be read; check its disk and the rights of Tailrace's user",
        path.display()
    );
    Error::transient(UNREADABLE, message).with_source(error)
}

/// A folder or lock of the stream cannot be made at the start: a person gave the wrong path or rights, unless the disk
/// is full.
pub(crate) fn unopenable(path: &Path, error: io::Error) -> Error {
    let message = format!(
        "the file stream cannot be written at {}; give Tailrace's user the right to write there, or set `path` to \
         another folder",
        path.display()
    );
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::transient(UNWRITABLE, message),
        _ => Error::definite(UNWRITABLE, message),
    }
    .with_source(error)
}
