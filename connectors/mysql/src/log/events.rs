//! The events of a dump, read ahead by a task of their own.

use std::collections::VecDeque;

use futures_util::FutureExt as _;
use tailrace_core::{Error, Result, task};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::dump::BinlogDump;
use super::dumps::Dumps;
use crate::decode::RawEvent;

/// Events are handed over in handfuls, so that a wake-up is paid for many of them.
const HANDFUL_EVENTS: usize = 256;
/// A handful ends with the event that brings it over so many bytes.
const HANDFUL_BYTES: usize = 256 * 1024;
/// Handfuls in the channel: some are decoded while others come in.
const HANDFULS: usize = 4;

/// Events in the order of the log.
pub(crate) struct Events {
    handfuls: mpsc::Receiver<Result<VecDeque<RawEvent>>>,
    current: VecDeque<RawEvent>,
    task: JoinHandle<()>,
}

// === impl Events ===

impl Events {
    /// Begins to read.
    pub(crate) fn of(dump: BinlogDump, dumps: Dumps) -> Self {
        let (sender, handfuls) = mpsc::channel(HANDFULS);
        let task = task::spawn_named("mysql binlog", read(dump, dumps, sender));
        Self {
            handfuls,
            current: VecDeque::new(),
            task,
        }
    }

    /// An event that is there already.
    pub(crate) fn next_now(&mut self) -> Result<Option<RawEvent>> {
        if self.current.is_empty()
            && let Ok(handful) = self.handfuls.try_recv()
        {
            self.current = handful?;
        }
        Ok(self.current.pop_front())
    }

    /// Waits until an event is there. Cancel-safe.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        if self.current.is_empty() {
            let ended = || Error::transient("source_connection_lost", "the dump of the binary log ended early");
            self.current = self.handfuls.recv().await.unwrap_or_else(|| Err(ended()))?;
        }
        Ok(())
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(mut dump: BinlogDump, dumps: Dumps, sender: mpsc::Sender<Result<VecDeque<RawEvent>>>) {
    loop {
        let (handful, end) = handful(&mut dump, &dumps).await;
        if !handful.is_empty() && sender.send(Ok(handful)).await.is_err() {
            return;
        }
        if let Some(error) = end {
            // Nobody to tell it to means that the log was given up.
            drop(sender.send(Err(error)).await);
            return;
        }
    }
}

/// The next event, and those that are there already.
async fn handful(dump: &mut BinlogDump, dumps: &Dumps) -> (VecDeque<RawEvent>, Option<Error>) {
    let mut events = VecDeque::new();
    let mut bytes = 0;
    let mut next = Some(dump.next().await);
    while let Some(event) = next {
        match event {
            Ok(event) => {
                bytes += event.body.len();
                events.push_back(event);
            }
            Err(error) => return (events, Some(dumps.error(&error, dump.replica(), "read the binary log"))),
        }
        let full = events.len() >= HANDFUL_EVENTS || bytes >= HANDFUL_BYTES;
        next = if full { None } else { dump.next().now_or_never() };
    }
    (events, None)
}
