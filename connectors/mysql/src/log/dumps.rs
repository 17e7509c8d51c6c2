//! Begins dumps of one server's log, and remembers over all of them what went wrong before.
//!
//! Two troubles look like those that a new attempt cures, and are not: another reader with the same number, who is thrown out by us as we
//! are by him, for ever; and events that come damaged each time. A few of either within some minutes need a person.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mysql_async::Opts;
use tailrace_core::{Error, Result};

use super::dump::{BinlogDump, DumpError, DumpStart, Replica};
use crate::config::MySqlConfig;
use crate::connect;
use crate::endpoint::Endpoint;
use crate::error::dump_error;

/// What happened longer ago is another story.
const RECENT: Duration = Duration::from_secs(600);
/// A reader that is thrown out may have met its own old connection, and then a number that was chosen again; not a third time.
const CONFLICTS_MAXIMUM: usize = 3;
/// A bit that turned over on the way does not do so twice within minutes.
const DAMAGES_MAXIMUM: usize = 2;

/// Begins dumps.
#[derive(Clone)]
pub(crate) struct Dumps {
    config: Arc<MySqlConfig>,
    troubles: Arc<Mutex<Troubles>>,
}

/// What went wrong before.
#[derive(Default)]
struct Troubles {
    /// When another reader with our number came.
    conflicts: Vec<Instant>,
    /// When an event came damaged.
    damages: Vec<Instant>,
    /// The number that another reader has.
    taken: Option<u32>,
}

// === impl Dumps ===

impl Dumps {
    /// Nothing went wrong yet.
    pub(crate) fn new(config: Arc<MySqlConfig>) -> Self {
        Self {
            config,
            troubles: Arc::default(),
        }
    }

    /// What the source may be told.
    pub(crate) fn config(&self) -> &Arc<MySqlConfig> {
        &self.config
    }

    /// Connects and asks for the log. `doing` completes the sentence "cannot …".
    pub(crate) async fn start(&self, start: &DumpStart, doing: &str) -> Result<BinlogDump> {
        let options: Opts = connect::options(&Endpoint::resolve(&*self.config)?)?.into();
        let replica = Replica {
            server_id: self.config.server_id_range.choose_but(self.troubles().taken),
            heartbeat: Duration::from_millis(self.config.heartbeat_interval_ms),
        };
        let dump = BinlogDump::start(&options, start, replica).await;
        dump.map_err(|error| self.error(&error, replica, doing))
    }

    /// What an error of a dump means, after those before it.
    pub(crate) fn error(&self, error: &DumpError, replica: Replica, doing: &str) -> Error {
        match Endpoint::resolve(&*self.config) {
            Ok(endpoint) => {
                let error = dump_error(error, &endpoint, doing);
                self.troubles().judged(error, replica.server_id, Instant::now())
            }
            Err(error) => error,
        }
    }

    fn troubles(&self) -> std::sync::MutexGuard<'_, Troubles> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Troubles ===

impl Troubles {
    fn judged(&mut self, error: Error, server_id: u32, now: Instant) -> Error {
        let (times, maximum, remedy) = match error.code() {
            "server_id_conflict" => {
                self.taken = Some(server_id);
                (&mut self.conflicts, CONFLICTS_MAXIMUM, "")
            }
            "binlog_checksum" => (
                &mut self.damages,
                DAMAGES_MAXIMUM,
                "; look for what damages it on the server's disk, in its memory, or on the way here, then restart the connector",
            ),
            _ => return error,
        };
        times.retain(|time| now.saturating_duration_since(*time) < RECENT);
        times.push(now);
        let count = times.len();
        if count < maximum {
            return error;
        }
        // Whoever restarts the connector has done something about it.
        times.clear();
        let minutes = RECENT.as_secs() / 60;
        Error::definite(
            error.code(),
            format!("{error}; this is number {count} within {minutes} minutes{remedy}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use tailrace_core::error::Kind;

    use super::*;

    fn kinds(code: &'static str, after_s: &[u64]) -> Vec<Kind> {
        let (mut troubles, begin) = (Troubles::default(), Instant::now());
        let judged = after_s.iter().map(|after_s| {
            let now = begin + Duration::from_secs(*after_s);
            troubles.judged(Error::transient(code, "why"), 7, now).kind()
        });
        judged.collect()
    }

    #[test]
    fn the_third_conflict_within_minutes_needs_a_person() {
        use Kind::{Definite, Transient};
        let flaps = kinds("server_id_conflict", &[0, 10, 20, 30]);
        assert_eq!(flaps, [Transient, Transient, Definite, Transient]);
        let seldom = kinds("server_id_conflict", &[0, 300, 601, 850]);
        assert_eq!(seldom, [Transient, Transient, Transient, Definite]);
        assert_eq!(kinds("source_unreachable", &[0; 9]), [Transient; 9]);
    }

    #[test]
    fn a_damaged_event_is_asked_for_again_once() {
        use Kind::{Definite, Transient};
        assert_eq!(kinds("binlog_checksum", &[0, 1]), [Transient, Definite]);
        assert_eq!(kinds("binlog_checksum", &[0, 700]), [Transient, Transient]);
    }

    #[test]
    fn a_number_that_is_taken_is_not_chosen_again() {
        let mut troubles = Troubles::default();
        let error = troubles.judged(Error::transient("server_id_conflict", "why"), 7, Instant::now());
        assert_eq!((troubles.taken, error.to_string().as_str()), (Some(7), "why"));
    }
}
