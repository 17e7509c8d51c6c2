//! Which columns of two tables hold the same, and rows as they are compared.

use std::collections::{BTreeMap, BTreeSet};

use tailrace_core::batch::RowView;
use tailrace_core::schema::{Column, SharedSchema, TableSchema, column_named};
use tailrace_core::value::Value;
use tailrace_core::{Error, Result};

use super::canonical::{self, Form};
use crate::sink::config::WriteConfig;
use crate::sink::plan::key_names;

/// Canonical values of the columns of a key, in its order.
pub type Key = Vec<String>;

/// In which ways a column may have a value of a key that counts as the same in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spelling {
    /// As it is.
    #[default]
    Exact,
    /// Filled up to so many characters with blanks, or not.
    Blanks(usize),
    /// Filled up to so many bytes with zeros, or less far.
    Zeros(usize),
    /// A UUID, which text may have in capitals, or without hyphens.
    Identifier,
}

/// Canonical values of the other columns, by their index in the target; `None` inside is NULL. What a side does not know is not there.
pub type Values = BTreeMap<usize, Option<String>>;

/// Two columns that hold the same.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pair {
    /// Index among the columns of the events.
    event: usize,
    /// Index among the columns of the target.
    target: usize,
    form: Form,
}

/// How rows of one schema of events are compared with those of the target's table.
#[derive(Debug, Clone)]
pub struct Pairing {
    events: SharedSchema,
    target: SharedSchema,
    key: Vec<Pair>,
    values: Vec<Pair>,
    /// Columns of the events that have no counterpart, or none that they could be compared with.
    pub left_out: Vec<String>,
}

// === impl Pairing ===

impl Pairing {
    /// The pairs of events as they are written into the target.
    ///
    /// # Errors
    /// Definite `key_missing` where rows cannot be told apart, `key_not_comparable` where their keys have nothing in common.
    pub fn new(events: &SharedSchema, target: &SharedSchema, config: &WriteConfig) -> Result<Self> {
        let mut pairs = Vec::new();
        let mut left_out = Vec::new();
        for (index, column) in events.columns.iter().enumerate() {
            let pair = column_named(&target.columns, &column.name).and_then(|found| {
                let form = canonical::form(column, target.columns.get(found)?)?;
                Some(Pair {
                    event: index,
                    target: found,
                    form,
                })
            });
            match pair {
                Some(pair) => pairs.push(pair),
                None => left_out.push(column.name.clone()),
            }
        }
        let names = key_names(config, events);
        if names.is_empty() {
            let message = format!(
                "rows of {} have no key by which they could be found in the target; give the sink one with `key`",
                events.name.qualified()
            );
            return Err(Error::definite("key_missing", message));
        }
        let mut key = Vec::with_capacity(names.len());
        for name in &names {
            let wanted = column_named(&target.columns, name);
            let place = pairs.iter().position(|pair| Some(pair.target) == wanted);
            let place = place.ok_or_else(|| not_comparable(events, target, name))?;
            key.push(pairs.remove(place));
        }
        Ok(Self {
            events: SharedSchema::clone(events),
            target: SharedSchema::clone(target),
            key,
            values: pairs,
            left_out,
        })
    }

    /// Text that stands for keys of another type is taken as it is: rows of the events' own table are looked up by it.
    #[must_use]
    pub fn with_keys_as_written(self) -> Self {
        self.with_written_keys(|_| true)
    }

    fn with_written_keys(mut self, is_written: impl Fn(usize) -> bool) -> Self {
        for pair in &mut self.key {
            let columns = (
                self.events.columns.get(pair.event),
                self.target.columns.get(pair.target),
            );
            if let (Some(event), Some(target)) = columns
                && canonical::is_read_from_text(event, target)
                && is_written(pair.target)
            {
                pair.form = Form::Written;
            }
        }
        self
    }

    /// Compares as another pairing with the same target does where that knows of blanks that fill values up, of which events say nothing, and
    /// where it takes keys as they are written.
    #[must_use]
    pub fn with_forms_of(self, other: &Self) -> Self {
        let is_written = |target| {
            let mut key = other.key.iter();
            key.any(|pair| pair.target == target && pair.form == Form::Written)
        };
        self.with_written_keys(is_written).with_blanks_of(other)
    }

