//! What happens to changes at the border: tables and columns in or out, renamed, cast, masked, filtered, routed.
//!
//! Rules are compiled once per table version into a [`plan::TablePlan`]; a table that no rule touches costs nothing but
//! the look-up of its updated-at column. Semantics that are easy to get wrong, and decided here:
//!
//! - A row that an update moves *out* of a row filter becomes a delete of its key: whoever holds it must not keep it. One that is
//!   moved *in* becomes a create where the log has the row before; else it stays an update, because it may have been in.
//! - A row filter that cannot be decided (the column is an unchanged large value) lets the row through: never lose.
//! - A column of the key cannot be left out; it can be masked or cast, the same way in key and value.
//! - A value that cannot be cast makes its change one that cannot be carried, and halts nothing by itself: the change stays in its batch,
//!   refused ([`ChangeBatch::refused`]). Of the row before a change the key is enough, so that a row can be mended and deleted.
//! - A change that is an event already (a row of an outbox) may be left out or sent elsewhere; rules that change its columns are
//!   refused, because its payload was taken from them before.
//! - Ordinals are counted before any filter, so that `event_id` does not depend on the rules.

mod cast;
pub mod config;
mod plan;
mod rewrite;
mod targets;

use std::sync::Arc;

use crate::batch::{BatchFull, BeforeImage, Change, ChangeBatch, Operation, Row};
use crate::error::{Error, Result};
use crate::schema::SharedSchema;
pub use config::{Mask, Rule, TransformConfig};
use plan::{Content, Rewrite, RulePlan, TablePlan};
pub use targets::TargetsBefore;

/// The compiled rules of one connector.
pub struct Transform {
    rules: Vec<RulePlan>,
    updated_at_column: Option<String>,
    plans: Vec<(SharedSchema, Arc<TablePlan>)>,
}

/// Table versions in use at a time before the oldest plans are forgotten.
const PLANS_KEPT: usize = 4096;

// === impl Transform ===

impl Transform {
    /// Compiles the rules; an invalid pattern or an impossible combination is refused here, before anything runs.
    pub fn new(config: &TransformConfig, updated_at_column: Option<String>) -> Result<Self> {
        Ok(Self {
            rules: config.rules.iter().map(RulePlan::compile).collect::<Result<_>>()?,
            updated_at_column,
            plans: Vec::new(),
        })
    }

    /// The schema that events of a table will have; `None` where the table is left out. Of a table, and not of what is said of one row: every
    /// column that a row filter names must be there.
    pub fn describe(&mut self, schema: &SharedSchema) -> Result<Option<SharedSchema>> {
        let plan = self.plan(schema)?;
        Ok(match &*plan {
            TablePlan::Drop => None,
            TablePlan::Keep { .. } => Some(Arc::clone(schema)),
            TablePlan::Rewrite(rewrite) => {
                rewrite.check_conditions()?;
                Some(Arc::clone(&rewrite.schema))
            }
        })
    }

    /// The topic that a rule sends a table's events to, where one does.
    pub fn route(&mut self, schema: &SharedSchema) -> Result<Option<Arc<str>>> {
        let plan = self.plan(schema)?;
        Ok(match &*plan {
            TablePlan::Rewrite(rewrite) => rewrite.topic.clone(),
            TablePlan::Drop | TablePlan::Keep { .. } => None,
        })
    }

    /// For each column of a table's events, the column of the table that it is; `None` inside where something stands in place of its
    /// values, and altogether where the table is left out.
    pub fn origins(&mut self, schema: &SharedSchema) -> Result<Option<Vec<Option<usize>>>> {
        let plan = self.plan(schema)?;
        Ok(match &*plan {
            TablePlan::Drop => None,
            TablePlan::Keep { .. } => Some((0..schema.columns.len()).map(Some).collect()),
            TablePlan::Rewrite(rewrite) => {
                let columns = rewrite.columns.iter();
                Some(
                    columns
                        .map(|column| matches!(column.content, Content::Copied).then_some(column.index))
                        .collect(),
                )
            }
        })
    }

