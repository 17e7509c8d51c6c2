//! Versions of tables as their first rows come: saved before these are delivered, and told to those who follow the schemas.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::batch::ChangeBatch;
use crate::error::Result;
use crate::failpoint;
use crate::ports::SchemaHistory;
use crate::schema::SharedSchema;
use crate::schema_change::SchemaChange;
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
    /// Versions that were told with a batch, which is not behind a checkpoint yet.
    told: VecDeque<Told>,
}

struct Told {
    /// The batch, counted from 1.
    batch: u64,
    table: String,
    version: u32,
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
            let version = history.record(schema, &batch.progress.position, seen).await?;
            failpoint!(try SchemaSaved);
            self.known.push(Arc::clone(schema));
            self.seen.insert(table, version.number);
            if let Some(before) = version.previous
                && !version.is_announced
                && seen != Some(version.number)
            {
                let transaction = batch.transactions.first();
                self.changes.push(SchemaChange {
                    version: version.number,
                    position: batch.progress.position.clone(),
                    identity: Arc::clone(&batch.identity),
                    changed_at_us: transaction.map_or_else(now_us, |transaction| transaction.committed_at_us),
                    before,
                    after: Arc::clone(schema),
                });
            }
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

    /// The batch that was read goes on its way, with what this gives told in it.
    pub(super) fn handed_over(&mut self) -> Vec<SchemaChange> {
        self.handed_over += 1;
        let changes = std::mem::take(&mut self.changes);
        self.told.extend(changes.iter().map(|change| Told {
            batch: self.handed_over,
            table: change.after.name.qualified(),
            version: change.version,
        }));
        changes
    }

    /// The oldest batch on its way is durable.
    pub(super) fn settled(&mut self) {
        self.settled += 1;
    }

    /// A checkpoint covers every batch that is durable: what was told with them is told.
    pub(super) async fn saved(&mut self, history: &dyn SchemaHistory) -> Result<()> {
        while let Some(told) = self.told.front()
            && told.batch <= self.settled
        {
            history.announced(&told.table, told.version).await?;
            self.told.pop_front();
        }
        Ok(())
    }
}