    fn with_blanks_of(mut self, other: &Self) -> Self {
        let known: Vec<usize> = other
            .key
            .iter()
            .chain(&other.values)
            .filter(|pair| pair.form == Form::Padded)
            .map(|pair| pair.target)
            .collect();
        for pair in self.key.iter_mut().chain(&mut self.values) {
            if pair.form == Form::Written && known.contains(&pair.target) {
                pair.form = Form::Padded;
            }
        }
        self
    }

    /// For each column of the key in which ways either side may have a value: what is compared has no blanks at its end, say, and what is
    /// stored may have them.
    pub fn key_spellings(&self) -> Vec<Spelling> {
        let blanks = |schema: &SharedSchema, column: usize| canonical::padded_length(schema.columns.get(column)?);
        let zeros = |column: usize| canonical::filled_length(self.target.columns.get(column)?);
        let of = |pair: &Pair| match pair.form {
            Form::Padded => {
                let length = blanks(&self.events, pair.event).max(blanks(&self.target, pair.target));
                length.map_or(Spelling::Exact, Spelling::Blanks)
            }
            Form::Filled => zeros(pair.target).map_or(Spelling::Exact, Spelling::Zeros),
            Form::Identifier => Spelling::Identifier,
            _ => Spelling::Exact,
        };
        self.key.iter().map(of).collect()
    }

    /// Whether a row that came has one of the keys that were asked for: to a database several may be one, and a row that seems to be missing
    /// under one of them, and to be one too many under another, is neither.
    ///
    /// # Errors
    /// Definite `key_not_comparable`.
    pub(super) fn check_asked(&self, asked: &BTreeSet<&Key>, found: &Key) -> Result<()> {
        if asked.contains(found) {
            return Ok(());
        }
        let message = format!(
            "a row with {} was found by another key: to its column they are one, written in capitals or not, with zeros in front or not, say; \
             write both sides' keys alike, give the sink another `key`, or leave the table out with --table",
            self.key_text(found)
        );
        Err(Error::definite("key_not_comparable", message))
    }

    /// The target's table.
    pub fn target(&self) -> &SharedSchema {
        &self.target
    }

    /// The key's columns, by their index among those of the events.
    pub fn event_key(&self) -> impl Iterator<Item = usize> {
        self.key.iter().map(|pair| pair.event)
    }

    /// The key's columns, by their index in the target.
    pub fn target_key(&self) -> Vec<usize> {
        self.key.iter().map(|pair| pair.target).collect()
    }

    /// A row of events; `None` where part of its key is NULL.
    pub fn event_row(&self, row: RowView<'_>) -> Option<(Key, Values)> {
        let of = |pair: &Pair| of(&self.events, pair.event, pair.form, row);
        self.row(of, |pair| row.get(pair.event) != Value::Unchanged)
    }

    /// The key of a row of events that may have nothing else.
    pub fn event_key_of(&self, row: RowView<'_>) -> Option<Key> {
        let of = |pair: &Pair| of(&self.events, pair.event, pair.form, row);
        self.key.iter().map(of).collect()
    }

    /// A row of the target; `None` where part of its key is NULL.
    pub fn target_row(&self, row: RowView<'_>) -> Option<(Key, Values)> {
        self.row(|pair| of(&self.target, pair.target, pair.form, row), |_| true)
    }

    fn row(&self, of: impl Fn(&Pair) -> Option<String>, is_known: impl Fn(&Pair) -> bool) -> Option<(Key, Values)> {
        let key = self.key.iter().map(&of).collect::<Option<Key>>()?;
        let known = self.values.iter().filter(|pair| is_known(pair));
        let values = known.map(|pair| (pair.target, of(pair)));
        Some((key, values.collect()))
    }

    /// Whether values of a column of the target are compared.
    pub fn compares(&self, column: usize) -> bool {
        self.values.iter().any(|pair| pair.target == column)
    }