    /// True where a rule leaves out, renames, casts or masks columns of a table.
    pub fn alters_rows(&mut self, schema: &SharedSchema) -> Result<bool> {
        let plan = self.plan(schema)?;
        Ok(matches!(&*plan, TablePlan::Rewrite(rewrite) if rewrite.alters_rows))
    }

    /// Applies the rules to every change, in place. Returns how many changes were left out; one with a value that cannot be cast is not
    /// among them, but is refused in its place.
    pub fn apply(&mut self, batch: &mut ChangeBatch) -> Result<u64> {
        let tables = batch.tables.clone();
        let plans = self.plans_of(&tables, batch)?;
        if plans.iter().all(|plan| matches!(**plan, TablePlan::Keep { .. })) {
            keep_all(&plans, batch);
            return Ok(0);
        }
        let mut left_out = 0;
        for change in std::mem::take(&mut batch.changes) {
            let Some(plan) = plans.get(change.table) else {
                let message = "a change names a table that its batch does not have";
                return Err(Error::definite("batch_malformed", message));
            };
            match apply_plan(plan, change, batch)? {
                Some(change) => batch.changes.push(change),
                None => left_out += 1,
            }
        }
        Ok(left_out)
    }

    /// Casts with the rules of now what is not cast yet of changes that the rules were applied to before, as letters hold them. A value
    /// that still cannot be cast refuses its change again.
    pub fn cast_again(&self, batch: &mut ChangeBatch) -> Result<()> {
        let plans = batch.tables.iter().map(|table| Rewrite::of_casts(table, &self.rules));
        let plans: Vec<_> = plans.collect::<Result<_>>()?;
        let mut changes = std::mem::take(&mut batch.changes);
        for change in &mut changes {
            if let Some(Some(rewrite)) = plans.get(change.table) {
                rewrite.rewrite(change, batch)?;
            }
        }
        batch.changes = changes;
        Ok(())
    }

    /// The plan of each table that has changes. The others may be of rows as they were before rules of somebody else, which these
    /// are not for.
    fn plans_of(&mut self, tables: &[SharedSchema], batch: &ChangeBatch) -> Result<Vec<Arc<TablePlan>>> {
        let mut has_changes = vec![false; tables.len()];
        for change in &batch.changes {
            if let Some(has_changes) = has_changes.get_mut(change.table) {
                *has_changes = true;
            }
        }
        let plans = tables.iter().zip(has_changes);
        plans
            .map(|(table, has_changes)| match has_changes {
                true => self.plan(table),
                false => Ok(Arc::new(TablePlan::Keep { updated_at: None })),
            })
            .collect()
    }

    fn plan(&mut self, schema: &SharedSchema) -> Result<Arc<TablePlan>> {
        if let Some((_, plan)) = self.plans.iter().find(|(known, _)| Arc::ptr_eq(known, schema)) {
            return Ok(Arc::clone(plan));
        }
        let plan = Arc::new(TablePlan::compile(
            schema,
            &self.rules,
            self.updated_at_column.as_deref(),
        )?);
        if self.plans.len() >= PLANS_KEPT {
            self.plans.clear();
        }
        self.plans.push((Arc::clone(schema), Arc::clone(&plan)));
        Ok(plan)
    }
}

/// No rule touches any table of the batch: only the rows' own updated-at is looked up, in place.
fn keep_all(plans: &[Arc<TablePlan>], batch: &mut ChangeBatch) {
    let column = |change: &Change| match plans.get(change.table).map(|plan| &**plan) {
        Some(TablePlan::Keep { updated_at }) => *updated_at,
        _ => None,
    };
    let mut changes = std::mem::take(&mut batch.changes);
    for change in &mut changes {
        let own = column(change).and_then(|column| plan::updated_at_us(batch, change, column));
        // Without a column of its own the change keeps what its source knows.
        change.updated_at_us = own.or(change.updated_at_us);
    }
    batch.changes = changes;
}

