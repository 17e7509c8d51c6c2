//! What a preflight finds: every problem at once, each with the statement or setting that fixes it.

use serde::Serialize;

/// Somebody reads by the replication slot of a connector; where the connector runs, that is itself.
pub const SLOT_ACTIVE: &str = "slot_active";

/// Another process writes to a stream that one alone may write to; where a daemon of this configuration runs, that is the daemon.
pub const STREAM_LOCKED: &str = "stream_locked";

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing: what this way of capturing cannot see.
    Note,
    /// It will run, and the reader should know the risk.
    Warning,
    /// It will not run.
    Blocks,
}

/// One finding of a preflight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Stable name in snake case, the same as the error's that it prevents.
    pub code: &'static str,
    /// One sentence: what, where.
    pub problem: String,
    /// The statement or setting that fixes it, ready to copy; empty where there is none.
    pub remedy: String,
}

impl Finding {
    /// It will not run.
    pub fn blocks(code: &'static str, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            severity: Severity::Blocks,
            code,
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    /// It will run, and the reader should know the risk.
    pub fn warning(code: &'static str, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::blocks(code, problem, remedy)
        }
    }

    /// Worth knowing.
    pub fn note(code: &'static str, problem: impl Into<String>) -> Self {
        Self {
            severity: Severity::Note,
            ..Self::blocks(code, problem, "")
        }
    }
}

impl From<&crate::Error> for Finding {
    fn from(error: &crate::Error) -> Self {
        Self::blocks(error.code(), error.report(), "")
    }
}
