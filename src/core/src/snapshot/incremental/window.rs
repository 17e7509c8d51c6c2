//! One window: the keys that the log names while rows are read, and what is left of the rows.

use std::collections::{HashMap, HashSet};

use crate::batch::{ChangeBatch, Operation};
use crate::error::Error;
use crate::ports::Window;
use crate::position::Position;
use crate::schema::SharedSchema;
use crate::snapshot::keys::{self, KeyBytes, Touched};

/// A few megabytes of keys: a read that takes longer than that is begun anew.
const KEYS_MAXIMUM: usize = 65_536;
/// So often rows are read again because a change did not say which row it is of.
const UNKNOWN_MAXIMUM: u32 = 8;

/// What is known of a window that is not over.
pub(super) struct OpenWindow {
    table: String,
    noted: Noted,
    /// The table was emptied.
    truncated: bool,
    /// The version of the table that the last change had.
    version: Option<SharedSchema>,
    /// A change did not say which row it is of.
    unknown: bool,
    unknown_so_far: u32,
    /// The version in which rows were read that were then read again.
    read_before: Option<SharedSchema>,
}

enum Noted {
    /// The rows are on their way.
    Keys(HashSet<KeyBytes>),
    /// They have come.
    Rows(Box<Come>),
    /// They must be read again.
    Nothing,
}

/// Rows that have come; those that the log has named since the window began are marked.
struct Come {
    window: Window,
    places: HashMap<KeyBytes, usize>,
    named: Vec<bool>,
}

/// What came of rows that have come.
pub(super) enum Arrival {
    Noted,
    /// A row has no key.
    Keyless(Error),
}

/// What becomes of a window that is over.
pub(super) enum Verdict {
    /// The rows that are left, and how many were read.
    Rows(Box<Window>, usize),
    /// They must be read again.
    Again(OpenWindow),
    /// The table cannot be read so.
    Refused(Error),
}

// === impl OpenWindow ===

impl OpenWindow {
    /// Begins now. `before` is the window that must be read again.
    pub(super) fn new(table: &str, before: Option<Self>) -> Self {
        let before = before.filter(|before| before.table == table);
        Self {
            table: table.to_owned(),
            noted: Noted::Keys(HashSet::new()),
            truncated: false,
            version: None,
            unknown: false,
            unknown_so_far: before.as_ref().map_or(0, |before| before.unknown_so_far),
            read_before: before.and_then(|before| before.read_before),
        }
    }

    /// Nothing is on its way.
    pub(super) fn wants_rows(&self) -> bool {
        matches!(self.noted, Noted::Nothing)
    }

    /// How many keys were noted, where those are more than are kept.
    pub(super) fn too_many_keys(&self) -> Option<usize> {
        match &self.noted {
            Noted::Keys(keys) => Some(keys.len()).filter(|keys| *keys > KEYS_MAXIMUM),
            Noted::Rows(_) | Noted::Nothing => None,
        }
    }

    /// Where in the log it ends; `None` before the rows have come.
    pub(super) fn high(&self) -> Option<&Position> {
        match &self.noted {
            Noted::Rows(come) => Some(&come.window.high),
            Noted::Keys(_) | Noted::Nothing => None,
        }
    }

    /// What the log has handed out.
    pub(super) fn note(&mut self, batch: &ChangeBatch) {
        let versions = keys::versions_of(batch, &self.table);
        if !versions.contains(&true) {
            return;
        }
        for change in batch.views() {
            let is_of_it = versions.get(change.change().table) == Some(&true);
            let Some(schema) = change.table().filter(|_| is_of_it) else {
                continue;
            };
            if change.operation() == Operation::Truncate {
                self.truncated = true;
                continue;
            }
            if self
                .version
                .as_ref()
                .is_none_or(|known| !SharedSchema::ptr_eq(known, schema))
            {
                self.version = Some(SharedSchema::clone(schema));
            }
            match keys::touched(schema, change) {
                Touched::Unknown => self.unknown = true,
                Touched::Rows(was, is) => was.into_iter().chain(is).for_each(|key| self.name(key)),
            }
        }
    }

    fn name(&mut self, key: KeyBytes) {
        match &mut self.noted {
            Noted::Keys(keys) => {
                keys.insert(key);
            }
            Noted::Rows(come) => {
                let place = come.places.get(&key);
                if let Some(named) = place.and_then(|place| come.named.get_mut(*place)) {
                    *named = true;
                }
            }
            Noted::Nothing => {}
        }
    }

