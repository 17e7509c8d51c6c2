//! Rows of a table version, written anew.

use std::sync::Arc;

use super::cast::CastType;
use super::plan::{self, Content, Rewrite};
use super::{full, key_of};
use crate::batch::{BatchFull, BeforeImage, Change, ChangeBatch, Refusal, Row};
use crate::error::Result;
use crate::schema::{Column, TableSchema};
use crate::value::{LogicalType, Value};

/// The code of a change with a value that cannot be cast.
const CAST_IMPOSSIBLE: &str = "cast_impossible";

/// A row as it was written anew.
struct Rewritten {
    row: Option<Row>,
    /// Columns of it whose values cannot be cast, and are as they were.
    uncast: Vec<usize>,
}

// === impl Rewrite ===

impl Rewrite {
    /// Writes the rows of a change anew. Where a value cannot be cast the change stays in its place, refused: it has the columns that it
    /// should have, but for those that cannot be cast, which are as they were. So it waits in front of later changes of its key, nothing
    /// that is masked or left out is set aside with it, and it can be cast once more when it is sent again.
    pub(super) fn rewrite(&self, change: &mut Change, batch: &mut ChangeBatch) -> Result<()> {
        let after = self.row(change.after, &[], batch)?;
        let mut before = self.row(change.before, &[], batch)?;
        if self.is_key_enough(change, &before.uncast)
            && let Some(row) = change.before
        {
            // Else nobody could be told of a row that was mended, or deleted.
            change.before = Some(key_of(change.table, row, batch)?);
            change.before_image = BeforeImage::Key;
            before = self.row(change.before, &[], batch)?;
        }
        let mut uncast = after.uncast;
        uncast.extend(before.uncast);
        if !uncast.is_empty() {
            return self.refuse(change, &uncast, batch);
        }
        change.table = batch.table_index(&self.schema);
        change.after = after.row;
        change.before = before.row;
        Ok(())
    }

    /// What cannot be cast is in the row before alone, and outside of its key.
    fn is_key_enough(&self, change: &Change, uncast: &[usize]) -> bool {
        let key = &self.schema.key;
        change.before_image == BeforeImage::Full
            && !uncast.is_empty()
            && !key.is_empty()
            && !uncast.iter().any(|column| key.contains(column))
    }

    /// Both rows of the change have the same columns, so that what cannot be cast in one of them is not cast in the other.
    fn refuse(&self, change: &mut Change, uncast: &[usize], batch: &mut ChangeBatch) -> Result<()> {
        let refusal = self.refusal(change, uncast, batch);
        change.after = self.row(change.after, uncast, batch)?.row;
        change.before = self.row(change.before, uncast, batch)?.row;
        change.table = table_index(self.schema_without(uncast), batch);
        if let (Some(row), Some(refusal)) = (change.after.or(change.before), refusal) {
            batch.refuse_row(row, refusal);
        }
        Ok(())
    }

    #[cold]
    fn refusal(&self, change: &Change, uncast: &[usize], batch: &ChangeBatch) -> Option<Refusal> {
        let mut contents = uncast.iter().filter_map(|column| self.columns.get(*column));
        let (from, to) = contents.find_map(|plan| match &plan.content {
            Content::Cast(from, to) => Some((from, to)),
            Content::Copied | Content::Masked(_) => None,
        })?;
        let transaction = batch.transactions.get(change.transaction);
        let position = transaction.map_or("", |transaction| &*transaction.position);
        let place = if position.is_empty() {
            String::new()
        } else {
            format!(", in a change at {position},")
        };
        Some(Refusal {
            code: CAST_IMPOSSIBLE,
            reason: format!(
                "the value of column {} of table {}{place} has no equal of type {to}, which `transforms` cast it to, and is not rounded or \
                 cut; mend the row, or cast the column to a type that holds its values (text holds all)",
                from.name,
                self.schema.name.qualified()
            ),
        })
    }

    /// What rows look like in which these columns are not cast.
    fn schema_without(&self, uncast: &[usize]) -> TableSchema {
        let columns = self.schema.columns.iter().zip(&self.columns).enumerate();
        let columns = columns.map(|(position, (column, plan))| match &plan.content {
            Content::Cast(from, _) if uncast.contains(&position) => Column {
                name: column.name.clone(),
                ..from.clone()
            },
            _ => column.clone(),
        });
        TableSchema {
            columns: columns.collect(),
            ..TableSchema::clone(&self.schema)
        }
    }

    fn row(&self, row: Option<Row>, uncast: &[usize], batch: &mut ChangeBatch) -> Result<Rewritten> {
        let mut rewritten = Rewritten {
            row: None,
            uncast: Vec::new(),
        };
        let Some(row) = row else {
            return Ok(rewritten);
        };
        batch.begin_row().map_err(full)?;
        for (position, column) in self.columns.iter().enumerate() {
            match &column.content {
                Content::Masked(mask) => plan::push_masked(mask, row, column.index, batch).map_err(full)?,
                Content::Cast(from, to) if !uncast.contains(&position) => {
                    let is_cast = push_cast(*to, &from.logical_type, (row, column.index), batch).map_err(full)?;
                    if !is_cast {
                        rewritten.uncast.push(position);
                    }
                }
                Content::Copied | Content::Cast(..) => batch.push_copy(row, column.index),
            }
        }
        rewritten.row = Some(batch.end_row().map_err(full)?);
        Ok(rewritten)
    }
}

/// Pushes a cell as another type; as it is where it cannot be, which is false then. NULL and unchanged values stay what they are.
fn push_cast(
    to: CastType,
    from: &LogicalType,
    (row, column): (Row, usize),
    batch: &mut ChangeBatch,
) -> Result<bool, BatchFull> {
    let cast = match batch.row(row).get(column) {
        Value::Null | Value::Unchanged => {
            batch.push_copy(row, column);
            return Ok(true);
        }
        value => to.convert(value, from),
    };
    match &cast {
        Some(cast) => batch.push_datum(cast)?,
        None => batch.push_copy(row, column),
    }
    Ok(cast.is_some())
}

/// Index of a table version that is made anew for each change that needs it.
fn table_index(schema: TableSchema, batch: &mut ChangeBatch) -> usize {
    let known = batch.tables.iter().position(|known| **known == schema);
    known.unwrap_or_else(|| batch.table_index(&Arc::new(schema)))
}
