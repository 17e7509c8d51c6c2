//! The thread that polls librdkafka for one consumer, and its end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tailrace_core::{Error, Result};

/// How soon the thread sees that it shall end, or that something else is to be done than to read.
pub(crate) const POLL_WAIT: Duration = Duration::from_millis(100);

/// A consumer leaves its group within this time, or its thread is left to end by itself.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);

/// What the system refuses to start.
const NO_THREAD: &str = "the thread that reads from Kafka could not be started on this machine; raise the limits of threads and memory of \
                         the process (ulimit -u, TasksMax, pids.max); it is tried again";

/// A thread that reads until it is told to stop.
#[derive(Debug)]
pub(crate) struct ReaderThread {
    stopping: Arc<AtomicBool>,
    ended: Mutex<channel::Receiver<()>>,
}

// === impl ReaderThread ===

impl ReaderThread {
    /// Starts the thread. `read` is to return soon after the flag is set; what it owns is dropped on the thread.
    pub(crate) fn start(stopping: Arc<AtomicBool>, read: impl FnOnce(&AtomicBool) + Send + 'static) -> Result<Self> {
        let (running, ended) = channel::channel::<()>();
        let flag = Arc::clone(&stopping);
        let body = move || {
            let _running = running; // Dropped last: whoever waits for the end sees it.
            read(&flag);
        };
        let spawned = std::thread::Builder::new()
            .name("kafka consumer".to_owned())
            .spawn(body);
        drop(spawned.map_err(|error| Error::transient("kafka_error", NO_THREAD).with_source(error))?);
        let ended = Mutex::new(ended);
        Ok(Self { stopping, ended })
    }

    /// Tells the thread to stop, and waits for it a little.
    pub(crate) fn stop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Err(channel::RecvTimeoutError::Timeout) = ended.recv_timeout(DROP_TIMEOUT) {
            tracing::warn!("the Kafka consumer has not closed within {DROP_TIMEOUT:?}; it is left to close by itself");
        }
    }
}
