//! A table and what it is compared with, as far as that makes no difference: keys that differed are settled, told, repaired, and settled again.

use std::collections::BTreeSet;

use tailrace_core::Result;
use tailrace_sql::verify::pairing::{Key, Pairing};
use tailrace_sql::verify::repair::Place;
use tailrace_sql::verify::table::TableComparison;
use tailrace_sql::verify::told::ToldComparison;

use super::VerifyArguments;
use super::repair::RefusedRows;
use super::report::TableReport;
use super::settle::{Settled, Settlement};

/// What a table of the target is compared with.
pub(super) enum Compared<'a> {
    /// The table of a source.
    Source(&'a mut TableComparison),
    /// What its topic says.
    Topic(&'a mut ToldComparison),
}

// === impl Compared ===

impl Compared<'_> {
    /// Says what became of keys that differed, and repairs what drifted where that is asked for.
    ///
    /// # Errors
    /// What the databases and the stream answer. What was repaired by then is told all the same.
    pub(super) async fn conclude(
        &mut self,
        settlement: &mut Settlement<'_>,
        suspects: BTreeSet<Key>,
        (place, arguments): (&Place, &VerifyArguments),
        report: &mut TableReport,
    ) -> Result<()> {
        let mut settled = self.settle(settlement, suspects).await?;
        report.settle(&settled, self.pairing(), arguments);
        if !arguments.repair || settled.drift.is_empty() {
            return Ok(());
        }
        let drift: BTreeSet<Key> = settled.drift.keys().cloned().collect();
        let mut refused = RefusedRows::new();
        let repaired = self
            .repair(settlement, place, &settled.in_order_of_repair(), &mut refused)
            .await;
        // A guard, a trigger or the sink itself may have had the last word; and what failed may have failed in the middle.
        settlement.deadline = None;
        match self.settle(settlement, drift).await {
            Ok(after) => {
                let equal = settled.take_over(after);
                report.settle(&settled, self.pairing(), arguments);
                report.repaired(&equal, &refused);
                repaired
            }
            Err(error) => repaired.and(Err(error)),
        }
    }

    fn pairing(&self) -> &Pairing {
        match self {
            Self::Source(comparison) => comparison.pairing(),
            Self::Topic(comparison) => comparison.pairing(),
        }
    }

    async fn settle(&mut self, settlement: &mut Settlement<'_>, keys: BTreeSet<Key>) -> Result<Settled> {
        match self {
            Self::Source(comparison) => settlement.settle(comparison, keys).await,
            Self::Topic(comparison) => settlement.settle_told(comparison, keys).await,
        }
    }

    async fn repair(
        &mut self,
        settlement: &mut Settlement<'_>,
        place: &Place,
        keys: &[Key],
        refused: &mut RefusedRows,
    ) -> Result<()> {
        match self {
            Self::Source(comparison) => settlement.repair(comparison, place, keys, refused).await,
            Self::Topic(comparison) => settlement.repair_told(comparison, place, keys, refused).await,
        }
    }
}
