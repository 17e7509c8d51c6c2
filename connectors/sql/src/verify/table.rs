//! Comparing one table: which keys differ, and what they are when they are looked at again.

use std::collections::{BTreeMap, BTreeSet};

use tailrace_core::batch::{ChangeBatch, Operation, RowView};
use tailrace_core::schema::column_named;
use tailrace_core::value::Value;
use tailrace_core::{Error, Result};

use super::origin::Origin;
use super::pairing::{Key, Pairing, Values};
use super::reader::{TableReader, keeping};
use crate::sink::config::{DeleteMode, TruncateMode, WriteConfig, WriteMode};
use crate::sink::plan::soft_delete_column;

/// Beyond so many differing keys the table is not worth being looked at key by key.
const SUSPECTS_MAXIMUM: usize = 100_000;

/// How a key differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The target does not have the row.
    Missing,
    /// Only the target has the row.
    Extra,
    /// Values differ, in these columns of the target.
    Different(Vec<usize>),
}

/// A key as both sides have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// What the row is where it comes from.
    pub origin: Option<Values>,
    /// What it is in the target.
    pub target: Option<Values>,
}

/// What was compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows of the origin.
    pub origin_rows: u64,
    /// Rows of the target that were looked at for themselves.
    pub target_rows: u64,
    /// Times that rows were asked for, of both sides.
    pub chunks: u64,
    /// Rows that were the same at the first look.
    pub equal: u64,
    /// Keys that were not.
    pub suspects: BTreeSet<Key>,
    /// Rows of the target of which the topic that they are compared with says nothing, having lost its beginning.
    pub untold: u64,
}

/// What counts as a difference, by what the sink does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expected {
    /// A row of the origin that the target does not have.
    missing: bool,
    /// A row that only the target has.
    pub(super) extra: bool,
}

/// How far a comparison goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Rows that are read at a time.
    pub chunk_rows: u32,
    /// Other topics are written into the table, too: rows that these do not have are theirs.
    pub is_shared: bool,
}

/// The target's table.
pub struct TargetRows {
    reader: TableReader,
    /// The column that says since when a row is deleted.
    deleted_at: Option<usize>,
}

/// Two tables that should hold the same.
pub struct TableComparison {
    origin: Origin,
    target: TargetRows,
    pairing: Pairing,
    expected: Expected,
    chunk_rows: u32,
}

// === impl TargetRows ===

impl TargetRows {
    /// The rows of a table that a sink writes.
    pub fn new(reader: TableReader, config: &WriteConfig) -> Self {
        let deleted_at = soft_delete_column(config).and_then(|name| column_named(&reader.schema().columns, name));
        Self { reader, deleted_at }
    }

    /// Its columns.
    pub fn schema(&self) -> &tailrace_core::schema::SharedSchema {
        self.reader.schema()
    }

    /// The next rows behind a key, and the key of the last where there are more.
    ///
    /// # Errors
    /// As of [`TableReader::chunk`].
    pub async fn chunk(
        &mut self,
        pairing: &Pairing,
        after: Option<&Key>,
        limit: u32,
    ) -> Result<(ChangeBatch, Option<Key>)> {
        self.reader.chunk(&pairing.target_key(), after, limit).await
    }

    /// The rows of these keys.
    ///
    /// # Errors
    /// As of [`TableReader::by_keys`]; definite `key_not_comparable` where a row comes that has none of these keys.
    pub async fn by_keys(&mut self, pairing: &Pairing, keys: &[&Key]) -> Result<BTreeMap<Key, Values>> {
        let asked: BTreeSet<&Key> = keys.iter().copied().collect();
        let mut rows = BTreeMap::new();
        let deleted_at = self.deleted_at;
        let take = &mut |batch: ChangeBatch| {
            for (key, values) in there(&batch, deleted_at).filter_map(|row| pairing.target_row(row)) {
                pairing.check_asked(&asked, &key)?;
                rows.insert(key, values);
            }
            Ok(())
        };
        let (key, spellings) = (pairing.target_key(), pairing.key_spellings());
        self.reader.by_keys(&key, &spellings, keys, take).await?;
        Ok(rows)
    }

    /// The same as they were read.
    ///
    /// # Errors
    /// As of [`TableReader::by_keys`].
    pub async fn batches(&mut self, pairing: &Pairing, keys: &[&Key]) -> Result<Vec<ChangeBatch>> {
        let mut batches = Vec::new();
        let (key, spellings) = (pairing.target_key(), pairing.key_spellings());
        self.reader
            .by_keys(&key, &spellings, keys, &mut keeping(&mut batches))
            .await?;
        Ok(batches)
    }

