//! An outbox, compiled: once per connector ([`Outbox`]) and once per table version ([`TablePlan`]), so that no column is looked
//! up by name for a row.

use std::sync::Arc;

use tailrace_core::check::Finding;
use tailrace_core::pattern::TablePattern;
use tailrace_core::schema::{Column, SharedSchema, TableKind, TableSchema};
use tailrace_core::value::{LogicalType, TextKind};
use tailrace_core::{Error, Result};

use super::config::{OutboxConfig, PayloadFormat, PayloadSource};
use super::log_message;
use super::topic::{TopicPlan, TopicTemplate};
use crate::config::{QueryConfig, QueryMode};
use crate::contract::Contract;

/// The header with the event's type.
const TYPE_HEADER: &str = "type";

/// How a connector's outbox tables are read.
#[derive(Debug)]
pub struct Outbox {
    pub(super) config: OutboxConfig,
    pub(super) contract: Option<Contract>,
    /// The table that a message of PostgreSQL's log is a row of, where there are any.
    pub(super) messages: Option<(SharedSchema, TablePlan)>,
    tables: Vec<TablePattern>,
    topic: TopicTemplate,
}

/// What the changes of one table version are.
#[derive(Debug)]
pub(super) enum Reading {
    /// Changes of an ordinary table.
    Ordinary,
    /// Messages of PostgreSQL's log; those with the configured prefix are events.
    Messages {
        /// Index of the column with the prefix.
        prefix: usize,
        /// Index of the column with the content.
        content: usize,
    },
    /// Rows of an outbox.
    Outbox(TablePlan),
}

/// Where in a row of one table version everything is.
#[derive(Debug)]
pub(super) struct TablePlan {
    /// The table's name, for people.
    pub(super) name: String,
    pub(super) id: usize,
    pub(super) key: usize,
    pub(super) event_type: usize,
    pub(super) payload: PayloadPlan,
    pub(super) headers: Vec<(String, usize)>,
    /// The trace that the event belongs to: the column's name and index.
    pub(super) tracing: Option<(String, usize)>,
    pub(super) json_headers: Option<usize>,
    pub(super) timestamp: Option<usize>,
    pub(super) topic: TopicPlan,
}

/// Where the payload comes from.
#[derive(Debug)]
pub(super) enum PayloadPlan {
    /// A column, and whether it must hold JSON.
    Column { index: usize, json: bool },
    /// An object of columns.
    Columns(Arc<[usize]>),
}

/// Finds columns, and notes what is wrong with them.
struct Columns<'a> {
    schema: &'a TableSchema,
    missing: Vec<String>,
    unfit: Vec<String>,
}

// === impl Outbox ===

impl Outbox {
    /// Reads a configuration; `prefix` is the connector's.
    ///
    /// # Errors
    /// `outbox_invalid` where the configuration contradicts itself; `outbox_topic_invalid` for the topic template.
    pub fn new(config: OutboxConfig, prefix: &str, contract: Option<Contract>) -> Result<Self> {
        let invalid = |sentence: &str| Err(Error::definite("outbox_invalid", sentence));
        if config.message_prefix.as_deref() == Some("") {
            return invalid(
                "`outbox.message_prefix` is empty; name the prefix that the application gives its messages",
            );
        }
        if config.payload == PayloadSource::Columns && config.payload_format == PayloadFormat::Json {
            return invalid(
                "`outbox.payload_format` says what the payload column holds, and `outbox.payload: columns` has none; take one away",
            );
        }
        if config.payload == PayloadSource::Columns && config.message_prefix.is_some() {
            return invalid(
                "`outbox.message_prefix` needs a payload of its own, and `outbox.payload: columns` has none; give messages and \
                 tables a connector each",
            );
        }
        let topic = TopicTemplate::parse(&config.topic, prefix)?;
        let messages = config.message_prefix.as_ref().map(|_| {
            let schema = log_message::schema(&config, topic.columns());
            let plan = plan_table(&config, &topic, &schema);
            plan.map(|plan| (schema, plan))
                .map_err(|findings| first_error(&findings))
        });
        let patterns = config.tables.iter().map(|text| TablePattern::new(text, None));
        Ok(Self {
            tables: patterns.collect(),
            messages: messages.transpose()?,
            topic,
            contract,
            config,
        })
    }

    /// True where rows of the table are events.
    pub fn selects(&self, schema: &TableSchema) -> bool {
        let name = &schema.name;
        match (schema.kind, &*self.tables) {
            (TableKind::Message, _) => false,
            // Who has messages for an outbox need have no table.
            (TableKind::Table, []) => self.config.message_prefix.is_none(),
            (TableKind::Table, patterns) => patterns
                .iter()
                .any(|pattern| pattern.matches(&name.schema, &name.table)),
        }
    }