    /// The rows have come.
    pub(super) fn arrive(&mut self, window: Window) -> Arrival {
        let Noted::Keys(keys) = std::mem::replace(&mut self.noted, Noted::Nothing) else {
            return Arrival::Noted;
        };
        let mut places = HashMap::with_capacity(window.batch.changes.len());
        let mut named = Vec::with_capacity(window.batch.changes.len());
        for (place, change) in window.batch.views().enumerate() {
            let key = change.after().and_then(|row| keys::key_of(&window.schema, row, None));
            let Some(key) = key else {
                return Arrival::Keyless(keyless(&self.table));
            };
            named.push(keys.contains(&key));
            places.insert(key, place);
        }
        self.noted = Noted::Rows(Box::new(Come { window, places, named }));
        Arrival::Noted
    }

    /// The log has passed its end.
    pub(super) fn close(mut self) -> Verdict {
        let Noted::Rows(come) = std::mem::replace(&mut self.noted, Noted::Nothing) else {
            return Verdict::Again(self);
        };
        let Come { mut window, named, .. } = *come;
        let rows = window.batch.changes.len();
        if self.truncated {
            window.batch.changes.clear();
            return Verdict::Rows(Box::new(window), rows);
        }
        if rows > 0 && self.unknown {
            self.unknown_so_far += 1;
            if self.unknown_so_far > UNKNOWN_MAXIMUM {
                return Verdict::Refused(unnamed(&self.table));
            }
            return Verdict::Again(self);
        }
        let is_other = |version: &SharedSchema| !keys::same_shape(version, &window.schema);
        if rows > 0 && self.version.as_ref().is_some_and(is_other) {
            let is_new = self.read_before.as_ref().is_none_or(is_other);
            if is_new {
                self.read_before = Some(window.schema);
                return Verdict::Again(self);
            }
        }
        let mut named = named.into_iter();
        window.batch.changes.retain(|_| !named.next().unwrap_or_default());
        Verdict::Rows(Box::new(window), rows)
    }
}

fn keyless(table: &str) -> Error {
    let message = format!(
        "a row of {table} has no whole key, so that it cannot be told from others; give the table a primary key and ask for the snapshot again"
    );
    Error::definite("snapshot_key", message)
}

