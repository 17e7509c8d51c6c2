//! The event log of the process: what changed when, and who asked. Written beside everything else: a state that cannot be written costs
//! entries and a warning, never a change of a database.
//!
//! Everything comes through one channel, so that what somebody asked for stands before what came of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tailrace_core::task::spawn_named;
use tailrace_core::telemetry::{Follower, Life, Telemetry, Transition, now_us};
use tailrace_state::{NewEntry, StateStore};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Who is named for what nobody asked for.
const OURSELVES: &str = "tailrace";
/// How long the end of the process waits for the last entries: each is a write to a local file.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Where things are told that are to be written down.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    told: mpsc::UnboundedSender<Told>,
}

/// What is told.
#[derive(Debug)]
enum Told {
    /// Somebody did something, and may wait until that is written.
    Entry(NewEntry, Option<oneshot::Sender<()>>),
    /// A connector is in another state.
    Transition(Transition),
    /// Nothing more comes.
    End,
}

/// The other end.
pub(crate) struct JournalWriter {
    state: StateStore,
    told: mpsc::UnboundedReceiver<Told>,
    troubles: Troubles,
    /// Entries are lost, which was said.
    has_failed: bool,
}

/// Why connectors try again and again, by their names.
#[derive(Debug, Default)]
struct Troubles(HashMap<String, String>);

// === impl Journal ===

impl Journal {
    /// A journal, and who writes it.
    pub(crate) fn new(state: StateStore) -> (Self, JournalWriter) {
        let (sender, told) = mpsc::unbounded_channel();
        let writer = JournalWriter {
            state,
            told,
            troubles: Troubles::default(),
            has_failed: false,
        };
        (Self { told: sender }, writer)
    }

    /// Somebody did something. In the log at once, in the state soon.
    pub(crate) fn write(&self, connector: Option<&str>, who: &str, what: &'static str, detail: &str) {
        self.tell(connector, (who, what, detail), None);
    }

    /// As [`Self::write`], for what destroys something: in the state on return, or in the log that it could not be written there.
    pub(crate) async fn write_now(&self, connector: Option<&str>, who: &str, what: &'static str, detail: &str) {
        let (sender, written) = oneshot::channel();
        self.tell(connector, (who, what, detail), Some(sender));
        // Where nobody writes any more, the process ends, and the log has it.
        drop(written.await);
    }

    fn tell(
        &self,
        connector: Option<&str>,
        (who, what, detail): (&str, &'static str, &str),
        written: Option<oneshot::Sender<()>>,
    ) {
        tracing::info!(connector, who, what, "{detail}");
        let entry = NewEntry {
            at_us: now_us(),
            connector: connector.map(str::to_owned),
            who: who.to_owned(),
            what,
            detail: detail.to_owned(),
        };
        // Where nobody writes any more, the process ends, and the log has it.
        drop(self.told.send(Told::Entry(entry, written)));
    }

    /// Every change of a connector's state, which the log has already.
    pub(crate) fn follow(&self, telemetry: &Arc<Telemetry>) {
        telemetry.follow(self.clone());
    }

    /// Waits a little until everything that was told is written; nothing is written after that.
    pub(crate) async fn close(&self, mut writer: JoinHandle<()>) {
        // Where nobody writes any more, there is nothing to wait for.
        drop(self.told.send(Told::End));
        if tokio::time::timeout(CLOSE_TIMEOUT, &mut writer).await.is_err() {
            tracing::warn!("the last entries of the journal could not be written in time");
            writer.abort();
        }
    }
}

impl Follower for Journal {
    fn tell(&self, transition: Transition) -> bool {
        self.told.send(Told::Transition(transition)).is_ok()
    }
}

// === impl JournalWriter ===

impl JournalWriter {
    /// Begins to write, on a task of its own.
    pub(crate) fn start(self) -> JoinHandle<()> {
        spawn_named("journal", self.run())
    }

    /// Writes until nothing more comes.
    async fn run(mut self) {
        while let Some(told) = self.told.recv().await {
            match told {
                Told::Entry(entry, written) => {
                    self.write_down(&entry).await;
                    if let Some(written) = written {
                        let _may_not_wait_any_more = written.send(());
                    }
                }
                Told::Transition(transition) if self.troubles.is_news(&transition) => {
                    self.write_down(&of_transition(transition)).await;
                }
                Told::Transition(_) => {}
                Told::End => return,
            }
        }
    }

