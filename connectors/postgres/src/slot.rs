//! The replication slot as the server shows it: who holds it, how far it is, what it costs; and whether it is still ours.
//!
//! The server does not say when a slot was moved: START_REPLICATION at an older position is silently forwarded to the
//! slot's own. So the position that we saved, which is saved *before* it is reported, is compared with the slot's: a slot
//! that is ahead of it was moved or recreated by somebody else, and what lies between is lost to this connector.

use tailrace_core::position::Position;
use tailrace_core::telemetry::{LogRetention, Telemetry};
use tailrace_core::{Error, Result};
use tokio_postgres::Client;

use crate::config::PostgresConfig;
use crate::connect::{Purpose, connect};
use crate::error::query_error;
use crate::position::Lsn;

/// One row of `pg_replication_slots`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) plugin: Option<String>,
    pub(crate) database: Option<String>,
    /// Backend that streams from it.
    pub(crate) active_pid: Option<i32>,
    /// Everything before is durable here, as far as the server knows.
    pub(crate) confirmed_flush: Option<Lsn>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub(crate) wal_status: Option<String>,
    /// What may still be written before the slot is given up, bytes.
    pub(crate) safe_wal_bytes: Option<i64>,
    /// Log that is kept for the slot, bytes.
    pub(crate) retained_bytes: Option<i64>,
    /// Log that is not confirmed, bytes.
    pub(crate) unconfirmed_bytes: Option<i64>,
}

/// Columns that every version from 13 on has.
const QUERY: &str = "SELECT slot_name::text, plugin::text, database::text, active_pid, confirmed_flush_lsn::text, wal_status, safe_wal_size,
        pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8,
        pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::int8
    FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";

/// Shares of the reserve, in percent used, at which the warning is repeated in stronger words.
const ALARM_PERCENT: [i64; 3] = [95, 80, 50];

/// Whether the log can be read from a position that a person names.
///
/// # Errors
/// As [`Slot::verify`]; definite `position_invalid` where it is no LSN, behind the slot, or beyond the end of the log.
pub(crate) async fn verify_position(config: &PostgresConfig, connector: &str, position: &Position) -> Result<()> {
    let wanted: Lsn = position.as_str().parse().map_err(|()| {
        let message = format!("`{position}` is no position of a PostgreSQL log; write it as `0/16B3748`");
        Error::definite("position_invalid", message)
    })?;
    let name = config.server_names(connector)?.slot;
    let session = connect(config, connector, Purpose::Catalog).await?;
    let slot = Slot::read(&session, &name).await?;
    verify_wanted(slot.as_ref(), &name, wanted)
}

/// Whether a slot gives everything behind a place that nothing was carried up to by us.
///
/// # Errors
/// As [`verify_position`].
pub(crate) fn verify_wanted(slot: Option<&Slot>, name: &str, wanted: Lsn) -> Result<()> {
    let invalid = |sentence: String| Err(Error::definite("position_invalid", format!("`{wanted}` is {sentence}")));
    let (confirmed, end) = slot.map_or((None, None), |slot| (slot.confirmed_flush, slot.log_end()));
    match (confirmed, end) {
        (Some(confirmed), _) if wanted < confirmed => invalid(format!(
            "behind {confirmed}, up to which the replication slot \"{name}\" has given the log back: the server does not keep what lies \
             between; a snapshot carries the rows again"
        )),
        (_, Some(end)) if wanted > end => invalid(format!(
            "beyond the end of the log, which is at {end}: whatever is written before it would be skipped"
        )),
        _ => Slot::verify(slot, name, wanted),
    }
}

// === impl Slot ===

impl Slot {
    /// Reads the slot; `None` where there is none of that name.
    pub(crate) async fn read(client: &Client, name: &str) -> Result<Option<Self>> {
        let rows = client.query(QUERY, &[&name]).await;
        let rows = rows.map_err(|error| query_error(&error, "look at the replication slot"))?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let confirmed: Option<String> = row.get(4);
        Ok(Some(Self {
            name: row.get(0),
            plugin: row.get(1),
            database: row.get(2),
            active_pid: row.get(3),
            confirmed_flush: confirmed.and_then(|text| text.parse().ok()),
            wal_status: row.get(5),
            safe_wal_bytes: row.get(6),
            retained_bytes: row.get(7),
            unconfirmed_bytes: row.get(8),
        }))
    }

    /// Refuses to stream from a slot that cannot give every change after `saved`.
    pub(crate) fn verify(slot: Option<&Self>, name: &str, saved: Lsn) -> Result<()> {
        let Some(slot) = slot else {
            return Err(Error::definite(
                "slot_missing",
                format!(
                    "the replication slot \"{name}\" is gone, and with it every change after {saved}; \
                     to begin anew with a snapshot, remove this connector from the state (`tailrace forget`) and start it again"
                ),
            ));
        };
        if slot.wal_status.as_deref() == Some("lost") {
            return Err(Error::definite(
                "slot_lost",
                format!(
                    "the server gave up the replication slot \"{name}\" (max_slot_wal_keep_size): changes after {saved} are gone; \
                     drop it with SELECT pg_drop_replication_slot('{name}'), then `tailrace forget` and start again with a snapshot"
                ),
            ));
        }
        match slot.confirmed_flush {
            Some(confirmed) if confirmed > saved => Err(Error::definite(
                "slot_moved",
                format!(
                    "the replication slot \"{name}\" is at {confirmed}, but this connector only carried changes up to {saved}: \
                     somebody else moved or recreated it, and what lies between is not in the stream; \
                     `tailrace forget` and a new snapshot make it whole again"
                ),
            )),
            Some(_) => Ok(()),
            None => Err(Error::definite(
                "slot_foreign",
                format!("the replication slot \"{name}\" is not a logical slot; name another one in `slot`"),
            )),
        }
    }

