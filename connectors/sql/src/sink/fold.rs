//! What a batch comes to: one effect per key, as steps in an order that constraints bear.
//!
//! ```text
//!   u(k, a=1, big=X) u(k, a=2, big=unchanged)   ▶ upsert k: a=2, big=X        unchanged parts are looked up in the events before
//!   u(k, …) d(k)                                 ▶ delete k
//!   d(k) c(k, …)                                 ▶ delete k, then upsert k     columns that only the table has begin anew
//! ```
//!
//! A step holds rows of one table that have one set of columns, so that it is one statement. Steps are in this order: truncates and
//! deletes, tables that refer to others first; then rows that are added or changed, tables that are referred to first. Keys are
//! distinct, so that for the rows themselves any order is right; where a constraint needs another (a unique value that wanders from row
//! to row), the batch fails, and its halves are tried, down to single events, which are in the order of the source.
//!
//! What cannot be folded (two versions of a table's events for one key, keys of other types, a truncate behind rows) begins a new round, which is done behind the
//! one before.

mod effect;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tailrace_core::batch::{BeforeImage, ChangeView, Operation, Row};
use tailrace_core::ports::sink::EventBatch;
use tailrace_core::value::{Datum, Value};
use tailrace_core::{Error, Result};

use self::effect::{Effect, Kind};
use super::config::{DeleteMode, TruncateMode, WriteConfig, WriteMode};
use super::faults::{half_a_row, key_untold, malformed, no_row};
use super::key::append_key;
use super::plan::{Plan, PlannedColumn};
use super::version;
use super::work::{Action, Place, Step, StepColumn, StepRow};

/// What becomes of one table in one round.
#[derive(Debug)]
struct TableEffects {
    /// The plan by which every row goes first.
    truncated: Option<usize>,
    /// The plan that says of which types the keys are: only those of one type can be told to be the same.
    keyed: Option<usize>,
    effects: Vec<Effect>,
    by_key: HashMap<Vec<u8>, usize>,
}

/// The plans of a batch: what its changes are written by.
#[derive(Debug, Default)]
pub(super) struct Plans {
    /// The plans.
    pub(super) plans: Vec<Arc<Plan>>,
    /// The number of each plan's table.
    pub(super) tables: Vec<usize>,
    /// How far each table is from those that refer to none, by its number.
    pub(super) ranks: Vec<usize>,
    /// The plan of each change, in their order; `None` where there is nothing to be done.
    pub(super) of_changes: Vec<Option<usize>>,
}

/// Folds the events of one batch.
pub(super) struct Fold<'a> {
    batch: &'a EventBatch,
    config: &'a WriteConfig,
    plans: &'a Plans,
    /// By the tables' numbers.
    rounds: Vec<Vec<TableEffects>>,
    key: Vec<u8>,
}

/// What rows of one statement have in common, in the order in which the statements are run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    phase: Phase,
    /// Tables that refer to others come last, and where rows go, first.
    rank: isize,
    plan: usize,
    /// Columns of the plan that the rows do not have.
    unchanged: Vec<usize>,
    /// Of deletes and marks: they say which version they are of.
    has_version: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Truncate,
    Delete,
    Insert,
    Upsert,
    Update,
    Mark,
}

// === impl Plans ===

impl Plans {
    fn plan(&self, index: usize) -> Result<&Arc<Plan>> {
        self.plans.get(index).ok_or_else(malformed)
    }
}

// === impl Fold ===