    /// Whether rows that were read are found by their keys.
    ///
    /// # Errors
    /// Definite `key_not_comparable`.
    pub(super) fn check_own<'k>(&self, pairing: &Pairing, keys: impl Iterator<Item = &'k Key>) -> Result<()> {
        self.reader.check_own(&pairing.target_key(), keys)
    }

    fn rows(&self, pairing: &Pairing, batch: &ChangeBatch) -> BTreeMap<Key, Values> {
        self.there(batch).filter_map(|row| pairing.target_row(row)).collect()
    }

    /// The rows of a batch; those that are marked as deleted are not there.
    pub(super) fn there<'b>(&self, batch: &'b ChangeBatch) -> impl Iterator<Item = RowView<'b>> {
        there(batch, self.deleted_at)
    }
}

fn there(batch: &ChangeBatch, deleted_at: Option<usize>) -> impl Iterator<Item = RowView<'_>> {
    let rows = batch.changes.iter().filter_map(|change| change.after);
    rows.map(|row| batch.row(row)).filter(move |row| {
        let deleted_at = deleted_at.map(|column| row.get(column));
        deleted_at.is_none_or(|value| value == Value::Null)
    })
}

// === impl TableComparison ===

impl TableComparison {
    /// Pairs a source's table with a target's.
    ///
    /// # Errors
    /// Definite, where their rows cannot be told apart or found.
    pub fn new(origin: Origin, target: TargetRows, config: &WriteConfig, reach: Reach) -> Result<Self> {
        let pairing = Pairing::new(origin.events(), target.schema(), config)?.with_keys_as_written();
        // Said before the first row is read.
        origin.key(&pairing)?;
        Ok(Self {
            origin,
            target,
            pairing,
            expected: Expected::of_source(config, reach),
            chunk_rows: reach.chunk_rows.max(1),
        })
    }

    /// Which column is which.
    pub fn pairing(&self) -> &Pairing {
        &self.pairing
    }

