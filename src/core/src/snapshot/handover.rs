//! Composes a database's tables and its log into one [`Source`]: the rows that existed before the log began, then the log.
//!
//! ```text
//!   Scanning ──last chunk──▶ Barrier ──confirm: every row durable and checkpointed──▶ Streaming
//!      ▲ resume, not complete                                                          ▲ resume, complete, or a log position
//! ```
//!
//! Invariants:
//! - While tables are scanned, progress is a [`SnapshotPosition`]: which tables are finished, and under which consistent
//!   point each was read. It only names a table as finished in a batch that comes with or after its last row.
//! - The log is not begun, and so the server is told nothing, before the last row is durable *and* checkpointed:
//!   `confirm` of the complete snapshot position is the only way from `Barrier` to `Streaming`.
//! - `read_at` says from where on the changes of each table are carried: what comes before is contained in its rows. A
//!   connector that resumes decides that for the tables that are left.
//!
//! Why not finer than a table: a table that is read partly under one snapshot and partly under a later one can miss a row that
//! moved between the parts, and its large unchanged values are nowhere in the log.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::batch::ChangeBatch;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::ports::{Budget, ChunkReader, LogReader, Source};
use crate::position::{Position, Progress};

use super::incremental::{Incremental, Windows};
use super::run::{self, Run};

/// Progress of a snapshot, as it stands in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotPosition {
    /// Where the log is read from when the snapshot is done.
    pub log_start: Position,
    /// Tables whose every row was handed out, each with the consistent point it was read under.
    pub read_at: BTreeMap<String, Position>,
    /// Every table is finished.
    pub complete: bool,
    /// A snapshot that was asked for, which goes on when this one is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
}

/// What a connector that is opened should do first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resume {
    /// The very first start.
    Bootstrap,
    /// A snapshot was begun; `complete` says whether only the barrier is left.
    Snapshot(SnapshotPosition),
    /// The log, at this progress.
    Log(Progress),
}

/// Rows first, log after.
pub struct Handover<C, L> {
    phase: Phase<C>,
    log: L,
    incremental: Incremental,
    identity: std::sync::Arc<str>,
    stop_after_snapshot: bool,
}

enum Phase<C> {
    Scanning {
        chunks: C,
        read_under: Position,
        so_far: SnapshotPosition,
    },
    Barrier {
        complete: SnapshotPosition,
        position: Position,
        announced: bool,
    },
    Streaming,
}

// === impl SnapshotPosition ===

/// Snapshot positions are told from log positions by this prefix; no log position begins with it.
const PREFIX: &str = "snapshot:";

/// Why nothing can be asked for.
const FIRST_SNAPSHOT: (&str, &str) = (
    "snapshot_busy",
    "the rows that existed before the log are still being read, and the log is not; ask again when the connector is streaming",
);
const ROWS_ALONE: (&str, &str) = (
    "snapshot_unsupported",
    "with `snapshot: { mode: only }` no log is read that rows could come between; start the connector again after `tailrace forget`",
);

impl SnapshotPosition {
    /// No table is finished yet.
    pub fn starting_at(log_start: Position) -> Self {
        Self {
            log_start,
            read_at: BTreeMap::new(),
            complete: false,
            run: None,
        }
    }

    fn to_position(&self) -> Result<Position> {
        let json = serde_json::to_string(self).map_err(|error| {
            Error::definite("snapshot_position", "a snapshot's progress cannot be written as JSON").with_source(error)
        })?;
        Ok(Position::new(format!("{PREFIX}{json}")))
    }
}

impl Resume {
    /// Reads what a checkpoint says. A snapshot position that cannot be read is corruption, never a first start.
    pub fn from_progress(progress: Option<&Progress>) -> Result<Self> {
        let Some(progress) = progress else {
            return Ok(Self::Bootstrap);
        };
        let Some(json) = progress.position.as_str().strip_prefix(PREFIX) else {
            return Ok(Self::Log(Progress {
                position: run::log_position(&progress.position)?,
                partial: progress.partial.clone(),
            }));
        };
        serde_json::from_str(json).map(Self::Snapshot).map_err(|error| {
            let message = "the stored progress of the snapshot cannot be read; restore the state file from a backup";
            Error::definite("state_corrupt", message).with_source(error)
        })
    }
}

// === impl Handover ===

