//! The event log of the process: what changed when, and who asked. Written beside everything else: a state that cannot be written costs
//! entries and a warning, never a change of a database.

use std::sync::Arc;

use tailrace_core::telemetry::{Life, Telemetry, Transition, now_us};
use tailrace_state::{NewEntry, StateStore};
use tokio::sync::mpsc;

/// Who is named for what nobody asked for.
const OURSELVES: &str = "tailrace";

/// Where things are told that are to be written down.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    entries: mpsc::UnboundedSender<NewEntry>,
    transitions: mpsc::UnboundedSender<Transition>,
}

/// The other end.
pub(crate) struct JournalWriter {
    state: StateStore,
    entries: mpsc::UnboundedReceiver<NewEntry>,
    transitions: mpsc::UnboundedReceiver<Transition>,
}

// === impl Journal ===

impl Journal {
    /// A journal, and who writes it: a task of the daemon.
    pub(crate) fn new(state: StateStore) -> (Self, JournalWriter) {
        let (entries, inbox) = mpsc::unbounded_channel();
        let (transitions, told) = mpsc::unbounded_channel();
        let writer = JournalWriter {
            state,
            entries: inbox,
            transitions: told,
        };
        (Self { entries, transitions }, writer)
    }

    /// Somebody did something. In the log at once, in the state soon.
    pub(crate) fn write(&self, connector: Option<&str>, who: &str, what: &'static str, detail: &str) {
        tracing::info!(connector, who, what, "{detail}");
        let entry = NewEntry {
            at_us: now_us(),
            connector: connector.map(str::to_owned),
            who: who.to_owned(),
            what,
            detail: detail.to_owned(),
        };
        // Where nobody writes any more, the process ends, and the log has it.
        drop(self.entries.send(entry));
    }

    /// Every change of a connector's state, which the log has already.
    pub(crate) fn follow(&self, telemetry: &Arc<Telemetry>) {
        telemetry.follow(self.transitions.clone());
    }
}

// === impl JournalWriter ===

impl JournalWriter {
    /// Writes until nobody tells anything any more.
    pub(crate) async fn run(mut self) {
        let mut failed = false;
        loop {
            let entry = tokio::select! {
                Some(entry) = self.entries.recv() => entry,
                Some(transition) = self.transitions.recv() => of_transition(transition),
                else => return,
            };
            match self.state.write_down(&entry).await {
                Ok(()) => failed = false,
                Err(error) if failed => tracing::debug!(code = error.code(), "an entry of the journal is lost"),
                Err(error) => {
                    failed = true;
                    tracing::warn!(
                        code = error.code(),
                        "entries of the journal are lost: {}",
                        error.report()
                    );
                }
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
