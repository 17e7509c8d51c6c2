//! The target compared with what its topic says last of each key, where the source is not at hand.
//!
//! Rows of events are of many versions of a table, so that each is compared by the pairing of its own version.

use std::collections::BTreeMap;
use std::sync::Arc;

use tailrace_core::Result;
use tailrace_core::batch::{ChangeBatch, RowView};

use super::event_row::EventRow;
use super::pairing::{Key, Pairing, Values};
use super::repair::{Place, Repairs};
use super::table::{Difference, Expected, Look, Reach, Tally, TargetRows, bound, count};
use crate::sink::SqlSink;
use crate::sink::config::WriteConfig;
use crate::sink::work::Offset;

/// What a topic says last of a key that is there.
#[derive(Debug, Clone)]
pub struct Told {
    /// By which pairing it is compared: of the version of its newest event.
    pub pairing: Arc<Pairing>,
    /// What is compared.
    pub values: Values,
    /// The row itself, where it is to be written.
    pub row: Option<EventRow>,
}

/// What a topic says last of keys; `None` where that is a deletion.
pub type LastOfKeys = BTreeMap<Key, Option<Told>>;

/// A target's table, and how rows of it are found.
pub struct ToldComparison {
    target: TargetRows,
    pairing: Arc<Pairing>,
    expected: Expected,
    chunk_rows: u32,
}

// === impl ToldComparison ===

impl ToldComparison {
    /// The table of a target. `pairing` says which columns its key is.
    pub fn new(target: TargetRows, pairing: Arc<Pairing>, config: &WriteConfig, reach: Reach) -> Self {
        Self {
            target,
            pairing,
            expected: Expected::of(config, reach),
            chunk_rows: reach.chunk_rows.max(1),
        }
    }

    /// Which columns the key is.
    pub fn pairing(&self) -> &Arc<Pairing> {
        &self.pairing
    }

    /// Walks over the target's table, and compares the rows whose keys are `asked` for with what is said of them. `is_told_of` tells of a key
    /// that nothing is said of whether that means that there is no such row.
    ///
    /// # Errors
    /// Definite `drift_large`; what the target answers.
    pub async fn walk(
        &mut self,
        mut said: LastOfKeys,
        asked: impl Fn(&Key) -> bool,
        is_told_of: bool,
        tally: &mut Tally,
    ) -> Result<()> {
        let there = said.values().flatten().count();
        tally.origin_rows += count(there);
        let mut after = None;
        loop {
            let (batch, last) = self
                .target
                .chunk(&self.pairing, after.as_ref(), self.chunk_rows)
                .await?;
            tally.chunks += 1;
            let rows = self.target.there(&batch);
            let rows = rows.filter_map(|row| Some((self.pairing.target_row(row)?.0, row)));
            let rows: Vec<(Key, RowView<'_>)> = rows.filter(|(key, _)| asked(key)).collect();
            self.target.check_own(&self.pairing, rows.iter().map(|(key, _)| key))?;
            for (key, row) in rows {
                tally.target_rows += 1;
                let is_said = said.contains_key(&key);
                let told = said.remove(&key).flatten();
                match self.difference(told.as_ref(), Some(row)) {
                    // A row that is not compared because it may be another topic's is neither equal nor suspect.
                    None if told.is_some() => tally.equal += 1,
                    None => {}
                    Some(_) if !is_said && !is_told_of => tally.untold += 1,
                    Some(_) => drop(tally.suspects.insert(key)),
                }
            }
            bound(tally, &self.target)?;
            match last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        let mut missing = Vec::new();
        for (key, told) in said {
            if self.difference(told.as_ref(), None).is_some() {
                tally.suspects.insert(key.clone());
                bound(tally, &self.target)?;
                missing.push(key);
            }
        }
        // One that is there under a key that is another only to us is said to be that, and not to be missing.
        let missing: Vec<&Key> = missing.iter().collect();
        self.target.by_keys(&self.pairing, &missing).await?;
        Ok(())
    }

    /// The rows of the target that have these keys.
    ///
    /// # Errors
    /// What the target answers.
    pub async fn rows(&mut self, keys: &[&Key]) -> Result<Vec<ChangeBatch>> {
        self.target.batches(&self.pairing, keys).await
    }

    /// Those of them that are there, by their keys.
    pub fn by_key<'b>(&self, batches: &'b [ChangeBatch]) -> BTreeMap<Key, RowView<'b>> {
        let rows = batches.iter().flat_map(|batch| self.target.there(batch));
        rows.filter_map(|row| Some((self.pairing.target_row(row)?.0, row)))
            .collect()
    }

    /// How a row of the target differs from what is said of its key, and both.
    pub fn difference(&self, told: Option<&Told>, row: Option<RowView<'_>>) -> Option<(Difference, Look)> {
        let pairing = told.map_or(&self.pairing, |told| &told.pairing);
        let look = Look {
            origin: told.map(|told| told.values.clone()),
            target: row.and_then(|row| pairing.target_row(row)).map(|(_, values)| values),
        };
        let difference = self.expected.difference(pairing, &look)?;
        Some((difference, look))
    }

    /// Makes the target have what is said of these keys, as far as they differ still. What is said must reach as far as `offsets`, which are
    /// those that the target had before anything was read for this. A key that is not said is one that is not there.
    ///
    /// # Errors
    /// `Fenced` where the sink wrote something of the topic meanwhile; else as of every write. Nothing was done then.
    pub async fn repair(
        &mut self,
        sink: &mut SqlSink,
        place: &Place,
        offsets: &[Offset],
        said: &BTreeMap<&Key, Option<&Told>>,
    ) -> Result<()> {
        let keys: Vec<&Key> = said.keys().copied().collect();
        let target = self.rows(&keys).await?;
        let rows = self.by_key(&target);
        let mut repairs = Repairs::new(place, &self.pairing);
        for (key, told) in said {
            let row = rows.get(*key).copied();
            match (self.difference(*told, row), row) {
                (Some((Difference::Extra, _)), Some(row)) => repairs.delete(row)?,
                (Some(_), row) => {
                    if let Some(told) = told.and_then(|told| told.row.as_ref()) {
                        repairs.put(told, row.is_some())?;
                    }
                }
                (None, _) => {}
            }
        }
        repairs.write(sink, offsets).await
    }
}
