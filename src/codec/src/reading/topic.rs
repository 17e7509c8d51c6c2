//! What is known of a topic: the table it is named after, and the plans of its records without a schema.

use std::collections::HashMap;
use std::sync::Arc;

use tailrace_core::record_batch::RecordView;
use tailrace_core::schema::TableName;
use tailrace_core::topic;

use super::envelope::EnvelopePlan;
use super::fault::{Fault, Located, Read};
use super::plain::{Known, PlainRows};
use super::plan::{ColumnPlan, RowPlan};
use super::schemas::Recent;
use super::stand_in::Notated;
use super::typed::{Rules, number_of, observed_type};
use super::wire::JsonWire;
use crate::format::{Envelope, FormatConfig};

const NOT_PREPARED: Fault = Fault::record("was not prepared; please report this as a bug");

/// A topic that is read.
#[derive(Debug)]
pub(crate) struct Topic {
    /// The table that it is named after.
    pub(crate) table: TableName,
    /// The table of the last record whose envelope says one.
    pub(crate) said: Option<TableName>,
    /// The envelope that its JSON without a schema was found to be in.
    pub(crate) envelope: Option<EnvelopePlan>,
    /// How its JSON without a schema is read, for each table that its records are of.
    pub(crate) plains: Vec<Plain>,
    /// The schemas of the record before.
    pub(crate) recent_key: Recent,
    pub(crate) recent_value: Recent,
    /// The last delete of each partition that had a value.
    deletes: HashMap<i32, Deleted>,
}

/// A record that deletes and has a value.
#[derive(Debug, Default)]
struct Deleted {
    offset: i64,
    key: Vec<u8>,
}

/// The plans of a topic's JSON without a schema.
#[derive(Debug)]
pub(crate) struct Plain {
    /// The table whose target it was made for.
    of: TableName,
    /// Rows that stand by themselves.
    pub(crate) rows: PlainRows,
    /// Rows in Debezium's envelope.
    pub(crate) enveloped: PlainRows,
    keys: PlainRows,
    enveloped_keys: PlainRows,
    /// What the only column of a key is called that is no object, and whether it is known to be text.
    key_column: Arc<str>,
    has_text_key: bool,
    /// Keys that are no objects.
    single: Vec<Arc<RowPlan>>,
    /// Keys that are text and not JSON.
    raw: Arc<RowPlan>,
    rules: Rules,
}

// === impl Topic ===

impl Topic {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            table: topic::table_of(name),
            said: None,
            envelope: None,
            plains: Vec::new(),
            recent_key: Recent::default(),
            recent_value: Recent::default(),
            deletes: HashMap::new(),
        }
    }

    /// True where there are plans for a table.
    pub(crate) fn is_prepared(&self, of: &TableName) -> bool {
        self.plains.iter().any(|plain| plain.of == *of)
    }

    /// The plans of a table, which may be another's where nobody said before the record that it is of this one.
    pub(crate) fn plain_of<'p>(plains: &'p mut [Plain], of: &TableName) -> Read<&'p mut Plain> {
        let index = match plains.len() {
            0 | 1 => 0,
            _ => plains.iter().position(|plain| plain.of == *of).unwrap_or_default(),
        };
        plains.get_mut(index).ok_or(NOT_PREPARED)
    }

    /// The plans of the table of the record before.
    pub(crate) fn plain(&mut self) -> Read<&mut Plain> {
        Self::plain_of(&mut self.plains, self.said.as_ref().unwrap_or(&self.table))
    }

    /// Remembers a record that deletes and has a value.
    pub(crate) fn remember_delete(&mut self, record: RecordView<'_>) {
        let Some(key) = record.key() else { return };
        let deleted = self.deletes.entry(record.partition().partition).or_default();
        deleted.offset = record.offset();
        deleted.key.clear();
        deleted.key.extend_from_slice(key);
    }

    /// True for a tombstone that says once more what the delete right before it has said.
    pub(crate) fn repeats_delete(&self, record: RecordView<'_>) -> bool {
        let deleted = self.deletes.get(&record.partition().partition);
        deleted.is_some_and(|deleted| {
            record.offset().checked_sub(1) == Some(deleted.offset) && record.key() == Some(&deleted.key)
        })
    }

    /// The table of the record before.
    pub(crate) fn last_table(&self) -> &TableName {
        self.said.as_ref().unwrap_or(&self.table)
    }
}

// === impl Plain ===

impl Plain {
    pub(crate) fn new(
        of: TableName,
        known: &Arc<Known>,
        (format, placeholder): (&FormatConfig, &Arc<str>),
        key_column: &Arc<str>,
    ) -> Self {
        let rows = |envelope| {
            let rules = Rules::new(envelope, format);
            PlainRows::new(Arc::clone(known), rules, Arc::clone(placeholder))
        };
        let entities = rows(Envelope::Entity);
        Self {
            of,
            has_text_key: entities.is_text(key_column),
            rows: entities,
            enveloped: rows(Envelope::Debezium),
            keys: rows(Envelope::Entity),
            enveloped_keys: rows(Envelope::Debezium),
            single: Vec::new(),
            raw: Arc::new(RowPlan::new(vec![ColumnPlan::raw(key_column)])),
            key_column: Arc::clone(key_column),
            rules: Rules::new(Envelope::Entity, format),
        }
    }

    /// The plan of a key that is an object.
    pub(crate) fn key(&mut self, json: &JsonWire<'_>, is_enveloped: bool) -> Result<Arc<RowPlan>, Located> {
        match is_enveloped {
            true => self.enveloped_keys.plan(json),
            false => self.keys.plan(json),
        }
    }

    /// The plan of a key that is text, and whether that is to be read as JSON, which `42` may be.
    pub(crate) fn text(&mut self, text: &str) -> (Arc<RowPlan>, bool) {
        match self.single(text).filter(|_| !self.has_text_key) {
            Some(plan) => (plan, true),
            None => (Arc::clone(&self.raw), false),
        }
    }

    /// The plan of a key that is one value; `None` where it is text that is not JSON.
    pub(crate) fn single(&mut self, text: &str) -> Option<Arc<RowPlan>> {
        let mut json = JsonWire::new(text);
        let mut whole = json;
        whole.pass().ok().and_then(|()| whole.end().ok())?;
        let logical_type = observed_type(json.token().ok()?, number_of(&json));
        let is_it = |plan: &&Arc<RowPlan>| {
            plan.columns
                .first()
                .is_some_and(|column| column.column.logical_type == logical_type)
        };
        if let Some(known) = self.single.iter().find(is_it) {
            return Some(Arc::clone(known));
        }
        let column = ColumnPlan::observed(&self.key_column, logical_type, self.rules, Notated::json(""));
        let plan = Arc::new(RowPlan::new(vec![column]));
        self.single.push(Arc::clone(&plan));
        Some(plan)
    }
}
