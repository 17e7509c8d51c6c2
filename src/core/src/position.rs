//! How far a source has been carried. The core never compares or orders positions (GTID sets are only partly
//! ordered): it numbers batches itself and hands positions back to the connector that made them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A place in a source's log or table between two transactions; its text is opaque outside its connector.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(Arc<str>);

/// Inside a transaction: which one, and how many of its changes are done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialTransaction {
    /// The connector's name for the transaction (for PostgreSQL its commit LSN), found again on replay.
    pub transaction: Position,
    /// How many changes of it are done, counted before any filter, from the transaction's first.
    pub changes: u64,
}

/// A position plus, inside a transaction, how many changes of it are done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Everything up to here is covered; the only part a server is ever told.
    pub position: Position,
    /// The transaction that follows `position` and is only partly covered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<PartialTransaction>,
}

/// Progress as it was persisted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Grows by one with each save of a connector; a lower one is refused.
    pub sequence: u64,
    /// How far the connector is.
    pub progress: Progress,
}

// === impl Position ===

impl Position {
    /// A position with the connector's own text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The connector's own text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

// === impl Progress ===

impl Progress {
    /// Progress between two transactions.
    pub fn at(position: Position) -> Self {
        Self {
            position,
            partial: None,
        }
    }
}
