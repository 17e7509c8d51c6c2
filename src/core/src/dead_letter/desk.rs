//! Where a connector's pipeline and the people who look after its letters meet.
//!
//! Invariant: whoever decides by what waits, and writes down what follows from it, holds the desk in between. Otherwise a
//! letter could be dropped in the moment in which an event is made to wait behind it, and nothing would ever release that.

use std::sync::Arc;

use tokio::sync::{Mutex, Notify, OwnedMutexGuard, watch};

/// Shared by everybody who changes a connector's letters in this process.
#[derive(Debug)]
pub struct Desk {
    /// How often something was changed by others than the pipeline.
    version: Arc<Mutex<u64>>,
    asked: Notify,
    rounds: watch::Sender<u64>,
}

// === impl Desk ===

impl Default for Desk {
    fn default() -> Self {
        Self {
            version: Arc::default(),
            asked: Notify::new(),
            rounds: watch::Sender::new(0),
        }
    }
}

impl Desk {
    /// Holds the desk. What is held is counted up by whoever changes letters and is not the pipeline.
    pub async fn hold(&self) -> OwnedMutexGuard<u64> {
        Arc::clone(&self.version).lock_owned().await
    }

    /// Somebody asked for a replay: the pipeline looks.
    pub fn ask(&self) {
        self.asked.notify_one();
    }

    /// Resolves when somebody asked. Cancel-safe.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Everything that had been asked for was tried.
    pub fn round_ends(&self) {
        self.rounds.send_modify(|rounds| *rounds += 1);
    }

    /// Counts the rounds.
    pub fn rounds(&self) -> watch::Receiver<u64> {
        self.rounds.subscribe()
    }
}
