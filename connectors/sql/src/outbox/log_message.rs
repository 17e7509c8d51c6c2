//! Messages of PostgreSQL's log as rows of an outbox: `pg_logical_emit_message(true, 'outbox', '{"id": …, "payload": {…}}')`
//! leaves nothing behind in any table. The content's fields become columns of text, and the rest is as with a table.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use tailrace_core::batch::{BatchFull, ChangeBatch, Row};
use tailrace_core::schema::{Column, SharedSchema, TableKind, TableName, TableSchema};
use tailrace_core::value::{LogicalType, TextKind, Value};

use super::config::OutboxConfig;
use super::event::NoEvent;
use super::headers::string_of;
use super::{BadRow, batch_full};

/// What the rows' table is called, for people.
const TABLE: &str = "outbox_message";

/// The columns that a message of this configuration may have.
pub(super) fn schema<'a>(config: &'a OutboxConfig, topic: impl Iterator<Item = &'a str>) -> SharedSchema {
    let names = &config.columns;
    let fixed = [
        &names.id,
        &names.aggregate_type,
        &names.aggregate_id,
        &names.event_type,
        &names.payload,
    ];
    let fixed = fixed.into_iter().map(String::as_str);
    let optional = [names.headers().0, names.tracing().0, names.timestamp().0];
    let more = config.headers.iter().map(|header| header.column.as_str());
    let mut columns: Vec<Column> = Vec::new();
    for name in fixed.chain(optional).chain(more).chain(topic) {
        if columns.iter().all(|known| known.name != name) {
            columns.push(column(name, name == names.timestamp().0));
        }
    }
    Arc::new(TableSchema {
        name: TableName {
            database: String::new(),
            schema: String::new(),
            table: TABLE.to_owned(),
        },
        kind: TableKind::Table,
        columns,
        key: Vec::new(),
        documentation: None,
    })
}

fn column(name: &str, is_time: bool) -> Column {
    Column {
        name: name.to_owned(),
        logical_type: if is_time {
            LogicalType::TimestampTz { precision: 6 }
        } else {
            LogicalType::Text(TextKind::Plain)
        },
        nullable: true,
        source_type: if is_time { "microseconds since 1970" } else { "text" }.to_owned(),
        default: None,
        default_is_computed: false,
        documentation: None,
    }
}

/// Reads a message's content into a row of [`schema`]. Strings are taken as they are, so that a payload may be any text;
/// other values as the JSON that stands there, byte for byte.
pub(super) fn read_row(schema: &TableSchema, batch: &mut ChangeBatch, content: (Row, usize)) -> Result<Row, NoEvent> {
    let bytes = match batch.row(content.0).get(content.1) {
        Value::Bytes(bytes) => bytes.to_vec(),
        Value::Text(text) => text.as_bytes().to_vec(),
        _ => Vec::new(),
    };
    let fields: BTreeMap<String, &RawValue> = serde_json::from_slice(&bytes).map_err(|error| {
        let sentence = format!("the content of the message is not a JSON object: {error}");
        BadRow::new("message_malformed", sentence)
    })?;
    batch.begin_row().map_err(batch_full)?;
    for column in &schema.columns {
        let field = fields.get(&column.name).filter(|field| field.get() != "null");
        push(batch, column, field.copied()).map_err(batch_full)?;
    }
    Ok(batch.end_row().map_err(batch_full)?)
}

fn push(batch: &mut ChangeBatch, column: &Column, field: Option<&RawValue>) -> Result<(), BatchFull> {
    let Some(field) = field else {
        batch.push_null();
        return Ok(());
    };
    if let LogicalType::TimestampTz { .. } = column.logical_type {
        match field.get().parse() {
            Ok(microseconds) => batch.push_int(microseconds),
            Err(_) => batch.push_null(),
        }
        return Ok(());
    }
    match string_of(field) {
        Some(text) => batch.push_text(&text),
        None => batch.push_text(field.get()),
    }
}
