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
    /// They have come; those that the log has named since the window began are marked.
    Rows {
        window: Window,
        places: HashMap<KeyBytes, usize>,
        named: Vec<bool>,
    },
    /// They must be read again.
    Nothing,
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
    Rows(Window, usize),
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

    /// More was noted than is kept.
    pub(super) fn is_too_long(&self) -> bool {
        matches!(&self.noted, Noted::Keys(keys) if keys.len() > KEYS_MAXIMUM)
    }

    /// Where in the log it ends; `None` before the rows have come.
    pub(super) fn high(&self) -> Option<&Position> {
        match &self.noted {
            Noted::Rows { window, .. } => Some(&window.high),
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
            Noted::Rows { places, named, .. } => {
                if let Some(named) = places.get(&key).and_then(|place| named.get_mut(*place)) {
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
        self.noted = Noted::Rows { window, places, named };
        Arrival::Noted
    }

    /// The log has passed its end.
    pub(super) fn close(mut self) -> Verdict {
        let Noted::Rows { mut window, named, .. } = std::mem::replace(&mut self.noted, Noted::Nothing) else {
            return Verdict::Again(self);
        };
        let rows = window.batch.changes.len();
        if self.truncated {
            window.batch.changes.clear();
            return Verdict::Rows(window, rows);
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
        Verdict::Rows(window, rows)
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
