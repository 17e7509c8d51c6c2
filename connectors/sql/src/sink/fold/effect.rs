//! What the events of one key come to, and which of two is the newer.

use tailrace_core::Result;
use tailrace_core::batch::ChangeBatch;
use tailrace_core::value::Value;

use super::Plans;
use crate::sink::plan::{Plan, PlannedColumn};
use crate::sink::version;
use crate::sink::work::StepRow;

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is gone.
    Delete,
    /// It was gone, and is there again.
    Replace,
    /// It is added.
    Insert,
    /// It is there, with these values.
    Upsert,
    /// It is marked as deleted; nothing else is known of it.
    Mark,
}

/// What becomes of one key, or of one row without one.
#[derive(Debug)]
pub(super) struct Effect {
    pub(super) kind: Kind,
    pub(super) plan: usize,
    pub(super) row: StepRow,
    /// It says nothing of the row but its key.
    pub(super) is_key_alone: bool,
}

// === impl Effect ===

impl Effect {
    pub(super) fn new(kind: Kind, plan: usize, row: StepRow) -> Self {
        let is_key_alone = false;
        Self {
            kind,
            plan,
            row,
            is_key_alone,
        }
    }

    /// What is gone may say nothing of its version, which is not the version NULL; a column of it means nothing where only the key does.
    pub(super) fn is_silent(&self, version: Value<'_>, is_in_column: bool) -> bool {
        matches!(version, Value::Null | Value::Unchanged) || (self.is_key_alone && is_in_column)
    }

    /// Takes a later event of the same key in; gives it back where the two cannot be one.
    pub(super) fn join(&mut self, later: Self, batch: &ChangeBatch, plans: &Plans) -> Result<Option<Self>> {
        // What is added must not be there, whatever was done before.
        if later.kind == Kind::Insert {
            return Ok(Some(later));
        }
        let same_plan = later.plan == self.plan;
        if is_older(plans.plan(self.plan)?, &later, self, batch) {
            return Ok(None);
        }
        match (self.kind, later.kind) {
            (_, Kind::Delete) => *self = later,
            (Kind::Delete, Kind::Upsert) => {
                *self = Self {
                    kind: Kind::Replace,
                    ..later
                };
            }
            (Kind::Upsert | Kind::Insert | Kind::Replace, Kind::Mark) => self.row.extra = later.row.extra,
            (Kind::Delete, Kind::Mark) => {}
            (Kind::Mark, Kind::Mark | Kind::Upsert) => *self = later,
            _ if !same_plan => return Ok(Some(later)),
            (kind, _) => {
                let mut before = Vec::new();
                if batch.row(later.row.row).iter().any(|value| value == Value::Unchanged) {
                    before.push(self.row.row);
                    before.append(&mut self.row.before);
                }
                *self = Self { kind, ..later };
                self.row.before = before;
            }
        }
        Ok(None)
    }
}

/// A later event of a partition that was read late may hold an older version. Every plan has its position in one place; a column is where it is
/// in rows of the same plan.
fn is_older(plan: &Plan, later: &Effect, present: &Effect, batch: &ChangeBatch) -> bool {
    let column = plan.guard.filter(|_| later.plan == present.plan);
    let column = column.and_then(|index| plan.columns.get(index));
    let Some(guard) = column.or(plan.extras.position.as_ref()) else {
        return false;
    };
    let (newer, older) = (guard.version(later, batch), guard.version(present, batch));
    let is_silent = |effect: &Effect, version: Value<'_>| {
        matches!(effect.kind, Kind::Delete | Kind::Mark) && effect.is_silent(version, column.is_some())
    };
    if is_silent(later, newer) || is_silent(present, older) {
        return false;
    }
    version::compare(&guard.source.logical_type, newer, older) == Some(std::cmp::Ordering::Less)
}

impl PlannedColumn {
    /// The version of a row, where the column is its guard.
    pub(super) fn version<'b>(&'b self, effect: &'b Effect, batch: &'b ChangeBatch) -> Value<'b> {
        effect.row.values(batch).get(self.place)
    }
}
