//! The HTTP endpoint: Kafka Connect's REST interface and what it does not have, health, metrics, the console, and the embedded registry of
//! schemas. It runs on a thread and a runtime of its own, so that load on it cannot starve replication, and so that it answers also when the
//! rest of the process hangs.
//!
//! ```text
//!   server (connections, TLS, bounds) ─▶ guard (host, origin, who, body) ─▶ operation (role) ─▶ a handler ─▶ Supervisor, state
//! ```
//!
//! Whoever reaches it can stop the capture of a database. So it listens where only this machine reaches it, unless it speaks TLS and asks who
//! is there (`config`); no answer holds a secret; and what destroys something takes two steps (`confirm`).

pub(crate) mod access;
mod answer;
mod asked;
pub(crate) mod client;
pub(crate) mod config;
mod confirm;
mod connect;
mod connector;
mod console;
mod guard;
mod journal;
mod letters;
mod operation;
pub(crate) mod reference;
mod registry;
mod routes;
mod server;
mod snapshots;
mod status;
mod tail;
pub(crate) mod tls;
mod turns;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tailrace_state::EmbeddedRegistry;

use self::access::Access;
use self::confirm::Confirmations;
use self::guard::Failures;
use self::turns::Turns;
use crate::supervisor::Supervisor;
use crate::traces::SpanCounts;
pub(crate) use server::{Admin, Listeners, listen};

/// A runtime that does not come around to a one-line task for so long makes no progress.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// Often enough to notice; costs nothing.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);

/// What the endpoint shows, and whom it asks.
#[derive(Clone)]
pub(crate) struct Shown {
    /// Every connector of the process.
    pub(crate) supervisor: Arc<Supervisor>,
    /// The main runtime's pulse.
    pub(crate) heartbeat: Arc<Heartbeat>,
    /// The start of the process.
    pub(crate) started: Instant,
    /// Schemas of what is published, where no other registry is named.
    pub(crate) registry: EmbeddedRegistry,
    /// Where the endpoint listens.
    pub(crate) address: SocketAddr,
    /// Further names of it; requests for other hosts are refused.
    pub(crate) hosts: Arc<[String]>,
    /// Who may ask.
    pub(crate) access: Arc<Access>,
    /// Where traces are sent.
    pub(crate) spans: Option<SpanCounts>,
    confirmations: Arc<Confirmations>,
    failures: Arc<Failures>,
    turns: Turns,
}

/// What is put together elsewhere.
pub(crate) struct Parts {
    pub(crate) supervisor: Arc<Supervisor>,
    pub(crate) heartbeat: Arc<Heartbeat>,
    pub(crate) registry: EmbeddedRegistry,
    pub(crate) address: SocketAddr,
    pub(crate) hosts: Vec<String>,
    pub(crate) access: Access,
    /// Where traces are sent.
    pub(crate) spans: Option<SpanCounts>,
}

// === impl Shown ===

impl Shown {
    /// From the start of the process on.
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            supervisor: parts.supervisor,
            heartbeat: parts.heartbeat,
            started: Instant::now(),
            registry: parts.registry,
            address: parts.address,
            hosts: parts.hosts.into(),
            access: Arc::new(parts.access),
            spans: parts.spans,
            confirmations: Arc::default(),
            failures: Arc::default(),
            turns: Turns::default(),
        }
    }
}

/// When the main runtime last ran a task: by the clock that nobody sets, and that stands while the machine is suspended.
#[derive(Debug)]
pub(crate) struct Heartbeat(Mutex<Instant>);

// === impl Heartbeat ===

impl Heartbeat {
    /// Has beaten just now.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Instant::now())))
    }

    /// Beats for ever; a task of the main runtime.
    pub(crate) async fn beat(self: Arc<Self>) {
        let mut tick = tokio::time::interval(BEAT_INTERVAL);
        loop {
            tick.tick().await;
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }

    /// True where the main runtime has not run a task for too long.
    pub(crate) fn is_stalled(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > STALLED_AFTER
    }

    #[cfg(test)]
    pub(crate) fn stopped_for(stopped: Duration) -> Arc<Self> {
        let beaten_at = Instant::now().checked_sub(stopped);
        Arc::new(Self(Mutex::new(beaten_at.unwrap())))
    }
}

#[cfg(test)]
mod tests;
