//! Which transactions the log has given us, and whether a snapshot sees them.
//!
//! A snapshot `xmin:xmax:running` sees every transaction below `xmin`, none from `xmax` on, and in between those that are not
//! listed as running. The log names transactions by the lower half of their numbers.
//!
//! Commits that were received before somebody began to note them (before this start of the connector, too) are not known by their numbers. One of them that
//! is not visible still runs, as far as anybody sees, when the noting begins; so those that run then are waited for too, unless they
//! turn out to wait for their client, which no transaction does that is committing.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tailrace_core::{Error, Result};

use crate::connect::Session;
use crate::error::query_error;

/// Transactions that have a number and run, our own aside. `backend_xid` is everybody's to see; prepared ones have no process.
const RUNNING: &str = "
SELECT a.backend_xid::text FROM pg_catalog.pg_stat_activity a
WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid() AND a.datname = pg_catalog.current_database()
UNION ALL
SELECT p.transaction::text FROM pg_catalog.pg_prepared_xacts p WHERE p.database = pg_catalog.current_database()";

/// Those of them that wait for their client. Who may not see that waits for them to end.
const IDLE: &str = "
SELECT a.backend_xid::text FROM pg_catalog.pg_stat_activity a
WHERE a.backend_xid::text = ANY ($1) AND a.state IN ('idle in transaction', 'idle in transaction (aborted)')";

/// Numbers of transactions, shared by the log that receives them and the reader of rows.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Somebody wants to know.
    watched: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    has_begun: bool,
    committed: HashSet<u32>,
    /// Ran when the noting began, and may have been received before.
    ran: HashSet<u32>,
}

/// What a snapshot sees.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    xmin: u64,
    xmax: u64,
    running: Vec<u64>,
}

// === impl Received ===

impl Received {
    /// The log has received a commit.
    pub(crate) fn note(&self, transaction: u32) {
        if self.watched.load(Ordering::Relaxed) {
            self.lock().committed.insert(transaction);
        }
    }

    /// From now on commits are noted.
    pub(super) fn watch(&self) {
        self.watched.store(true, Ordering::SeqCst);
    }

    /// These ran after that began.
    pub(super) fn begin(&self, running: Vec<u32>) {
        let mut known = self.lock();
        known.has_begun = true;
        known.ran.extend(running);
    }

    /// Everything that was received and may not be visible is known.
    pub(super) fn has_begun(&self) -> bool {
        self.lock().has_begun
    }

    /// Nobody wants to know any more.
    pub(super) fn end(&self) {
        self.watched.store(false, Ordering::SeqCst);
        *self.lock() = Known::default();
    }

    /// What must be visible to whoever reads rows from now on.
    pub(super) fn wanted(&self) -> Vec<u32> {
        let known = self.lock();
        known.committed.union(&known.ran).copied().collect()
    }

    /// Those that a snapshot does not see; what is visible to everybody for good is forgotten.
    pub(super) fn missing(&self, wanted: &[u32], snapshot: &Snapshot) -> Vec<u32> {
        let mut known = self.lock();
        known.committed.retain(|transaction| !snapshot.is_past(*transaction));
        known.ran.retain(|transaction| !snapshot.is_over(*transaction));
        let is_missing = |transaction: &u32| {
            let is_known = known.committed.contains(transaction) || known.ran.contains(transaction);
            is_known && !snapshot.is_over(*transaction)
        };
        wanted.iter().copied().filter(is_missing).collect()
    }

    /// These have not begun to commit, so that nobody can have received them before.
    pub(super) fn forgive(&self, idle: Vec<u32>) {
        let mut known = self.lock();
        for transaction in idle {
            known.ran.remove(&transaction);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // A panic while the lock was held leaves sets that are whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// As `pg_current_snapshot` prints it.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let read = || {
            let mut parts = text.splitn(3, ':');
            let (xmin, xmax) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            let running = parts.next()?.split(',').filter(|number| !number.is_empty());
            let running = running.map(|number| number.parse().ok()).collect::<Option<_>>()?;
            Some(Self { xmin, xmax, running })
        };
        read().ok_or_else(|| super::unexpected("the server's snapshot is not written as its manual has it"))
    }

