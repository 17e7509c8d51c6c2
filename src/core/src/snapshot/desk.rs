//! Where people ask for snapshots of a connector that runs, and see how far they are.
//!
//! ```text
//!   HTTP ── request, pause, resume, abort ──▶ SnapshotDesk ◀── takes, answers, shows ── the source that runs now
//! ```
//!
//! The desk outlives each attempt of the connector. Invariant: whoever asks is answered with `Ok` only when a checkpoint says
//! what was asked for, so that no crash can lose it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::{Notify, oneshot};

use super::run::{Failure, Run, RunId, RunStage, RunTable};
use crate::error::{Error, Result};

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// Names or patterns of captured tables. Empty for those of `conditions`, or for all where there are none either.
    pub tables: Vec<String>,
    /// Names of conditions of the configuration: of their tables only the rows are read that meet them.
    pub conditions: Vec<String>,
    /// Who asks.
    pub by: String,
}

/// Something that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    Request(SnapshotRequest),
    Pause,
    Resume,
    Abort,
}

/// A wish, and who waits for its answer.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) wish: Wish,
    pub(super) answer: oneshot::Sender<Result<RunId>>,
}

/// How far a snapshot is, as people see it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SnapshotState {
    /// How it stands.
    pub state: RunStage,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// When it was asked for, microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_at_us: Option<i64>,
    /// Who asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What holds it up for the moment; it goes on by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Failure>,
    /// Its tables, in the order in which they are read.
    pub tables: Vec<TableState>,
}

/// How far one table of a snapshot is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableState {
    /// Qualified name.
    pub table: String,
    /// Name of the condition that rows must meet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Rows that were read.
    pub rows_done: u64,
    /// Rows by the database's statistics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_estimated: Option<u64>,
    /// When its first rows were read, microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at_us: Option<i64>,
    /// Its last row was handed out.
    pub finished: bool,
    /// Why nothing more of it is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// Shared by everybody who asks and by the source that answers; one for each connector.
#[derive(Debug, Default)]
pub struct SnapshotDesk {
    inner: Mutex<Inner>,
    asked: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// Why nothing can be asked for.
    refusal: Option<(&'static str, String)>,
    inbox: VecDeque<Command>,
    state: SnapshotState,
}

// === impl SnapshotState ===

impl SnapshotState {
    fn of(run: &Run, waiting: Option<Failure>) -> Self {
        Self {
            state: run.stage,
            run: Some(run.id.clone()),
            requested_at_us: Some(run.requested_at_us),
            by: Some(run.by.clone()),
            waiting,
            tables: run.tables.iter().map(TableState::of).collect(),
        }
    }
}

// === impl TableState ===

impl TableState {
    fn of(table: &RunTable) -> Self {
        Self {
            table: table.name.clone(),
            condition: table.condition.clone(),
            rows_done: table.rows_done,
            rows_estimated: table.rows_estimated,
            started_at_us: table.started_at_us,
            finished: table.finished,
            error: table.error.clone(),
        }
    }
}

// === impl SnapshotDesk: who asks ===

impl SnapshotDesk {
    /// Asks for a snapshot, or for more tables in the one that is under way. Resolves when a checkpoint says so; waits while the
    /// connector does not run. A call that is given up may or may not have been heard: [`Self::state`] tells.
    ///
    /// # Errors
    /// Definite, with what to do instead, where the connector cannot do what is asked.
    pub async fn request(&self, request: SnapshotRequest) -> Result<RunId> {
        self.ask(Wish::Request(request)).await
    }

    /// Reads no more rows until [`Self::resume`]; the log goes on.
    ///
    /// # Errors
    /// `snapshot_none` where none is under way.
    pub async fn pause(&self) -> Result<RunId> {
        self.ask(Wish::Pause).await
    }

    /// Goes on with a snapshot that was paused.
    ///
    /// # Errors
    /// `snapshot_none` where none is under way.
    pub async fn resume(&self) -> Result<RunId> {
        self.ask(Wish::Resume).await
    }

    /// Gives the snapshot up that is under way. What was carried of it stays.
    ///
    /// # Errors
    /// `snapshot_none` where none is under way.
    pub async fn abort(&self) -> Result<RunId> {
        self.ask(Wish::Abort).await
    }

    /// How far the snapshot is that is under way, or how the last one of this process ended.
    pub fn state(&self) -> SnapshotState {
        self.lock().state.clone()
    }

    /// The checkpoint that spoke of the snapshot is given up, and the snapshot with it.
    pub fn forget(&self) {
        self.lock().state = SnapshotState::default();
    }

    async fn ask(&self, wish: Wish) -> Result<RunId> {
        let (answer, answered) = oneshot::channel();
        {
            let mut inner = self.lock();
            if let Some((code, message)) = &inner.refusal {
                return Err(Error::definite(code, message.clone()));
            }
            // A connector that does not run takes nothing out: what nobody waits for any more must not gather.
            inner.inbox.retain(|command| !command.answer.is_closed());
            inner.inbox.push_back(Command { wish, answer });
        }
        self.asked.notify_one();
        answered.await.unwrap_or_else(|_| {
            let message = "the connector was opened anew before a checkpoint said so; whether it was heard is in the state of the \
                 snapshots: look there, and ask again where it is not";
            Err(Error::transient("snapshot_unanswered", message))
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while the lock was held leaves what is whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl SnapshotDesk: who answers ===

impl SnapshotDesk {
    /// From now on nothing can be asked for; who has asked already is told.
    pub fn refuse(&self, code: &'static str, message: impl Into<String>) {
        let message = message.into();
        let mut inner = self.lock();
        for command in inner.inbox.drain(..) {
            // Who does not wait any more need not be told.
            drop(command.answer.send(Err(Error::definite(code, message.clone()))));
        }
        inner.refusal = Some((code, message));
    }

    /// The source reads no log that rows could come between.
    pub fn refuse_without_log(&self) {
        self.refuse(
            "snapshot_unsupported",
            "this connector reads no log, so rows cannot be put between its changes; its own polling reads every row again with \
             `query: { mode: bulk }`, or after `tailrace forget` of the connector",
        );
    }

    /// From now on what is asked for is heard.
    pub(super) fn serve(&self) {
        self.lock().refusal = None;
        self.asked.notify_one();
    }

    /// The next wish of somebody who still waits for its answer. Cancel-safe: what is taken is given.
    pub(super) async fn next(&self) -> Command {
        loop {
            {
                let mut inner = self.lock();
                while let Some(command) = inner.inbox.pop_front() {
                    if !command.answer.is_closed() {
                        return command;
                    }
                }
            }
            self.asked.notified().await;
        }
    }

    pub(super) fn show(&self, run: &Run, waiting: Option<Failure>) {
        self.lock().state = SnapshotState::of(run, waiting);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_does_not_gather() {
        let desk = SnapshotDesk::default();
        for _ in 0..100 {
            // The connector is halted, and whoever asked goes away.
            assert!(desk.pause().now_or_never().is_none());
        }
        let mut waiting = std::pin::pin!(desk.abort());
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(desk.lock().inbox.len(), 1);
        assert_eq!(desk.next().await.wish, Wish::Abort);
    }
}
