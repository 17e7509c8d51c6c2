//! Looks from time to time at where the log ends, on a connection of its own: how much of it is not confirmed.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mysql_async::Conn;
use tailrace_core::telemetry::Telemetry;
use tailrace_core::{Error, Result};
use tokio::time::Instant;

use crate::config::MySqlConfig;
use crate::connect::{self, Purpose};
use crate::position::FileOffset;
use crate::server::{self, LogFile};

/// As often as PostgreSQL's slots are looked at; two queries of what the server has in memory.
const INTERVAL: Duration = Duration::from_secs(10);

/// Where everything before is durable and checkpointed.
#[derive(Clone)]
pub(super) struct Confirmed(Arc<Mutex<FileOffset>>);

/// The look.
pub(super) struct Watch {
    config: Arc<MySqlConfig>,
    confirmed: Confirmed,
    telemetry: Arc<Telemetry>,
    connection: Option<Conn>,
}

// === impl Confirmed ===

impl Confirmed {
    pub(super) fn at(place: FileOffset) -> Self {
        Self(Arc::new(Mutex::new(place)))
    }

    pub(super) fn move_to(&self, place: FileOffset) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }

    fn place(&self) -> FileOffset {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

// === impl Watch ===

impl Watch {
    pub(super) fn new(config: Arc<MySqlConfig>, confirmed: Confirmed, telemetry: Arc<Telemetry>) -> Self {
        Self {
            config,
            confirmed,
            telemetry,
            connection: None,
        }
    }

    /// Looks until it is given up. The first look has time: that the log could be begun to be read says enough.
    pub(super) async fn run(mut self) {
        let mut tick = tokio::time::interval_at(Instant::now() + INTERVAL, INTERVAL);
        loop {
            tick.tick().await;
            let looked = self.look().await;
            let lag_bytes = looked.as_ref().ok().copied().flatten();
            let lag_bytes = lag_bytes.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(-1);
            self.telemetry.numbers.lag_bytes.store(lag_bytes, Ordering::Relaxed);
            if looked.is_err() {
                self.connection = None;
            }
            let notice = looked.err().map(|error: Error| error.report());
            self.telemetry.set_notice("source_unwatched", notice);
        }
    }

    /// Bytes of the log that are not confirmed; `None` where our user may not see its end, or it is another log.
    async fn look(&mut self) -> Result<Option<u64>> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let connection = connect::connect(&self.config, Purpose::Catalog).await?;
                self.connection.insert(connection)
            }
        };
        let identity = server::identify(connection).await?;
        let status = server::log_status(connection, &identity).await?;
        let Some(end) = status.as_ref().and_then(server::log_end) else {
            return Ok(None);
        };
        let confirmed = self.confirmed.place();
        let files = if confirmed.file == end.file {
            Vec::new()
        } else {
            server::log_files(connection).await?
        };
        Ok(between(&confirmed, &end, &files))
    }
}

/// Bytes from a place to the end of the log; nothing where it is behind the end, which was looked at before.
fn between(place: &FileOffset, end: &FileOffset, files: &[LogFile]) -> Option<u64> {
    if place.file == end.file {
        return Some(end.offset.saturating_sub(place.offset));
    }
    let mut rest = files.iter().skip_while(|file| file.name != place.file);
    let first = rest.next()?;
    let between = rest.take_while(|file| file.name != end.file);
    let between_bytes: u64 = between.map(|file| file.size_bytes).sum();
    Some(first.size_bytes.saturating_sub(place.offset) + between_bytes + end.offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::testing::file;

    #[test]
    fn what_is_not_confirmed_is_counted_over_files() {
        let files = [
            file("log.1", 1000),
            file("log.2", 500),
            file("log.3", 700),
            file("log.4", 90),
        ];
        let bytes = |place: (&str, u64), end: (&str, u64)| {
            between(
                &FileOffset::new(place.0, place.1),
                &FileOffset::new(end.0, end.1),
                &files,
            )
        };
        assert_eq!(bytes(("log.4", 40), ("log.4", 90)), Some(50));
        assert_eq!(bytes(("log.4", 95), ("log.4", 90)), Some(0));
        assert_eq!(bytes(("log.2", 100), ("log.4", 90)), Some(400 + 700 + 90));
        assert_eq!(bytes(("gone.1", 100), ("log.4", 90)), None, "another log");
    }
}