impl<C: ChunkReader, L: LogReader> Handover<C, L> {
    /// Starts with rows: `so_far` says which tables are finished already, `read_under` the consistent point of the others.
    pub fn scanning(
        identity: std::sync::Arc<str>,
        chunks: C,
        read_under: Position,
        mut so_far: SnapshotPosition,
        (log, windows): (L, Windows),
    ) -> Self {
        let incremental = Incremental::new(std::sync::Arc::clone(&identity), windows);
        incremental.wait_for_log(FIRST_SNAPSHOT);
        so_far.run = incremental.run().cloned();
        let phase = Phase::Scanning {
            chunks,
            read_under,
            so_far,
        };
        Self {
            phase,
            log,
            incremental,
            identity,
            stop_after_snapshot: false,
        }
    }

    /// A log that was begun already, at this progress.
    ///
    /// # Errors
    /// Where the progress of a snapshot that goes on cannot be written.
    pub fn streaming(identity: std::sync::Arc<str>, log: L, progress: Progress, windows: Windows) -> Result<Self> {
        let mut incremental = Incremental::new(std::sync::Arc::clone(&identity), windows);
        incremental.begin(progress)?;
        Ok(Self {
            phase: Phase::Streaming,
            log,
            incremental,
            identity,
            stop_after_snapshot: false,
        })
    }

    /// Ends with the definite error `snapshot_finished` instead of reading the log (snapshot mode `only`).
    #[must_use]
    pub fn stopping_after_snapshot(mut self) -> Self {
        self.stop_after_snapshot = true;
        self.incremental.wait_for_log(ROWS_ALONE);
        self
    }

    async fn next_rows(&mut self, budget: Budget) -> Result<Option<ChangeBatch>> {
        let Phase::Scanning {
            chunks,
            read_under,
            so_far,
        } = &mut self.phase
        else {
            return Ok(None);
        };
        let Some(chunk) = chunks.next_chunk(budget).await? else {
            let mut complete = so_far.clone();
            complete.complete = true;
            let position = complete.to_position()?;
            self.phase = Phase::Barrier {
                complete,
                position,
                announced: false,
            };
            failpoint!(try SnapshotComplete);
            return Ok(None);
        };
        failpoint!(try SnapshotRows);
        if !chunk.finished_tables.is_empty() {
            failpoint!(try SnapshotTableFinished);
        }
        for table in chunk.finished_tables {
            so_far.read_at.insert(table, read_under.clone());
        }
        let mut batch = chunk.batch;
        batch.progress = Progress::at(so_far.to_position()?);
        Ok(Some(batch))
    }
}

#[async_trait]
impl<C: ChunkReader, L: LogReader> Source for Handover<C, L> {
    async fn next_batch(&mut self, budget: Budget) -> Result<ChangeBatch> {
        if let Some(rows) = self.next_rows(budget).await? {
            return Ok(rows);
        }
        match &mut self.phase {
            Phase::Barrier {
                announced, position, ..
            } if !*announced => {
                *announced = true;
                let progress = Progress::at(position.clone());
                Ok(ChangeBatch::new(std::sync::Arc::clone(&self.identity), progress))
            }
            // Until `confirm` opens the barrier there is nothing to say.
            Phase::Barrier { .. } | Phase::Scanning { .. } => std::future::pending().await,
            Phase::Streaming => self.incremental.next_batch(&mut self.log, budget).await,
        }
    }

    async fn confirm(&mut self, durable: &Position) -> Result<()> {
        match &self.phase {
            Phase::Scanning { .. } => Ok(()),
            Phase::Barrier { position, .. } if position != durable => Ok(()),
            Phase::Barrier { complete, .. } => {
                if self.stop_after_snapshot {
                    return Err(snapshot_finished());
                }
                failpoint!(try BetweenMarkerAndPromote);
                self.log.begin(&complete.log_start, &complete.read_at).await?;
                failpoint!(try AfterPromote);
                self.incremental.begin(Progress::at(complete.log_start.clone()))?;
                self.phase = Phase::Streaming;
                Ok(())
            }
            Phase::Streaming => {
                let durable = self.incremental.confirmed(durable)?;
                self.log.confirm(&durable).await
            }
        }
    }
}

/// The code that says that a snapshot of mode `only` has ended: the supervisor stops the connector, as asked.
pub const SNAPSHOT_FINISHED: &str = "snapshot_finished";

/// Every row was carried and nothing else was asked for.
pub fn snapshot_finished() -> Error {
    Error::definite(
        SNAPSHOT_FINISHED,
        "the snapshot is complete and durable; mode `only` ends here",
    )
}
