//! Reading change tables: rows of a polled table, or of a log, become the changes that they tell of.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tailrace_core::batch::{ChangeBatch, Operation};
use tailrace_core::ports::{Budget, Source};
use tailrace_core::position::Position;
use tailrace_core::schema::SharedSchema;
use tailrace_core::{Error, Result};

use super::interpret::Interpretation;

/// The captured tables as they are now, by the qualified names of their change tables.
pub type CapturedTables = HashMap<String, SharedSchema>;

/// Asks the database for the captured tables as they are now.
pub type Describe = Box<dyn Fn() -> BoxFuture<'static, Result<CapturedTables>> + Send + Sync>;

/// A source whose rows are those of change tables, as a source of the captured tables' changes.
///
/// A captured table is looked at when a new version of its change table comes along, which is what `tailrace triggers diff` makes
/// after a change of the table.
pub struct ChangeTableSource {
    rows: Box<dyn Source>,
    describe: Describe,
    captured: CapturedTables,
    /// By the version of the change table; the pointer is kept, so that no other version gets its address.
    interpretations: Vec<(SharedSchema, Interpretation)>,
    /// A batch that waits until the captured tables were looked at: a call that is dropped meanwhile must not lose it.
    waiting: Option<ChangeBatch>,
    describing: Option<BoxFuture<'static, Result<CapturedTables>>>,
}

// === impl ChangeTableSource ===

impl ChangeTableSource {
    /// Reads what `rows` gives; `captured` is what `describe` said when it was opened.
    pub fn new(rows: Box<dyn Source>, captured: CapturedTables, describe: Describe) -> Self {
        Self {
            rows,
            describe,
            captured,
            interpretations: Vec::new(),
            waiting: None,
            describing: None,
        }
    }

    fn knows(&self, schema: &SharedSchema) -> bool {
        self.interpretations.iter().any(|(known, _)| Arc::ptr_eq(known, schema))
    }

    /// Learns what rows of a version of a change table mean. The first version of each is looked up in what is known; for any other
    /// the captured table may have changed, and is asked for.
    async fn learn(&mut self, schemas: &[SharedSchema]) -> Result<()> {
        for schema in schemas {
            if self.knows(schema) {
                continue;
            }
            let name = schema.name.qualified();
            let is_another = self.interpretations.iter().any(|(known, _)| known.name == schema.name);
            if is_another || !self.captured.contains_key(&name) {
                self.describe_anew().await?;
            }
            let captured = self.captured.get(&name).ok_or_else(|| {
                Error::definite(
                    "captured_table_gone",
                    format!(
                        "the change table {name} has changes of a table that is not captured any more; \
                         put the table back, or leave its changes: tailrace triggers remove"
                    ),
                )
            })?;
            let interpretation = Interpretation::new(schema, captured)?;
            self.interpretations.retain(|(known, _)| known.name != schema.name);
            self.interpretations.push((Arc::clone(schema), interpretation));
        }
        Ok(())
    }

    async fn describe_anew(&mut self) -> Result<()> {
        let describing = self.describing.get_or_insert_with(|| (self.describe)());
        let described = describing.await;
        self.describing = None;
        self.captured = described?;
        Ok(())
    }

    /// The changes that the rows of a batch tell of. Rows that are deleted or marked were read before.
    fn interpret(&mut self, mut batch: ChangeBatch) -> Result<ChangeBatch> {
        let tables = std::mem::take(&mut batch.tables);
        let transactions = std::mem::take(&mut batch.transactions);
        let rows = std::mem::take(&mut batch.changes);
        for raw in rows {
            let inserted = matches!(raw.operation, Operation::Read | Operation::Create);
            let (Some(row), Some(schema)) = (raw.after.filter(|_| inserted), tables.get(raw.table)) else {
                continue;
            };
            let known = self
                .interpretations
                .iter_mut()
                .find(|(known, _)| Arc::ptr_eq(known, schema));
            let (Some((_, interpretation)), Some(transaction)) = (known, transactions.get(raw.transaction)) else {
                continue;
            };
            let mut change = interpretation.change(&mut batch, row, transaction)?;
            change.log_position = raw.log_position;
            batch.changes.push(change);
        }
        Ok(batch)
    }
}

#[async_trait]
impl Source for ChangeTableSource {
    async fn next_batch(&mut self, budget: Budget) -> Result<ChangeBatch> {
        let schemas = match &self.waiting {
            Some(batch) => batch.tables.clone(),
            None => {
                let batch = self.rows.next_batch(budget).await?;
                let schemas = batch.tables.clone();
                self.waiting = Some(batch);
                schemas
            }
        };
        self.learn(&schemas).await?;
        match self.waiting.take() {
            Some(batch) => self.interpret(batch),
            None => Err(Error::transient(
                "source_lost",
                "a batch of changes was lost on its way; the source is opened again",
            )),
        }
    }

    async fn confirm(&mut self, durable: &Position) -> Result<()> {
        self.rows.confirm(durable).await
    }
}

#[cfg(test)]
mod tests;