    /// The columns in which a row of the target is not what the events say, by their index there.
    pub fn differing(&self, expected: &Values, found: &Values) -> Vec<usize> {
        let differs = |(column, value): &(&usize, &Option<String>)| found.get(*column) != Some(*value);
        expected.iter().filter(differs).map(|(column, _)| *column).collect()
    }

    /// A table of the target's key alone.
    pub(super) fn key_schema(&self) -> TableSchema {
        let columns: Vec<Column> = self
            .key
            .iter()
            .filter_map(|pair| self.target.columns.get(pair.target).cloned())
            .collect();
        TableSchema {
            key: (0..columns.len()).collect(),
            columns,
            ..TableSchema::clone(&self.target)
        }
    }

    /// The name of a column of the target.
    pub fn target_name(&self, column: usize) -> &str {
        self.target.columns.get(column).map_or("?", |column| &column.name)
    }

    /// A key as people write it: `id=7`.
    pub fn key_text(&self, key: &Key) -> String {
        let pairs = self.key.iter().zip(key);
        let parts: Vec<String> = pairs
            .map(|(pair, value)| format!("{}={value}", self.target_name(pair.target)))
            .collect();
        parts.join(", ")
    }
}

fn of(schema: &SharedSchema, column: usize, form: Form, row: RowView<'_>) -> Option<String> {
    form.of(&schema.columns.get(column)?.logical_type, row.get(column))
}