    /// The whole number of a transaction: of those with this lower half the one nearest to the snapshot.
    fn widen(&self, transaction: u32) -> u64 {
        const HALF: u64 = 1 << 31;
        const WHOLE: u64 = 1 << 32;
        let same_epoch = (self.xmax & !(WHOLE - 1)) | u64::from(transaction);
        if same_epoch > self.xmax + HALF {
            same_epoch.checked_sub(WHOLE).unwrap_or(same_epoch)
        } else if same_epoch + HALF < self.xmax {
            same_epoch + WHOLE
        } else {
            same_epoch
        }
    }

    /// It is not running for this snapshot: committed and visible, or rolled back.
    fn is_over(&self, transaction: u32) -> bool {
        let transaction = self.widen(transaction);
        transaction < self.xmin || (transaction < self.xmax && !self.running.contains(&transaction))
    }

    /// It is not running for any later snapshot either.
    fn is_past(&self, transaction: u32) -> bool {
        self.widen(transaction) < self.xmin
    }
}

/// Transactions that run now.
pub(super) async fn running(session: &Session) -> Result<Vec<u32>> {
    numbers(session, RUNNING, &[]).await
}

/// Of these transactions, those that wait for their client.
pub(super) async fn idle(session: &Session, transactions: &[u32]) -> Result<Vec<u32>> {
    let texts: Vec<String> = transactions.iter().map(u32::to_string).collect();
    numbers(session, IDLE, &[&texts]).await
}

async fn numbers(
    session: &Session,
    query: &str,
    parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<Vec<u32>> {
    let wrap = |error: tokio_postgres::Error| -> Error { query_error(&error, "ask which transactions run") };
    let mut numbers = Vec::new();
    for row in session.query(query, parameters).await.map_err(wrap)? {
        let text: String = row.try_get(0).map_err(wrap)?;
        numbers.extend(text.parse::<u32>().ok());
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_sees_what_is_not_running_and_not_later() {
        let snapshot = Snapshot::parse("100:105:100,103").unwrap();
        let seen: Vec<u32> = (98..108).filter(|transaction| snapshot.is_over(*transaction)).collect();
        assert_eq!(seen, [98, 99, 101, 102, 104]);
        assert!(snapshot.is_past(99) && !snapshot.is_past(101));
        assert!(Snapshot::parse("7:7:").unwrap().running.is_empty());
        for broken in ["", "7", "7:8", "a:b:", "7:8:x"] {
            assert_eq!(
                Snapshot::parse(broken).unwrap_err().code(),
                "source_protocol",
                "{broken}"
            );
        }
    }

    #[test]
    fn numbers_are_widened_to_the_nearest() {
        let at = |xmax: u64| Snapshot {
            xmin: xmax,
            xmax,
            running: Vec::new(),
        };
        let epoch = 1_u64 << 32;
        assert_eq!(at(700).widen(690), 690);
        // One that is later than the snapshot, in the same epoch and in the next.
        assert_eq!(at(700).widen(710), 710);
        assert_eq!(at(epoch - 5).widen(3), epoch + 3);
        assert_eq!(at(epoch + 5).widen(u32::MAX - 2), epoch - 3);
        assert_eq!(at(3 * epoch + 100).widen(99), 3 * epoch + 99);
        // The first epoch has none before it.
        assert_eq!(at(700).widen(u32::MAX), u64::from(u32::MAX));
    }

    #[test]
    fn what_was_received_is_missing_until_it_is_visible() {
        let received = Received::default();
        received.note(7);
        assert!(received.wanted().is_empty(), "nobody asked");
        received.watch();
        received.begin(vec![5, 9]);
        received.note(10);
        received.note(20);
        let mut wanted = received.wanted();
        wanted.sort_unstable();
        assert_eq!(wanted, [5, 9, 10, 20]);
        let missing = |text: &str| {
            let mut missing = received.missing(&wanted, &Snapshot::parse(text).unwrap());
            missing.sort_unstable();
            missing
        };
        assert_eq!(missing("5:12:5,10"), [5, 10, 20]);
        received.forgive(vec![5]);
        assert_eq!(missing("5:21:5,10"), [10]);
        received.note(30);
        assert_eq!(missing("25:31:30"), [0; 0], "30 came after it was asked");
        assert_eq!(received.wanted(), [30]);
        received.end();
        received.note(31);
        assert!(received.wanted().is_empty());
    }
}