    /// The end of the log when the slot was read.
    pub(crate) fn log_end(&self) -> Option<Lsn> {
        let unconfirmed_bytes = u64::try_from(self.unconfirmed_bytes?).ok()?;
        Some(Lsn(self.confirmed_flush?.0.saturating_add(unconfirmed_bytes)))
    }

    /// What the slot costs, in bytes and words, and a standing warning where it comes near its end.
    pub(crate) fn report(&self, telemetry: &Telemetry, warn_above_bytes: u64) {
        use std::sync::atomic::Ordering;
        let retained_bytes = unsigned(self.retained_bytes);
        let safe_bytes = self.safe_wal_bytes.map(|bytes| unsigned(Some(bytes)));
        telemetry
            .numbers
            .lag_bytes
            .store(self.unconfirmed_bytes.unwrap_or(-1).max(-1), Ordering::Relaxed);
        let limit = safe_bytes.map_or_else(
            || "without a limit (max_slot_wal_keep_size)".to_owned(),
            |bytes| format!("and gives the slot up after {} more", megabytes(bytes)),
        );
        telemetry.set_retention(LogRetention {
            retained_bytes,
            safe_bytes,
            seconds_to_loss: None,
            summary: format!(
                "the server keeps {} of WAL for slot \"{}\" {limit}",
                megabytes(retained_bytes),
                self.name
            ),
        });
        telemetry.set_notice("retained_wal", self.alarm(retained_bytes, safe_bytes, warn_above_bytes));
    }

    fn alarm(&self, retained_bytes: u64, safe_bytes: Option<u64>, warn_above_bytes: u64) -> Option<String> {
        if let Some(safe_bytes) = safe_bytes {
            let whole = i64::try_from(retained_bytes.saturating_add(safe_bytes))
                .unwrap_or(i64::MAX)
                .max(1);
            let used_percent = i64::try_from(retained_bytes).unwrap_or(i64::MAX).saturating_mul(100) / whole;
            let passed = ALARM_PERCENT.iter().find(|percent| used_percent >= **percent)?;
            return Some(format!(
                "slot \"{}\" has used more than {passed} % of the WAL it may keep; it is lost after {} more: \
                 see why the connector does not keep up, or raise max_slot_wal_keep_size",
                self.name,
                megabytes(safe_bytes)
            ));
        }
        (retained_bytes > warn_above_bytes).then(|| {
            format!(
                "the server keeps {} of WAL for slot \"{}\", and nothing stops it before the disk is full: \
                 see why the connector does not keep up, or set max_slot_wal_keep_size",
                megabytes(retained_bytes),
                self.name
            )
        })
    }
}

fn unsigned(bytes: Option<i64>) -> u64 {
    u64::try_from(bytes.unwrap_or_default()).unwrap_or_default()
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot() -> Slot {
        Slot {
            name: "s".into(),
            plugin: Some("pgoutput".into()),
            database: Some("db".into()),
            active_pid: None,
            confirmed_flush: Some(Lsn(100)),
            wal_status: Some("reserved".into()),
            safe_wal_bytes: None,
            retained_bytes: Some(2_000_000),
            unconfirmed_bytes: Some(7),
        }
    }

    #[test]
    fn a_slot_that_is_ahead_was_moved() {
        let code = |slot: Option<&Slot>, saved| Slot::verify(slot, "s", Lsn(saved)).err().map(|error| error.code());
        assert_eq!(code(Some(&slot()), 100), None);
        // A server that crashed takes the slot back; that is normal.
        assert_eq!(code(Some(&slot()), 101), None);
        assert_eq!(code(Some(&slot()), 99), Some("slot_moved"));
        assert_eq!(code(None, 99), Some("slot_missing"));
        let lost = Slot {
            wal_status: Some("lost".into()),
            ..slot()
        };
        assert_eq!(code(Some(&lost), 100), Some("slot_lost"));
    }

    #[test]
    fn the_end_of_the_log_is_what_is_confirmed_and_what_is_not() {
        assert_eq!(slot().log_end(), Some(Lsn(107)));
        let unknown = Slot {
            unconfirmed_bytes: None,
            ..slot()
        };
        assert_eq!(unknown.log_end(), None);
    }

    #[test]
    fn the_alarm_grows_with_the_share_that_is_used() {
        let alarm = |retained, safe| slot().alarm(retained, safe, 1_000_000_000);
        assert_eq!(alarm(10, Some(90)), None);
        assert!(alarm(50, Some(50)).unwrap().contains("50 %"));
        assert!(alarm(96, Some(4)).unwrap().contains("95 %"));
        assert_eq!(alarm(1_000_000_000, None), None);
        assert!(alarm(1_100_000_000, None).unwrap().contains("1100.0 MB"));
    }
}