fn unnamed(table: &str) -> Error {
    let message = format!(
        "changes of {table} in the log do not say which rows they are of, so rows cannot be put between them; have the log carry the key \
         of rows before a change (REPLICA IDENTITY, binlog_row_image = FULL) and ask for the snapshot again"
    );
    Error::definite("snapshot_key_unlogged", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BeforeImage, Change, Row};
    use crate::position::Progress;
    use crate::schema::{Column, TableKind, TableName, TableSchema};
    use crate::value::LogicalType;

    fn schema(columns: usize) -> SharedSchema {
        let column = |name: usize| Column {
            source_type: "bigint".into(),
            ..Column::new(format!("c{name}"), LogicalType::Int64)
        };
        SharedSchema::new(TableSchema {
            name: TableName {
                database: String::new(),
                schema: "s".into(),
                table: "t".into(),
            },
            kind: TableKind::Table,
            columns: (0..columns).map(column).collect(),
            key: vec![0],
            documentation: None,
        })
    }

    fn row(batch: &mut ChangeBatch, key: Option<i64>, columns: usize) -> Row {
        batch.begin_row().unwrap();
        match key {
            Some(key) => batch.push_int(key),
            None => batch.push_unchanged(),
        }
        (1..columns).for_each(|_| batch.push_null());
        batch.end_row().unwrap()
    }

    /// Changes of one table: operation, key before, key after.
    fn batch(schema: &SharedSchema, changes: &[(Operation, Option<i64>, Option<i64>)]) -> ChangeBatch {
        let mut batch = ChangeBatch::new("test".into(), Progress::at(Position::new("0")));
        for (operation, before, after) in changes {
            let columns = schema.columns.len();
            let before = before.map(|key| row(&mut batch, Some(key), columns));
            let after = after.map(|key| row(&mut batch, Some(key), columns));
            let change = Change {
                operation: *operation,
                table: batch.table_index(schema),
                transaction: 0,
                before,
                before_image: if before.is_some() {
                    BeforeImage::Key
                } else {
                    BeforeImage::None
                },
                after,
                ordinal: 0,
                log_position: None,
                updated_at_us: None,
                topic: None,
                message: None,
            };
            batch.changes.push(change);
        }
        batch
    }

    fn rows(schema: &SharedSchema, keys: &[i64]) -> Window {
        let read: Vec<_> = keys.iter().map(|key| (Operation::Read, None, Some(*key))).collect();
        Window {
            batch: batch(schema, &read),
            schema: SharedSchema::clone(schema),
            high: Position::new("9"),
            next: None,
        }
    }

    /// The keys that are left of a window.
    fn left(verdict: Verdict) -> Option<Vec<i64>> {
        let Verdict::Rows(window, _) = verdict else {
            return None;
        };
        let key = |change: crate::batch::ChangeView<'_>| match change.after().unwrap().get(0) {
            crate::value::Value::Int(key) => key,
            other => panic!("{other:?} is no key"),
        };
        Some(window.batch.views().map(key).collect())
    }

    #[test]
    fn rows_that_the_log_names_before_or_after_they_have_come_are_left_out() {
        let schema = schema(2);
        let mut window = OpenWindow::new("s.t", None);
        window.note(&batch(
            &schema,
            &[
                (Operation::Update, Some(1), Some(2)),
                (Operation::Delete, Some(3), None),
            ],
        ));
        assert!(window.high().is_none() && !window.wants_rows());
        assert!(matches!(
            window.arrive(rows(&schema, &[1, 2, 3, 4, 5, 6])),
            Arrival::Noted
        ));
        assert_eq!(window.high(), Some(&Position::new("9")));
        window.note(&batch(
            &schema,
            &[(Operation::Create, None, Some(5)), (Operation::Create, None, Some(99))],
        ));
        assert_eq!(left(window.close()), Some(vec![4, 6]));
    }

    #[test]
    fn other_tables_say_nothing() {
        let (one, mut other) = (schema(2), TableSchema::clone(&schema(2)));
        other.name.table = "tt".into();
        let mut window = OpenWindow::new("s.t", None);
        window.note(&batch(
            &SharedSchema::new(other),
            &[(Operation::Truncate, None, None), (Operation::Create, None, Some(1))],
        ));
        window.arrive(rows(&one, &[1]));
        assert_eq!(left(window.close()), Some(vec![1]));
    }

    #[test]
    fn nothing_is_left_where_the_table_was_emptied() {
        let schema = schema(2);
        let mut window = OpenWindow::new("s.t", None);
        window.arrive(rows(&schema, &[1, 2]));
        window.note(&batch(&schema, &[(Operation::Truncate, None, None)]));
        assert_eq!(left(window.close()), Some(Vec::new()));
    }

    #[test]
    fn rows_of_another_version_are_read_again_until_the_table_is_known_to_be_ahead_of_the_log() {
        let (old, new) = (schema(2), schema(3));
        let mut window = OpenWindow::new("s.t", None);
        window.arrive(rows(&old, &[1, 2]));
        window.note(&batch(&new, &[(Operation::Update, None, Some(2))]));
        let Verdict::Again(before) = window.close() else {
            panic!("rows of an old version are not read again");
        };
        assert!(before.wants_rows());
        // The log is at the old version yet, and the table at the new one, both times.
        let mut before = Some(before);
        for is_known in [false, true] {
            let mut window = OpenWindow::new("s.t", before.take());
            window.note(&batch(&old, &[(Operation::Update, None, Some(2))]));
            window.arrive(rows(&new, &[1, 2]));
            match window.close() {
                Verdict::Again(again) => {
                    assert!(!is_known);
                    before = Some(again);
                }
                verdict => {
                    assert!(is_known);
                    assert_eq!(left(verdict), Some(vec![1]));
                }
            }
        }
    }

    #[test]
    fn a_change_that_does_not_say_which_row_it_is_of_has_rows_read_again_and_not_for_ever() {
        let schema = schema(2);
        let mut before = None;
        for round in 0..=UNKNOWN_MAXIMUM {
            let mut window = OpenWindow::new("s.t", before.take());
            let mut unknown = ChangeBatch::new("test".into(), Progress::at(Position::new("0")));
            let after = row(&mut unknown, None, 2);
            let mut change = batch(&schema, &[(Operation::Update, None, Some(1))]).changes.remove(0);
            change.table = unknown.table_index(&schema);
            change.after = Some(after);
            unknown.changes.push(change);
            window.note(&unknown);
            window.arrive(rows(&schema, &[1]));
            match window.close() {
                Verdict::Again(again) => before = Some(again),
                Verdict::Refused(error) => {
                    assert_eq!((round, error.code()), (UNKNOWN_MAXIMUM, "snapshot_key_unlogged"));
                    return;
                }
                Verdict::Rows(..) => panic!("rows are handed out though nobody knows which were changed"),
            }
        }
        panic!("it is tried for ever");
    }
}