fn apply_plan(plan: &TablePlan, mut change: Change, batch: &mut ChangeBatch) -> Result<Option<Change>> {
    match plan {
        TablePlan::Drop => Ok(None),
        TablePlan::Keep { updated_at } => {
            let own = updated_at.and_then(|column| plan::updated_at_us(batch, &change, column));
            change.updated_at_us = own.or(change.updated_at_us);
            Ok(Some(change))
        }
        TablePlan::Rewrite(rewrite) => {
            let own = rewrite
                .updated_at
                .and_then(|column| plan::updated_at_us(batch, &change, column));
            change.updated_at_us = own.or(change.updated_at_us);
            if !filter(rewrite, &mut change, batch)? {
                return Ok(None);
            }
            if change.message.is_some() {
                return route_message(rewrite, change).map(Some);
            }
            rewrite.rewrite(&mut change, batch)?;
            change.topic.clone_from(&rewrite.topic);
            Ok(Some(change))
        }
    }
}

/// The refusal of rules that change columns of a table whose rows are events already.
pub fn alters_messages(schema: &SharedSchema) -> Error {
    Error::definite(
        "transform_invalid",
        format!(
            "a rule of `transforms` changes columns of {}, whose rows are read by `outbox` and published as they say; \
             take the rule away, or leave the table out of its `tables`",
            schema.name.qualified()
        ),
    )
}

/// Of a change that is an event already the row was read before: rules may leave it out or send it elsewhere.
fn route_message(rewrite: &Rewrite, mut change: Change) -> Result<Change> {
    if rewrite.alters_rows {
        return Err(alters_messages(&rewrite.schema));
    }
    if rewrite.topic.is_some() {
        change.topic.clone_from(&rewrite.topic);
    }
    Ok(change)
}

/// Decides whether a change stays; turns an update that leaves the filter into a delete, and one that enters it into a create.
fn filter(rewrite: &Rewrite, change: &mut Change, batch: &mut ChangeBatch) -> Result<bool> {
    if rewrite.conditions.is_empty() {
        return Ok(true);
    }
    if change.after.is_some() {
        rewrite.check_conditions()?;
    }
    let keeps = |row: Row| {
        rewrite
            .conditions
            .iter()
            .all(|condition| condition.holds(batch.row(row)))
    };
    let full_before = change.before.filter(|_| change.before_image == BeforeImage::Full);
    let was_kept = full_before.map(keeps);
    match (change.operation, change.after) {
        (Operation::Update, Some(after)) => match (was_kept, keeps(after)) {
            (Some(false), false) => Ok(false),
            (Some(false), true) => {
                enter(change);
                Ok(true)
            }
            (Some(true) | None, true) => Ok(true),
            (Some(true) | None, false) => {
                leave(change, after, batch)?;
                Ok(true)
            }
        },
        (_, Some(after)) => Ok(keeps(after)),
        (Operation::Delete, None) => Ok(was_kept.unwrap_or(true)),
        (_, None) => Ok(true),
    }
}

/// The row entered the filter: nobody has seen it before, and nobody may see what it was before.
fn enter(change: &mut Change) {
    change.operation = Operation::Create;
    change.before = None;
    change.before_image = BeforeImage::None;
}

/// The row left the filter: a delete of the key under which it was known. What the row is now is nobody's business.
fn leave(change: &mut Change, after: Row, batch: &mut ChangeBatch) -> Result<()> {
    change.operation = Operation::Delete;
    if change.before.is_none() {
        change.before = Some(key_of(change.table, after, batch)?);
        change.before_image = BeforeImage::Key;
    }
    change.after = None;
    Ok(())
}

/// A row of the key's columns alone.
fn key_of(table: usize, row: Row, batch: &mut ChangeBatch) -> Result<Row> {
    let schema = batch.tables.get(table).map(Arc::clone);
    let schema = schema
        .ok_or_else(|| Error::definite("batch_invalid", "a change names a table that its batch does not have"))?;
    batch.begin_row().map_err(full)?;
    for index in 0..schema.columns.len() {
        if schema.key.contains(&index) {
            batch.push_copy(row, index);
        } else {
            batch.push_null();
        }
    }
    batch.end_row().map_err(full)
}

fn full(error: BatchFull) -> Error {
    Error::definite("batch_full", error.to_string())
}

#[cfg(test)]
mod tests;
