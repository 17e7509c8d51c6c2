//! Versions of tables as their first rows come: saved before these are delivered, and told to those who follow the schemas.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::batch::ChangeBatch;
use crate::error::Result;
use crate::failpoint;
use crate::ports::{SchemaHistory, Succession};
use crate::schema::{SharedSchema, TableSchema};
use crate::schema_change::{NoticeState, SchemaChange, SchemaChangeNotice, SchemaChangePublisher};
use crate::snapshot::log_position;
use crate::telemetry::now_us;

/// What a pipeline knows of its tables.
#[derive(Default)]
pub(super) struct Schemas {
    known: Vec<SharedSchema>,
    /// Number of the version that each table had last.
    seen: HashMap<String, u32>,
    /// What must be told with the batch that is read.
    changes: Vec<SchemaChange>,
    handed_over: u64,
    settled: u64,
    /// As many of the batches that are durable are behind a checkpoint.
    saved: u64,
    /// Versions that were told with a batch, and are not known to be told yet.
    told: VecDeque<Told>,
}

struct Told {
    /// The batch, counted from 1.
    batch: u64,
    table: String,
    version: u32,
    stage: Stage,
}

/// How far the telling of a version is.
enum Stage {
    /// Its batch is on its way.
    Published(SchemaChangeNotice),
    /// Its batch is durable, and whoever listens beside the stream was told.
    Durable(NoticeState),
}

// === impl Schemas ===

impl Schemas {
    /// Saves the versions in a batch that were not met before.
    pub(super) async fn meet(&mut self, batch: &ChangeBatch, history: &dyn SchemaHistory) -> Result<()> {
        for schema in &batch.tables {
            // The same version comes as the same pointer: it is only compared where it was not seen before.
            if self.known.iter().any(|known| Arc::ptr_eq(known, schema)) {
                continue;
            }
            let table = schema.name.qualified();
            let seen = self.seen.get(&table).copied();
            let version = history
                .record(schema, &log_position(&batch.progress.position)?, seen)
                .await?;
            failpoint!(try SchemaSaved);
            self.known.push(Arc::clone(schema));
            self.seen.insert(table, version.number);
            let mut changes = version.passed_over;
            if let Some(before) = version.previous
                && !version.is_announced
                && seen != Some(version.number)
            {
                changes.push(Succession {
                    number: version.number,
                    before,
                    after: TableSchema::clone(schema),
                });
            }
            self.changes
                .extend(changes.into_iter().map(|change| change_in(batch, change)));
        }
        Ok(())
    }

    /// Something must be told with the batch that is read, though nothing of it may be left.
    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// The batch that was read has nothing in it.
    pub(super) fn passed_over(&mut self) {
        self.handed_over += 1;
    }

    /// What must be told with the batch that is read, which goes on its way now.
    pub(super) fn take_changes(&mut self) -> Vec<SchemaChange> {
        std::mem::take(&mut self.changes)
    }

    /// The batch that was read goes on its way, with this told in it.
    pub(super) fn handed_over(&mut self, notices: Vec<SchemaChangeNotice>) {
        self.handed_over += 1;
        self.told.extend(notices.into_iter().map(|notice| Told {
            batch: self.handed_over,
            table: notice.table.clone(),
            version: notice.version,
            stage: Stage::Published(notice),
        }));
    }

    /// The oldest batch on its way is durable: whoever listens beside the stream is told what is told in it.
    pub(super) fn settled(&mut self, publisher: &SchemaChangePublisher) {
        self.settled += 1;
        let durable = self.told.iter_mut().filter(|told| told.batch == self.settled);
        for told in durable {
            if let Stage::Published(notice) = &told.stage {
                told.stage = Stage::Durable(publisher.tell(notice.clone()));
            }
        }
    }

    /// A checkpoint covers every batch that is durable.
    pub(super) async fn saved(&mut self, history: &dyn SchemaHistory) -> Result<()> {
        self.saved = self.settled;
        self.announce(history).await
    }

    /// What was told is behind a checkpoint, and nobody is being told of it any more.
    pub(super) fn can_announce(&self) -> bool {
        self.told.front().is_some_and(|told| told.is_through(self.saved))
    }

    /// Writes down what need not be told again.
    pub(super) async fn announce(&mut self, history: &dyn SchemaHistory) -> Result<()> {
        while let Some(told) = self.told.front()
            && told.is_through(self.saved)
        {
            history.announced(&told.table, told.version).await?;
            self.told.pop_front();
        }
        Ok(())
    }
}

/// A version that is told in front of a batch.
fn change_in(batch: &ChangeBatch, change: Succession) -> SchemaChange {
    let transaction = batch.transactions.first();
    SchemaChange {
        version: change.number,
        position: batch.progress.position.clone(),
        identity: Arc::clone(&batch.identity),
        changed_at_us: transaction.map_or_else(now_us, |transaction| transaction.committed_at_us),
        before: change.before,
        after: Arc::new(change.after),
    }
}

// === impl Told ===

impl Told {
    fn is_through(&self, saved: u64) -> bool {
        let Stage::Durable(state) = &self.stage else {
            return false;
        };
        self.batch <= saved && state.is_settled()
    }
}
