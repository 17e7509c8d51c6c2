//! Who reads what: tables follow one another, and those with a key that can be written down are cut into ranges of it.
//!
//! The ends of ranges are not known beforehand: whoever claims the next range of a table holds the lock while it looks for the key that is
//! so many rows further on. That reads an index; the rows are read after the lock is given back.

use mysql_async::Conn;
use tailrace_core::Result;
use tokio::sync::Mutex;

use crate::scan::ScanPlan;
use crate::scan::key_range::{KeyRange, RangeKey};

/// One piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// Index of the table in the plan.
    pub(super) table: usize,
    /// Number of the range within its table.
    pub(super) number: u64,
    /// What of the key; `None` for all rows at once.
    pub(super) range: Option<KeyRange>,
}

/// What is still to be claimed.
pub(super) struct Division {
    cursor: Mutex<Cursor>,
    tables: Vec<Divided>,
    range_rows: u64,
}

#[derive(Debug, Default)]
struct Cursor {
    table: usize,
    number: u64,
    /// Where the last range ended.
    after: Option<Vec<String>>,
}

/// How a table is cut.
struct Divided {
    key: Option<RangeKey>,
    /// Ranges that were claimed and are not read to their end, and whether all are claimed.
    open: std::sync::Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    ranges: u64,
    all_claimed: bool,
}

// === impl Division ===

impl Division {
    /// Nothing is claimed yet.
    pub(super) fn new(plan: &ScanPlan) -> Self {
        let divided = |table| Divided {
            key: match plan.order_column(table) {
                Some(_) => None,
                None => RangeKey::of(&table.definition),
            },
            open: std::sync::Mutex::default(),
        };
        Self {
            cursor: Mutex::default(),
            tables: plan.tables.iter().map(divided).collect(),
            range_rows: u64::from(plan.config.snapshot.chunk_rows.max(1)),
        }
    }

    /// The next piece of work; `None` when all is claimed. Looks for the end of the range on the claimer's own connection.
    pub(super) async fn claim(&self, connection: &mut Conn) -> Result<Option<Claim>> {
        let mut cursor = self.cursor.lock().await;
        let Some(divided) = self.tables.get(cursor.table) else {
            return Ok(None);
        };
        let range = match &divided.key {
            None => None,
            Some(key) => {
                let until = key
                    .end_of_range(connection, cursor.after.as_deref(), self.range_rows)
                    .await?;
                Some(KeyRange {
                    after: cursor.after.clone(),
                    until,
                })
            }
        };
        let claim = Claim {
            table: cursor.table,
            number: cursor.number,
            range,
        };
        let until = claim.range.as_ref().and_then(|range| range.until.clone());
        divided.claimed(until.is_none());
        *cursor = match until {
            Some(until) => Cursor {
                table: cursor.table,
                number: cursor.number + 1,
                after: Some(until),
            },
            None => Cursor {
                table: cursor.table + 1,
                ..Cursor::default()
            },
        };
        Ok(Some(claim))
    }

    /// All rows of a range have come; tells whether it was the last of its table.
    pub(super) fn done(&self, table: usize) -> bool {
        self.tables.get(table).is_some_and(Divided::done)
    }

    /// Everything was claimed.
    pub(super) async fn is_claimed(&self) -> bool {
        self.cursor.lock().await.table >= self.tables.len()
    }

    /// The key that a table is cut by.
    pub(super) fn key(&self, table: usize) -> Option<&RangeKey> {
        self.tables.get(table).and_then(|divided| divided.key.as_ref())
    }
}

// === impl Divided ===

impl Divided {
    fn open(&self) -> std::sync::MutexGuard<'_, Open> {
        // A panic while the lock was held leaves counts that are whole.
        self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn claimed(&self, last: bool) {
        let mut open = self.open();
        open.ranges += 1;
        open.all_claimed = last;
    }

    fn done(&self) -> bool {
        let mut open = self.open();
        open.ranges = open.ranges.saturating_sub(1);
        open.all_claimed && open.ranges == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_done_with_the_last_of_its_ranges_in_whatever_order_they_end() {
        let divided = Divided {
            key: None,
            open: std::sync::Mutex::default(),
        };
        divided.claimed(false);
        divided.claimed(false);
        assert!(!divided.done(), "another is open");
        assert!(!divided.done(), "more may be claimed");
        divided.claimed(false);
        divided.claimed(true);
        assert!(!divided.done());
        assert!(divided.done());
    }
}