fn not_comparable(events: &SharedSchema, target: &SharedSchema, name: &str) -> Error {
    let kind = |columns: &[Column]| {
        column_named(columns, name)
            .and_then(|index| columns.get(index))
            .map_or_else(
                || "not there".to_owned(),
                |column| format!("of type {}", column.source_type),
            )
    };
    let message = format!(
        "the key column {name} is {} in {} and {} in {}, so that rows of one cannot be found in the other; give the sink another `key`",
        kind(&events.columns),
        events.name.qualified(),
        kind(&target.columns),
        target.name.qualified()
    );
    Error::definite("key_not_comparable", message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tailrace_core::batch::ChangeBatch;
    use tailrace_core::position::{Position, Progress};
    use tailrace_core::value::{LogicalType, TextKind};

    use super::super::sample::{column, orders};
    use super::*;

    fn schema(columns: &[(&str, LogicalType)], key: &[usize]) -> SharedSchema {
        let columns = columns
            .iter()
            .map(|(name, logical_type)| column(name, "", logical_type.clone()));
        orders(columns.collect(), key)
    }

    const TEXT: LogicalType = LogicalType::Text(TextKind::Plain);

    #[test]
    fn columns_are_paired_by_name_and_what_has_no_counterpart_is_left_out() {
        let events = schema(&[("Id", LogicalType::Int64), ("note", TEXT), ("gone", TEXT)], &[0]);
        let target = schema(&[("extra", TEXT), ("note", TEXT), ("id", LogicalType::Int32)], &[2]);
        let pairing = Pairing::new(&events, &target, &WriteConfig::default()).unwrap();
        assert_eq!(pairing.target_key(), [2]);
        assert_eq!(pairing.left_out, ["gone"]);

        let mut batch = ChangeBatch::new(Arc::from("test"), Progress::at(Position::new("0")));
        batch.begin_row().unwrap();
        batch.push_int(7);
        batch.push_text("new").unwrap();
        batch.push_text("x").unwrap();
        let event = batch.end_row().unwrap();
        batch.begin_row().unwrap();
        batch.push_null();
        batch.push_text("old").unwrap();
        batch.push_int(7);
        let row = batch.end_row().unwrap();
        let (key, expected) = pairing.event_row(batch.row(event)).unwrap();
        let (same_key, found) = pairing.target_row(batch.row(row)).unwrap();
        assert_eq!((key.as_slice(), &key), (["7".to_owned()].as_slice(), &same_key));
        assert_eq!(pairing.differing(&expected, &found), [1]);
        assert_eq!(pairing.target_name(1), "note");
        assert_eq!(pairing.key_text(&key), "id=7");
    }

    #[test]
    fn what_did_not_change_is_not_compared() {
        let both = schema(&[("id", LogicalType::Int64), ("big", TEXT)], &[0]);
        let pairing = Pairing::new(&both, &both, &WriteConfig::default()).unwrap();
        let mut batch = ChangeBatch::new(Arc::from("test"), Progress::at(Position::new("0")));
        batch.begin_row().unwrap();
        batch.push_int(7);
        batch.push_unchanged();
        let event = batch.end_row().unwrap();
        let (_, expected) = pairing.event_row(batch.row(event)).unwrap();
        assert!(expected.is_empty());
    }

    #[test]
    fn blanks_that_one_side_fills_up_with_are_known_of_events_too() {
        let padded = orders(vec![column("id", "character(6)", TEXT)], &[0]);
        let text = schema(&[("id", TEXT)], &[0]);
        let known = Pairing::new(&padded, &text, &WriteConfig::default()).unwrap();
        assert_eq!(known.key_spellings(), [Spelling::Blanks(6)]);
        let events = Pairing::new(&text, &text, &WriteConfig::default()).unwrap();
        assert_eq!(events.key_spellings(), [Spelling::Exact]);

        let mut batch = ChangeBatch::new(Arc::from("test"), Progress::at(Position::new("0")));
        batch.begin_row().unwrap();
        batch.push_text("ab    ").unwrap();
        let row = batch.end_row().unwrap();
        let key = |pairing: &Pairing| pairing.event_key_of(batch.row(row)).unwrap();
        assert_eq!(key(&known), ["ab"]);
        assert_eq!(key(&events), ["ab    "], "nobody says that they mean nothing");
        assert_eq!(key(&events.with_forms_of(&known)), ["ab"]);
    }

    #[test]
    fn text_that_stands_for_a_number_is_a_number_but_where_rows_are_looked_up_by_it() {
        let text = schema(&[("id", TEXT), ("price", TEXT)], &[0]);
        let number = || LogicalType::Decimal {
            precision: None,
            scale: None,
        };
        let numbers = schema(&[("id", number()), ("price", number())], &[0]);
        let mut batch = ChangeBatch::new(Arc::from("test"), Progress::at(Position::new("0")));
        batch.begin_row().unwrap();
        batch.push_text("007").unwrap();
        batch.push_text("19.90").unwrap();
        let row = batch.end_row().unwrap();
        let read = |pairing: &Pairing| {
            let (key, values) = pairing.event_row(batch.row(row)).unwrap();
            (key[0].clone(), values[&1].clone().unwrap())
        };
        let pairing = || Pairing::new(&text, &numbers, &WriteConfig::default()).unwrap();
        let wanted = |key: &str| (key.to_owned(), "19.9".to_owned());
        assert_eq!(read(&pairing()), wanted("7"));
        assert_eq!(read(&pairing().with_keys_as_written()), wanted("007"));
        assert_eq!(read(&pairing().with_forms_of(&pairing())), wanted("7"));
        assert_eq!(
            read(&pairing().with_forms_of(&pairing().with_keys_as_written())),
            wanted("007")
        );
    }

    #[test]
    fn keys_must_be_there_and_comparable() {
        let code = |events: &SharedSchema, target: &SharedSchema| {
            Pairing::new(events, target, &WriteConfig::default())
                .unwrap_err()
                .code()
        };
        let keyless = schema(&[("id", LogicalType::Int64)], &[]);
        let keyed = schema(&[("id", LogicalType::Int64)], &[0]);
        let date = schema(&[("id", LogicalType::Date)], &[0]);
        assert_eq!(code(&keyless, &keyed), "key_missing");
        assert_eq!(code(&keyed, &date), "key_not_comparable");
        assert_eq!(code(&keyed, &schema(&[("other", TEXT)], &[])), "key_not_comparable");
        let (text, bytes) = (
            schema(&[("id", TEXT)], &[0]),
            schema(&[("id", LogicalType::Bytes)], &[0]),
        );
        assert_eq!(code(&text, &bytes), "key_not_comparable");
    }
}