    /// True where every table of the connector is an outbox.
    pub fn is_every_table(&self) -> bool {
        self.tables.is_empty() && self.config.message_prefix.is_none()
    }

    /// The template of the events' topics, as written.
    pub fn topic(&self) -> &str {
        &self.config.topic
    }

    /// Everything that is wrong with the tables that are read as outboxes. Without `query` a log is read.
    pub fn check(&self, tables: &[SharedSchema], query: Option<&QueryConfig>) -> Vec<Finding> {
        let outboxes: Vec<_> = tables.iter().filter(|table| self.selects(table)).collect();
        let mut findings = Vec::new();
        for table in &outboxes {
            let planned = plan_table(&self.config, &self.topic, table);
            findings.extend(planned.err().into_iter().flatten());
        }
        if outboxes.is_empty() && self.config.message_prefix.is_none() {
            findings.push(Finding::blocks(
                "outbox_tables_missing",
                "no captured table fits `outbox.tables`",
                "name a table there that the source's `tables` include",
            ));
        }
        findings.extend(self.config_findings(query));
        findings
    }

    /// What is wrong with the configuration for such a source.
    pub fn config_findings(&self, query: Option<&QueryConfig>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let polled = query.is_some();
        let is_queue = query.is_some_and(|query| query.mode == QueryMode::Queue);
        if self.config.hold_bad_rows && !is_queue {
            findings.push(Finding::blocks(
                "rows_not_held",
                "`outbox.hold_bad_rows` leaves bad rows in their table, and only a queue is read from there again",
                "set `query: { mode: queue }` in the source, or set them aside with `dead_letters: { policy: store, order: key }`",
            ));
        }
        if polled && self.config.deleted_by_application {
            findings.push(Finding::blocks(
                "outbox_rows_deleted",
                "the application deletes the outbox's rows in the transaction that inserts them \
                 (`outbox.deleted_by_application`), and a query never sees such a row: every event would be lost",
                "read the log (take `query` away from the source), or have the application leave the rows to `query: { mode: queue }`",
            ));
        }
        if polled && self.config.message_prefix.is_some() {
            findings.push(Finding::blocks(
                "outbox_messages_polled",
                "`outbox.message_prefix` names messages of PostgreSQL's log, and no query sees them",
                "take `query` away from the source, or `message_prefix` from the outbox",
            ));
        }
        findings
    }

    /// How changes of a table are read.
    pub(super) fn reading(&self, schema: &SharedSchema) -> Result<Reading> {
        if schema.kind == TableKind::Message && self.config.message_prefix.is_some() {
            let columns = (schema.column_index("prefix"), schema.column_index("content"));
            if let (Some(prefix), Some(content)) = columns {
                return Ok(Reading::Messages { prefix, content });
            }
        }
        // A message that was set aside is a row already.
        let was_message = self
            .messages
            .as_ref()
            .is_some_and(|(known, _)| known.name == schema.name);
        if !was_message && !self.selects(schema) {
            return Ok(Reading::Ordinary);
        }
        plan_table(&self.config, &self.topic, schema)
            .map(Reading::Outbox)
            .map_err(|findings| first_error(&findings))
    }
}

fn first_error(findings: &[Finding]) -> Error {
    let first = findings.first();
    let code = first.map_or("outbox_invalid", |finding| finding.code);
    let sentence = |finding: &Finding| format!("{}; {}", finding.problem, finding.remedy);
    Error::definite(code, first.map(sentence).unwrap_or_default())
}

/// Finds everything in a table version, or says what is wrong with it.
fn plan_table(config: &OutboxConfig, topic: &TopicTemplate, schema: &TableSchema) -> Result<TablePlan, Vec<Finding>> {
    let names = &config.columns;
    let mut columns = Columns::new(schema);
    let id = columns.text(&names.id);
    let key = columns.text(&names.aggregate_id);
    let event_type = columns.text(&names.event_type);
    let mut headers = vec![(TYPE_HEADER.to_owned(), event_type)];
    for header in &config.headers {
        headers.push((header.header().to_owned(), columns.text(&header.column)));
    }
    let tracing = columns.tracing(names.tracing());
    let json_headers = columns.optional(names.headers(), |kind| matches!(kind, LogicalType::Text(_)));
    let timestamp = columns.optional(names.timestamp(), is_time);
    let in_topic: Vec<_> = topic.columns().map(|name| columns.text(name)).collect();
    let named = [id, key, event_type].into_iter().chain(in_topic);
    let in_headers = headers.iter().map(|(_, index)| *index);
    let in_trace = tracing.iter().map(|(_, index)| *index);
    let used: Vec<_> = named
        .chain(in_headers)
        .chain(in_trace)
        .chain(json_headers)
        .chain(timestamp)
        .collect();
    let payload = match config.payload {
        PayloadSource::Column => columns.payload(&names.payload, config.payload_format),
        PayloadSource::Columns => PayloadPlan::rest(schema, &used),
    };
    columns.findings()?;
    Ok(TablePlan {
        name: schema.name.qualified(),
        id,
        key,
        event_type,
        payload,
        headers,
        tracing,
        json_headers,
        timestamp,
        // A column that is missing was found above.
        topic: topic.plan(schema).map_err(|_| Vec::new())?,
    })
}