    /// Walks over both tables, each in its own order.
    ///
    /// # Errors
    /// Definite `drift_large` where the tables have little in common; what the databases answer.
    pub async fn walk(&mut self) -> Result<Tally> {
        let mut tally = Tally::default();
        let mut after = None;
        loop {
            let chunk = self.origin.chunk(after.as_ref(), self.chunk_rows).await?;
            let origin = origin_rows(&self.pairing, &chunk.batch);
            self.origin.check_own(&self.pairing, origin.keys())?;
            let keys: Vec<&Key> = origin.keys().collect();
            let target = self.target.by_keys(&self.pairing, &keys).await?;
            tally.origin_rows += count(origin.len());
            tally.chunks += 1;
            self.compare(origin, target, &mut tally)?;
            match chunk.last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        if self.expected.extra {
            self.walk_target(&mut tally).await?;
        }
        Ok(tally)
    }

    /// Rows that both have were compared before; here only those count that the origin does not have.
    async fn walk_target(&mut self, tally: &mut Tally) -> Result<()> {
        let mut after = None;
        loop {
            let (batch, last) = self
                .target
                .chunk(&self.pairing, after.as_ref(), self.chunk_rows)
                .await?;
            let rows = self.target.rows(&self.pairing, &batch);
            tally.target_rows += count(rows.len());
            tally.chunks += 1;
            self.target.check_own(&self.pairing, rows.keys())?;
            let keys: Vec<&Key> = rows.keys().collect();
            let origin = self.of_origin(&keys).await?;
            let extra = rows.into_keys().filter(|key| !origin.contains_key(key));
            tally.suspects.extend(extra);
            self.bound(tally)?;
            match last {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    async fn of_origin(&mut self, keys: &[&Key]) -> Result<BTreeMap<Key, Values>> {
        let asked: BTreeSet<&Key> = keys.iter().copied().collect();
        let mut rows = BTreeMap::new();
        let pairing = &self.pairing;
        let take = &mut |batch| {
            for (key, values) in origin_rows(pairing, &batch) {
                pairing.check_asked(&asked, &key)?;
                rows.insert(key, values);
            }
            Ok(())
        };
        self.origin.by_keys(pairing, keys, take).await?;
        Ok(rows)
    }

    fn compare(
        &self,
        origin: BTreeMap<Key, Values>,
        mut target: BTreeMap<Key, Values>,
        tally: &mut Tally,
    ) -> Result<()> {
        for (key, values) in origin {
            let look = Look {
                target: target.remove(&key),
                origin: Some(values),
            };
            match self.difference(&look) {
                Some(_) => drop(tally.suspects.insert(key)),
                None => tally.equal += 1,
            }
        }
        self.bound(tally)
    }

    fn bound(&self, tally: &Tally) -> Result<()> {
        bound(tally, &self.target)
    }

    /// Looks at keys again, the origin first: what the sink writes meanwhile can then only make the target newer.
    ///
    /// # Errors
    /// What the databases answer.
    pub async fn look(&mut self, keys: &BTreeSet<Key>) -> Result<BTreeMap<Key, Look>> {
        let wanted: Vec<&Key> = keys.iter().collect();
        let origin = self.of_origin(&wanted).await?;
        let target = self.target.by_keys(&self.pairing, &wanted).await?;
        Ok(looks(keys, origin, target))
    }

    /// How the two sides of a key differ, as far as the sink is to make them equal.
    pub fn difference(&self, look: &Look) -> Option<Difference> {
        self.expected.difference(&self.pairing, look)
    }
}

// --- for repairs

impl TableComparison {
    /// The rows of the origin that have these keys, as events.
    pub(super) async fn origin_batches(&mut self, keys: &[&Key]) -> Result<Vec<ChangeBatch>> {
        let mut batches = Vec::new();
        self.origin
            .by_keys(&self.pairing, keys, &mut keeping(&mut batches))
            .await?;
        Ok(batches)
    }

    /// The rows of the target that have these keys, with all their columns.
    pub(super) async fn target_batches(&mut self, keys: &[&Key]) -> Result<Vec<ChangeBatch>> {
        self.target.batches(&self.pairing, keys).await
    }

    /// What rows of the origin are compared by.
    pub(super) fn origin_rows(&self, batch: &ChangeBatch) -> BTreeMap<Key, Values> {
        origin_rows(&self.pairing, batch)
    }

    /// What rows of the target are compared by.
    pub(super) fn target_rows(&self, batch: &ChangeBatch) -> BTreeMap<Key, Values> {
        self.target.rows(&self.pairing, batch)
    }
}

/// What keys are on both sides.
pub(super) fn looks(
    keys: &BTreeSet<Key>,
    mut origin: BTreeMap<Key, Values>,
    mut target: BTreeMap<Key, Values>,
) -> BTreeMap<Key, Look> {
    let look = |key: &Key| {
        let look = Look {
            origin: origin.remove(key),
            target: target.remove(key),
        };
        (key.clone(), look)
    };
    keys.iter().map(look).collect()
}

fn origin_rows(pairing: &Pairing, batch: &ChangeBatch) -> BTreeMap<Key, Values> {
    let there = batch
        .changes
        .iter()
        .filter(|change| change.operation != Operation::Delete);
    let rows = there.filter_map(|change| change.after);
    rows.filter_map(|row| pairing.event_row(batch.row(row))).collect()
}

/// Refuses to go on where nearly everything differs.
pub(super) fn bound(tally: &Tally, target: &TargetRows) -> Result<()> {
    if tally.suspects.len() <= SUSPECTS_MAXIMUM {
        return Ok(());
    }
    let message = format!(
        "table {} differs in more than {SUSPECTS_MAXIMUM} keys already, which is more than can be looked at one by one; wait until \
         the sink has caught up, or fill the table anew",
        target.schema().name.qualified()
    );
    Err(Error::definite("drift_large", message))
}

pub(super) fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

// === impl Expected ===

impl Expected {
    pub(super) fn of(config: &WriteConfig, reach: Reach) -> Self {
        Self {
            missing: config.mode != WriteMode::Update,
            // With `mode: update` the target has rows of its own.
            extra: config.deletes != DeleteMode::Ignore && config.mode != WriteMode::Update && !reach.is_shared,
        }
    }

    /// Where the source is what is compared with: it does not say which of the rows that it does not have were truncated.
    pub(super) fn of_source(config: &WriteConfig, reach: Reach) -> Self {
        let expected = Self::of(config, reach);
        Self {
            extra: expected.extra && config.truncates != TruncateMode::Ignore,
            ..expected
        }
    }

    pub(super) fn difference(self, pairing: &Pairing, look: &Look) -> Option<Difference> {
        match (&look.origin, &look.target) {
            (Some(origin), Some(target)) => {
                let columns = pairing.differing(origin, target);
                (!columns.is_empty()).then_some(Difference::Different(columns))
            }
            (Some(_), None) => self.missing.then_some(Difference::Missing),
            (None, Some(_)) => self.extra.then_some(Difference::Extra),
            (None, None) => None,
        }
    }
}

// === impl Difference ===

impl Difference {
    /// Its word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Different(_) => "different",
        }
    }
}

#[cfg(test)]
mod tests;
