//! Reading change tables: rows of a polled table, or of a log, become the changes that they tell of.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tailrace_core::batch::{ChangeBatch, Operation};
use tailrace_core::ports::{Budget, Source};
use tailrace_core::position::Position;
use tailrace_core::schema::SharedSchema;
use tailrace_core::{Error, Result};
use tokio::time::Instant;

use super::interpret::Interpretation;

/// The captured tables as they are now, by the qualified names of their change tables.
pub type CapturedTables = HashMap<String, CapturedVersion>;

/// A captured table as it is now.
#[derive(Debug, Clone)]
pub struct CapturedVersion {
    /// Columns and key.
    pub schema: SharedSchema,
    /// The fingerprint of a trigger that is made for it.
    pub version: String,
}

/// Rows of another version than the table's are what is left from before a change of the table, or the first ones after it. Which of the
/// two is found out no more often than this.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Asks the database for the captured tables as they are now.
pub type Describe = Box<dyn Fn() -> BoxFuture<'static, Result<CapturedTables>> + Send + Sync>;

/// A source whose rows are those of change tables, as a source of the captured tables' changes.
///
/// A captured table is looked at again when a new version of its change table comes along, or a row of another version of the table:
/// both are what `tailrace triggers diff` makes of a change of the table.
pub struct ChangeTableSource {
    rows: Box<dyn Source>,
    describe: Describe,
    captured: CapturedTables,
    /// By the version of the change table; the pointer is kept, so that no other version gets its address.
    interpretations: Vec<(SharedSchema, Interpretation)>,
    /// A batch that waits until the captured tables were looked at: a call that is dropped meanwhile must not lose it.
    waiting: Option<ChangeBatch>,
    describing: Option<BoxFuture<'static, Result<CapturedTables>>>,
    /// When the tables were last looked at because of a row of another version.
    asked: Option<Instant>,
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
            asked: None,
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
            let interpretation = Interpretation::new(schema, &captured.schema)?;
            self.interpretations.retain(|(known, _)| known.name != schema.name);
            self.interpretations.push((Arc::clone(schema), interpretation));
        }
        Ok(())
    }

    /// Looks at the captured tables again where a row of the waiting batch is of another version than they were.
    async fn follow(&mut self, schemas: &[SharedSchema]) -> Result<()> {
        let is_soon = self.asked.is_some_and(|asked| asked.elapsed() < ASK_AGAIN);
        if self.describing.is_none() && (is_soon || !self.has_other_version()) {
            return Ok(());
        }
        self.describe_anew().await?;
        self.asked = Some(Instant::now());
        for schema in schemas {
            let Some(captured) = self.captured.get(&schema.name.qualified()) else {
                continue;
            };
            let interpretation = Interpretation::new(schema, &captured.schema)?;
            self.interpretations.retain(|(known, _)| !Arc::ptr_eq(known, schema));
            self.interpretations.push((Arc::clone(schema), interpretation));
        }
        Ok(())
    }

    fn has_other_version(&self) -> bool {
        let Some(batch) = &self.waiting else {
            return false;
        };
        batch.views().any(|view| {
            let (Some(schema), Some(row)) = (view.table(), view.after()) else {
                return false;
            };
            let known = self
                .interpretations
                .iter()
                .find(|(known, _)| Arc::ptr_eq(known, schema));
            let version = known.and_then(|(_, interpretation)| interpretation.version(row));
            let now = self.captured.get(&schema.name.qualified());
            version.is_some_and(|version| now.is_some_and(|now| now.version != version))
        })
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
        self.follow(&schemas).await?;
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