impl<'a> Fold<'a> {
    /// The steps that a batch comes to.
    ///
    /// # Errors
    /// `Poison` for an event that cannot be written whatever the table holds; definite where the configuration forbids one.
    pub(super) fn steps(batch: &'a EventBatch, config: &'a WriteConfig, plans: &'a Plans) -> Result<Vec<Step<'a>>> {
        let mut fold = Self {
            batch,
            config,
            plans,
            rounds: Vec::new(),
            key: Vec::new(),
        };
        fold.begin_round();
        for (change, plan) in batch.changes.views().zip(&plans.of_changes) {
            if let Some(plan) = plan {
                fold.add(change, *plan)?;
            }
        }
        let mut steps = Vec::new();
        for round in std::mem::take(&mut fold.rounds) {
            fold.finish(round, &mut steps)?;
        }
        Ok(steps)
    }

    fn begin_round(&mut self) {
        let tables = self.plans.ranks.len();
        let share = if self.rounds.is_empty() {
            self.plans.of_changes.len() / tables.max(1)
        } else {
            0
        };
        let effects = |_| TableEffects {
            truncated: None,
            keyed: None,
            effects: Vec::with_capacity(share),
            by_key: HashMap::with_capacity(share),
        };
        self.rounds.push((0..tables).map(effects).collect());
    }

    fn effects(&mut self, plan: usize) -> Result<&mut TableEffects> {
        let table = self.plans.tables.get(plan).copied().ok_or_else(malformed)?;
        let round = self.rounds.last_mut();
        round.and_then(|round| round.get_mut(table)).ok_or_else(malformed)
    }

    fn add(&mut self, change: ChangeView<'_>, plan: usize) -> Result<()> {
        match (change.operation(), self.config.mode) {
            (Operation::Message, _) => Ok(()),
            (_, WriteMode::Append) => self.add_to_history(change, plan),
            (Operation::Truncate, _) => self.truncate(plan),
            (Operation::Delete, _) => self.delete(change, plan),
            (Operation::Read | Operation::Create | Operation::Update, mode) => {
                self.leave_old_key(change, plan)?;
                let kind = match mode {
                    WriteMode::Insert => Kind::Insert,
                    WriteMode::Upsert | WriteMode::Update | WriteMode::Append => Kind::Upsert,
                };
                let row = self.row(change, change.change().after.ok_or_else(no_row)?, Datum::Null)?;
                if kind == Kind::Insert
                    && change.operation() == Operation::Update
                    && !self.unchanged(plan, &row)?.is_empty()
                {
                    return Err(half_a_row());
                }
                self.put(Effect::new(kind, plan, row))
            }
        }
    }

    /// A key that is not the source's own may change with the row: then the row of the old key goes.
    fn leave_old_key(&mut self, change: ChangeView<'_>, plan: usize) -> Result<()> {
        let (Some(before), BeforeImage::Full) = (change.change().before, change.change().before_image) else {
            return Ok(());
        };
        let after = change.change().after.ok_or_else(no_row)?;
        let (before, after) = (self.batch.changes.row(before), self.batch.changes.row(after));
        let is_same = |column: &PlannedColumn| match column.place {
            Place::Cell(cell) => before.get(cell) == after.get(cell),
            Place::Extra(_) => true,
        };
        if self.plans.plan(plan)?.key_columns().all(is_same) {
            return Ok(());
        }
        self.delete(change, plan)
    }

    fn add_to_history(&mut self, change: ChangeView<'_>, plan: usize) -> Result<()> {
        // A truncate has no row to be kept.
        let Some(row) = change.change().after.or(change.change().before) else {
            return Ok(());
        };
        let record = self.row(change, row, Datum::Null)?.record;
        let origin = usize::try_from(record)
            .ok()
            .and_then(|index| self.batch.origins.get(index));
        let origin = origin.ok_or_else(malformed)?;
        let partition = self.batch.partitions.get(origin.partition).ok_or_else(malformed)?;
        let position = change.transaction().map(|transaction| transaction.position.to_string());
        let row = StepRow {
            row,
            before: Vec::new(),
            extra: vec![
                Datum::Text(change.operation().code().to_owned()),
                Datum::Int(change.updated_at_us()),
                position.map_or(Datum::Null, Datum::Text),
                Datum::Text(partition.topic.to_string()),
                Datum::Int(partition.partition.into()),
                Datum::Int(origin.offset),
            ],
            record,
        };
        self.effects(plan)?.effects.push(Effect::new(Kind::Insert, plan, row));
        Ok(())
    }

    fn truncate(&mut self, plan: usize) -> Result<()> {
        if self.config.truncates == TruncateMode::Halt {
            let name = self.plans.plan(plan)?.table.name().qualified();
            let message = format!(
                "the source's table was truncated, and `truncates: halt` keeps table {name} from it; set `truncates: apply` or `ignore` \
                 and restart"
            );
            return Err(Error::definite("truncate_refused", message));
        }
        if !self.effects(plan)?.effects.is_empty() {
            self.begin_round();
        }
        self.effects(plan)?.truncated = Some(plan);
        Ok(())
    }

    fn delete(&mut self, change: ChangeView<'_>, plan: usize) -> Result<()> {
        let kind = match self.config.deletes {
            DeleteMode::Hard => Kind::Delete,
            DeleteMode::Soft => Kind::Mark,
            DeleteMode::Ignore => return Ok(()),
        };
        let known = change.change().before_image != BeforeImage::None;
        let before = change.change().before.filter(|_| known);
        let before = before.ok_or_else(|| {
            let message =
                "a delete says nothing of the row that was deleted, not even its key; give the source's table a key";
            Error::poison("key_missing", message)
        })?;
        if self.plans.plan(plan)?.key.is_empty() {
            let message = "a delete of a table without a key says not which row; name the columns with `key`";
            return Err(Error::poison("key_missing", message));
        }
        let is_key_alone = change.change().before_image == BeforeImage::Key;
        let known = change.table().map(|table| table.key.as_slice()).unwrap_or_default();
        let is_told = |column: &PlannedColumn| matches!(column.place, Place::Cell(cell) if known.contains(&cell));
        if is_key_alone && !self.plans.plan(plan)?.key_columns().all(is_told) {
            return Err(key_untold());
        }
        let row = self.row(change, before, Datum::Int(change.updated_at_us()))?;
        self.put(Effect {
            is_key_alone,
            ..Effect::new(kind, plan, row)
        })
    }

    fn row(&self, change: ChangeView<'_>, row: Row, deleted_at: Datum) -> Result<StepRow> {
        let mut extra = Vec::new();
        if super::plan::soft_delete_column(self.config).is_some() || super::plan::is_guarded_by_position(self.config) {
            extra = vec![deleted_at, self.position(change)?];
        }
        Ok(StepRow {
            row,
            before: Vec::new(),
            extra,
            record: change.change().ordinal,
        })
    }

    fn position(&self, change: ChangeView<'_>) -> Result<Datum> {
        if !super::plan::is_guarded_by_position(self.config) {
            return Ok(Datum::Null);
        }
        let place = version::place(change).ok_or_else(|| {
            let position = change.transaction().map_or("", |transaction| &*transaction.position);
            let message = format!(
                "the event's position `{position}` has no order (a global transaction identifier has none), so that it cannot guard \
                 versions; publish with `envelope: debezium`, which says file and offset of the binary log too, or name a column that \
                 grows with each version in `version_guard`"
            );
            Error::definite("position_unordered", message)
        })?;
        Ok(Datum::Text(place))
    }

    fn append_key(&self, plan: usize, row: Row, key: &mut Vec<u8>) -> Result<()> {
        let columns = self.plans.plan(plan)?.key_columns();
        append_key(&self.batch.changes, row, columns, key)
    }

    /// Whether keys of two plans of a table are of the same types.
    fn have_same_keys(&self, plan: usize, other: usize) -> Result<bool> {
        let types = |plan: &'a Plan| plan.key_columns().map(|column| &column.source.logical_type);
        Ok(types(self.plans.plan(plan)?).eq(types(self.plans.plan(other)?)))
    }

    /// Adds what becomes of a key to what becomes of it so far.
    fn put(&mut self, effect: Effect) -> Result<()> {
        let plan = effect.plan;
        if let Some(other) = self.effects(plan)?.keyed
            && other != plan
            && !self.have_same_keys(plan, other)?
        {
            self.begin_round();
        }
        self.effects(plan)?.keyed.get_or_insert(plan);
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        self.append_key(plan, effect.row.row, &mut key)?;
        let known = if key.is_empty() {
            None
        } else {
            self.effects(plan)?.by_key.get(&key).copied()
        };
        let left = match known {
            Some(index) => {
                let batch = self.batch;
                let plans = self.plans;
                let present = self.effects(plan)?.effects.get_mut(index).ok_or_else(malformed)?;
                present.join(effect, &batch.changes, plans)?
            }
            None => Some(effect),
        };
        if let Some(effect) = left {
            if known.is_some() {
                self.begin_round();
            }
            let effects = self.effects(plan)?;
            if !key.is_empty() {
                effects.by_key.insert(key.clone(), effects.effects.len());
            }
            effects.effects.push(effect);
        }
        self.key = key;
        Ok(())
    }

    // --- steps

    fn finish(&self, round: Vec<TableEffects>, steps: &mut Vec<Step<'a>>) -> Result<()> {
        let mut groups: BTreeMap<Group, Vec<StepRow>> = BTreeMap::new();
        for effects in round {
            if let Some(plan) = effects.truncated {
                groups
                    .entry(self.group(Phase::Truncate, plan, Vec::new())?)
                    .or_default();
            }
            for effect in effects.effects {
                let Effect {
                    kind, plan, ref row, ..
                } = effect;
                let unchanged = match kind {
                    Kind::Delete | Kind::Mark => Vec::new(),
                    Kind::Replace | Kind::Insert | Kind::Upsert => self.unchanged(plan, row)?,
                };
                if kind == Kind::Replace {
                    let gone = self.group_of_gone(Phase::Delete, &effect)?;
                    groups.entry(gone).or_default().push(row.clone());
                }
                let phase = match kind {
                    Kind::Delete => Phase::Delete,
                    Kind::Mark => Phase::Mark,
                    Kind::Insert => Phase::Insert,
                    Kind::Replace | Kind::Upsert if !unchanged.is_empty() || self.config.mode == WriteMode::Update => {
                        Phase::Update
                    }
                    Kind::Replace | Kind::Upsert => Phase::Upsert,
                };
                let group = match phase {
                    Phase::Delete | Phase::Mark => self.group_of_gone(phase, &effect)?,
                    _ => self.group(phase, plan, unchanged)?,
                };
                groups.entry(group).or_default().push(effect.row);
            }
        }
        for (group, rows) in groups {
            steps.push(self.step(&group, rows)?);
        }
        Ok(())
    }

    fn group(&self, phase: Phase, plan: usize, unchanged: Vec<usize>) -> Result<Group> {
        let table = self.plans.tables.get(plan).ok_or_else(malformed)?;
        let rank = self.plans.ranks.get(*table).copied().unwrap_or_default();
        let rank = isize::try_from(rank).unwrap_or(isize::MAX);
        Ok(Group {
            phase,
            rank: if matches!(phase, Phase::Truncate | Phase::Delete) {
                -rank
            } else {
                rank
            },
            plan,
            unchanged,
            has_version: false,
        })
    }

    /// A source that says of a deleted row nothing but its key does not say which version that was.
    fn group_of_gone(&self, phase: Phase, effect: &Effect) -> Result<Group> {
        let known: &Plan = self.plans.plan(effect.plan)?;
        let column = known.guard.and_then(|index| known.columns.get(index));
        let guard = column.or(known.extras.position.as_ref());
        let batch = &self.batch.changes;
        Ok(Group {
            has_version: guard.is_some_and(|guard| !effect.is_silent(guard.version(effect, batch), column.is_some())),
            ..self.group(phase, effect.plan, Vec::new())?
        })
    }

    /// The columns that the whole batch does not have for a row.
    fn unchanged(&self, plan: usize, row: &StepRow) -> Result<Vec<usize>> {
        if !self.batch.changes.has_unchanged() {
            return Ok(Vec::new());
        }
        let columns = self.plans.plan(plan)?.columns.iter().enumerate();
        let values = row.values(&self.batch.changes);
        let is_unchanged = |column: &PlannedColumn| matches!(values.get(column.place), Value::Unchanged);
        Ok(columns
            .filter(|(_, column)| is_unchanged(column))
            .map(|(index, _)| index)
            .collect())
    }

    fn step(&self, group: &Group, rows: Vec<StepRow>) -> Result<Step<'a>> {
        let plan: &'a Plan = self.plans.plan(group.plan)?;
        let with_values = !matches!(group.phase, Phase::Truncate | Phase::Delete);
        let has_version = match group.phase {
            Phase::Truncate => false,
            Phase::Delete | Phase::Mark => group.has_version,
            Phase::Insert | Phase::Upsert | Phase::Update => true,
        };
        let mut columns: Vec<StepColumn<'a>> = Vec::new();
        let (mut key, mut guard) = (Vec::new(), None);
        for (index, column) in plan.columns.iter().enumerate() {
            let is_key = plan.key.contains(&index);
            let is_written = match group.phase {
                Phase::Truncate => false,
                Phase::Delete | Phase::Mark => is_key || (has_version && plan.guard == Some(index)),
                Phase::Insert | Phase::Upsert | Phase::Update => !group.unchanged.contains(&index),
            };
            if !is_written {
                continue;
            }
            if is_key {
                key.push(columns.len());
            }
            if plan.guard == Some(index) && has_version {
                guard = Some(columns.len());
            }
            columns.push(step_column(column));
        }
        if with_values || (group.phase == Phase::Truncate && self.config.deletes == DeleteMode::Soft) {
            columns.extend(
                plan.extras
                    .history
                    .iter()
                    .chain(&plan.extras.deleted_at)
                    .map(step_column),
            );
        }
        if let Some(position) = plan.extras.position.as_ref().filter(|_| has_version) {
            guard = Some(columns.len());
            columns.push(step_column(position));
        }
        let is_checked = !matches!(group.phase, Phase::Truncate | Phase::Insert);
        Ok(Step {
            table: &plan.table,
            action: self.action(group.phase, plan, guard),
            columns,
            key,
            guard: guard.filter(|_| is_checked),
            rows,
            batch: &self.batch.changes,
        })
    }

    fn action(&self, phase: Phase, plan: &Plan, guard: Option<usize>) -> Action {
        match phase {
            Phase::Truncate => Action::Truncate,
            Phase::Delete => Action::Delete,
            Phase::Insert => Action::Insert,
            Phase::Upsert => Action::Upsert,
            Phase::Update => Action::Update {
                must_exist: self.config.mode != WriteMode::Update,
            },
            // What comes late must find that the row is deleted, also where it never was here.
            Phase::Mark if guard.is_some() && plan.key_is_enough && self.config.mode != WriteMode::Update => {
                Action::Upsert
            }
            Phase::Mark => Action::Update { must_exist: false },
        }
    }
}

fn step_column(column: &PlannedColumn) -> StepColumn<'_> {
    StepColumn {
        target: column.target,
        source: &column.source,
        place: column.place,
    }
}

#[cfg(test)]
mod tests;