// === impl PayloadPlan ===

impl PayloadPlan {
    fn rest(schema: &TableSchema, used: &[usize]) -> Self {
        let rest = (0..schema.columns.len()).filter(|index| !used.contains(index));
        Self::Columns(rest.collect())
    }
}

// === impl Columns ===

impl<'a> Columns<'a> {
    fn new(schema: &'a TableSchema) -> Self {
        Self {
            schema,
            missing: Vec::new(),
            unfit: Vec::new(),
        }
    }

    fn find(&mut self, name: &str) -> Option<(usize, &'a Column)> {
        let schema = self.schema;
        let found = schema.column_index(name);
        let found = found.and_then(|index| Some((index, schema.columns.get(index)?)));
        if found.is_none() {
            self.missing.push(name.to_owned());
        }
        found
    }

    /// A column that can be text. What is missing is noted, and any index given.
    fn text(&mut self, name: &str) -> usize {
        let Some((index, column)) = self.find(name) else {
            return 0;
        };
        if !is_text_like(&column.logical_type) {
            self.unfit.push(format!(
                "{} is {} and must be text, a number, a UUID or true or false",
                column.name, column.source_type
            ));
        }
        index
    }

    /// A column that need not be there where nobody named it.
    fn optional(&mut self, (name, named): (&str, bool), fits: fn(&LogicalType) -> bool) -> Option<usize> {
        if !named {
            let index = self.schema.column_index(name)?;
            return self
                .schema
                .columns
                .get(index)
                .filter(|column| fits(&column.logical_type))
                .map(|_| index);
        }
        let (index, column) = self.find(name)?;
        if !fits(&column.logical_type) {
            let sentence = format!(
                "{} is {}, which cannot be read as what it is for",
                column.name, column.source_type
            );
            self.unfit.push(sentence);
        }
        Some(index)
    }

    fn tracing(&mut self, column: (&str, bool)) -> Option<(String, usize)> {
        let index = self.optional(column, is_text_like)?;
        Some((column.0.to_owned(), index))
    }

    fn payload(&mut self, name: &str, format: PayloadFormat) -> PayloadPlan {
        let Some((index, column)) = self.find(name) else {
            return PayloadPlan::Column { index: 0, json: false };
        };
        let json = match &column.logical_type {
            LogicalType::Text(TextKind::Json) => true,
            LogicalType::Text(_) | LogicalType::Bytes => format == PayloadFormat::Json,
            _ => {
                let sentence = format!(
                    "{} is {} and must be JSON, text or bytes; `outbox.payload: columns` makes an object of the columns that \
                     there are",
                    column.name, column.source_type
                );
                self.unfit.push(sentence);
                false
            }
        };
        PayloadPlan::Column { index, json }
    }

    fn findings(mut self) -> Result<(), Vec<Finding>> {
        let table = self.schema.name.qualified();
        let mut findings = Vec::new();
        self.missing.sort();
        self.missing.dedup();
        self.unfit.sort();
        self.unfit.dedup();
        if !self.missing.is_empty() {
            let known: Vec<_> = self.schema.columns.iter().map(|column| column.name.as_str()).collect();
            findings.push(Finding::blocks(
                "outbox_columns_missing",
                format!(
                    "table {table} is read as an outbox and has no column {}; it has {}",
                    self.missing.join(", "),
                    known.join(", ")
                ),
                "say under `outbox.columns` what they are called, or leave the table out of `outbox.tables`",
            ));
        }
        if !self.unfit.is_empty() {
            findings.push(Finding::blocks(
                "outbox_columns_unfit",
                format!("table {table} is read as an outbox, and {}", self.unfit.join(", ")),
                "name other columns under `outbox.columns`, or change their type",
            ));
        }
        if findings.is_empty() { Ok(()) } else { Err(findings) }
    }
}

/// Types whose values have one text that everybody would write.
fn is_text_like(kind: &LogicalType) -> bool {
    use LogicalType as Kind;
    matches!(
        kind,
        Kind::Boolean
            | Kind::Int16
            | Kind::Int32
            | Kind::Int64
            | Kind::UnsignedInt64
            | Kind::Float32
            | Kind::Float64
            | Kind::Decimal { .. }
            | Kind::Text(_)
            | Kind::Bytes
            | Kind::Bits { .. }
            | Kind::Year
    )
}

fn is_time(kind: &LogicalType) -> bool {
    matches!(
        kind,
        LogicalType::Timestamp { .. } | LogicalType::TimestampTz { .. } | LogicalType::Date
    )
}
