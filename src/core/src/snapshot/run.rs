//! What is known of a snapshot that was asked for, as it stands in a checkpoint beside the log's own position.
//!
//! ```text
//!   0/16B3748                                              the log's position, where no snapshot is under way
//!   incremental:{"log":"0/16B3748","run":{ … cursor … }}    the same place, and how far the snapshot is
//! ```
//!
//! Both are one text because they must be saved as one: rows up to the cursor are durable exactly if the changes are that
//! were carried before them. A connector never sees the outer form.

use serde::{Deserialize, Serialize};

use super::handover::Resume;
use crate::error::{Error, Result};
use crate::position::{Position, Progress};

/// Positions that say how far a snapshot is begin with this; no position of a log does.
const PREFIX: &str = "incremental:";

/// The name of one snapshot that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub String);

/// How a snapshot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStage {
    /// There is none.
    #[default]
    None,
    /// Rows are read.
    Running,
    /// It waits until somebody resumes it.
    Paused,
    /// Every table is finished or was given up.
    Finished,
    /// Somebody gave it up.
    Aborted,
}

/// A snapshot that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// When it was asked for, microseconds since 1970.
    pub requested_at_us: i64,
    /// Who asked for it.
    pub by: String,
    /// How it stands.
    pub stage: RunStage,
    /// Grows with everything that somebody asks of it, so that a checkpoint tells what it covers.
    pub revision: u64,
    /// Its tables, in the order in which they are read.
    pub tables: Vec<RunTable>,
}

/// One table of a snapshot that was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunTable {
    /// Its qualified name.
    pub name: String,
    /// Name of the condition that its rows must meet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Key of the last row that was handed out, in the connector's own form. It holds values of the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Rows that were read. Those that a change in the log made needless count too.
    #[serde(default)]
    pub rows_done: u64,
    /// Rows by the database's statistics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_estimated: Option<u64>,
    /// When its first rows were read, microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at_us: Option<i64>,
    /// Its last row was handed out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finished: bool,
    /// Why nothing more of it is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// An error as people read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its name.
    pub code: String,
    /// What, where, remedy.
    pub message: String,
}

/// A position of a log with the snapshot beside it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapped {
    log: Position,
    run: Run,
}

// === impl Failure ===

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self {
            code: error.code().to_owned(),
            message: error.report(),
        }
    }
}

// === impl RunTable ===

impl RunTable {
    /// Nothing more of it will be read.
    pub fn is_over(&self) -> bool {
        self.finished || self.error.is_some()
    }
}

// === impl Run ===

impl Run {
    /// The snapshot that a checkpoint speaks of; `None` where it speaks of none.
    ///
    /// # Errors
    /// `state_corrupt` where it cannot be read.
    pub fn from_progress(progress: Option<&Progress>) -> Result<Option<Self>> {
        let Some(progress) = progress else {
            return Ok(None);
        };
        if let Resume::Snapshot(snapshot) = Resume::from_progress(Some(progress))? {
            return Ok(snapshot.run);
        }
        Ok(unwrap(&progress.position)?.map(|wrapped| wrapped.run))
    }

    /// Rows of it may still be read.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, RunStage::Running | RunStage::Paused)
    }

    /// Index of the table that is read now.
    pub(super) fn current(&self) -> Option<usize> {
        self.tables.iter().position(|table| !table.is_over())
    }

    /// As it stands in a position, to be written once and used for many.
    pub(super) fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| {
            Error::definite("snapshot_position", "a snapshot's progress cannot be written as JSON").with_source(error)
        })
    }
}

/// A position of the log with what [`Run::to_json`] gave beside it.
pub(super) fn wrap(log: &Position, run: &str) -> Result<Position> {
    let log = serde_json::to_string(log).map_err(|error| {
        Error::definite("snapshot_position", "a position of the log cannot be written as JSON").with_source(error)
    })?;
    Ok(Position::new(format!("{PREFIX}{{\"log\":{log},\"run\":{run}}}")))
}

fn unwrap(position: &Position) -> Result<Option<Wrapped>> {
    let Some(json) = position.as_str().strip_prefix(PREFIX) else {
        return Ok(None);
    };
    serde_json::from_str(json).map(Some).map_err(|error| {
        let message = "the stored progress of a snapshot cannot be read; restore the state file from a backup";
        Error::definite("state_corrupt", message).with_source(error)
    })
}

/// The log's own position, and the revision of the snapshot that it was saved with.
pub(super) fn parts(position: &Position) -> Result<(Position, Option<u64>)> {
    Ok(match unwrap(position)? {
        None => (position.clone(), None),
        Some(wrapped) => (wrapped.log, Some(wrapped.run.revision)),
    })
}

/// The log's own position, whether a snapshot is under way or not.
///
/// # Errors
/// `state_corrupt` where it cannot be read.
pub fn log_position(position: &Position) -> Result<Position> {
    parts(position).map(|(log, _)| log)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        Run {
            id: RunId("1".to_owned()),
            requested_at_us: 7,
            by: "ada \"\n".to_owned(),
            stage: RunStage::Running,
            revision: 3,
            tables: vec![
                RunTable {
                    name: "s.a".to_owned(),
                    finished: true,
                    ..RunTable::default()
                },
                RunTable {
                    name: "s.b".to_owned(),
                    cursor: Some("[\"'x'\"]".to_owned()),
                    error: None,
                    ..RunTable::default()
                },
            ],
        }
    }

    #[test]
    fn what_was_wrapped_comes_back() {
        let log = Position::new("b.000001:4;note=\"quoted\"");
        let wrapped = wrap(&log, &run().to_json().unwrap()).unwrap();
        let progress = Progress::at(wrapped.clone());
        assert_eq!(Run::from_progress(Some(&progress)).unwrap(), Some(run()));
        assert_eq!(log_position(&wrapped).unwrap(), log);
        assert_eq!(parts(&wrapped).unwrap(), (log.clone(), Some(3)));
        assert_eq!(parts(&log).unwrap(), (log, None));
        assert_eq!(run().current(), Some(1));
    }

    #[test]
    fn what_cannot_be_read_is_corruption() {
        let progress = Progress::at(Position::new("incremental:{}"));
        assert_eq!(Run::from_progress(Some(&progress)).unwrap_err().code(), "state_corrupt");
        assert_eq!(Run::from_progress(None).unwrap(), None);
    }
}