    async fn write_down(&mut self, entry: &NewEntry) {
        match self.state.write_down(entry).await {
            Ok(()) => self.has_failed = false,
            Err(error) if self.has_failed => {
                tracing::debug!(code = error.code(), "an entry of the journal is lost");
            }
            Err(error) => {
                self.has_failed = true;
                tracing::warn!(
                    code = error.code(),
                    "entries of the journal are lost: {}",
                    error.report()
                );
            }
        }
    }
}

// === impl Troubles ===

impl Troubles {
    /// False for one more attempt that ends like the one before: an outage of a day is two entries.
    fn is_news(&mut self, transition: &Transition) -> bool {
        let known = self.0.get(&transition.connector);
        match &transition.life {
            Life::Starting => known.is_none(),
            Life::Degraded(code) if known == Some(code) => false,
            Life::Degraded(code) => {
                self.0.insert(transition.connector.clone(), code.clone());
                true
            }
            Life::Snapshotting | Life::Streaming | Life::Paused | Life::Halted(_) | Life::Stopped => {
                self.0.remove(&transition.connector);
                true
            }
        }
    }
}

fn of_transition(transition: Transition) -> NewEntry {
    let state = match &transition.life {
        Life::Halted(code) | Life::Degraded(code) => format!("{}:{code}", transition.life.name()),
        life => life.name().to_owned(),
    };
    NewEntry {
        at_us: transition.at_us,
        connector: Some(transition.connector),
        who: OURSELVES.to_owned(),
        what: "state",
        detail: match transition.reason.is_empty() {
            true => state,
            false => format!("{state}: {}", transition.reason),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn journal() -> (tempfile::TempDir, StateStore, Journal, JoinHandle<()>) {
        let folder = tempfile::tempdir().unwrap();
        let state = StateStore::open(&folder.path().join("state.db")).await.unwrap();
        let (journal, writer) = Journal::new(state.clone());
        (folder, state, journal, writer.start())
    }

    async fn details(state: &StateStore) -> Vec<String> {
        let entries = state.journal((0, i64::MAX), None, 1000).await.unwrap();
        entries.into_iter().map(|entry| entry.detail).collect()
    }

    #[tokio::test]
    async fn what_destroys_something_is_written_before_it_is_answered() {
        let (_folder, state, journal, _writer) = journal().await;
        journal.write(Some("orders"), "alice", "stopped", "first");
        journal.write_now(Some("orders"), "alice", "offsets", "second").await;
        assert_eq!(details(&state).await, ["first", "second"]);
    }

    #[tokio::test]
    async fn what_was_told_before_the_end_is_written_in_its_order() {
        let (_folder, state, journal, writer) = journal().await;
        let telemetry = Arc::new(Telemetry::new("orders"));
        journal.follow(&telemetry);
        let mut expected = Vec::new();
        for number in 0..50 {
            let asked = format!("asked {number}");
            journal.write(None, "alice", "restarted", &asked);
            telemetry.enter(Life::Stopped, format!("{number}"));
            telemetry.enter(Life::Starting, format!("{number}"));
            expected.extend([asked, format!("stopped: {number}"), format!("starting: {number}")]);
        }
        // Somebody has a clone of it still: the connectors' telemetry, the HTTP endpoint.
        journal.close(writer).await;
        assert_eq!(details(&state).await, expected);
        // The endpoint may not have ended yet, and must not hang.
        journal.write_now(None, "alice", "offsets", "too late").await;
    }

    #[tokio::test]
    async fn attempts_that_end_alike_are_one_entry() {
        let (_folder, state, journal, writer) = journal().await;
        let telemetry = Arc::new(Telemetry::new("orders"));
        journal.follow(&telemetry);
        telemetry.enter(Life::Streaming, "");
        for _ in 0..100 {
            telemetry.enter(Life::Degraded("source_unreachable".to_owned()), "");
            telemetry.enter(Life::Starting, "");
        }
        telemetry.enter(Life::Degraded("stream_unreachable".to_owned()), "");
        telemetry.enter(Life::Starting, "");
        telemetry.enter(Life::Streaming, "");
        telemetry.enter(Life::Degraded("stream_unreachable".to_owned()), "");
        journal.close(writer).await;
        let expected = [
            "streaming",
            "degraded:source_unreachable",
            "degraded:stream_unreachable",
            "streaming",
            "degraded:stream_unreachable",
        ];
        assert_eq!(details(&state).await, expected);
    }
}
