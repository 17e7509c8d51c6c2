//! One row into one event.

use std::io::Write;
use std::sync::Arc;

use serde::de::IgnoredAny;
use tailrace_core::batch::{ChangeBatch, Message, Part, Payload, Row, RowView};
use tailrace_core::value::{LogicalType, Value};
use tailrace_core::{Error, Result};

use super::headers::read_headers;
use super::plan::{Outbox, PayloadPlan, TablePlan};
use super::topic::{END, Piece, TopicNames};
use super::trace_fields::trace_fields;
use super::{BadRow, batch_full};

/// What is used again for each row, so that nothing is allocated for it.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) names: TopicNames,
    text: String,
    /// The text of a row's headers while they are read.
    json: Vec<u8>,
}

/// What can be wrong with a row: the batch cannot hold more, or the row is no event.
pub(super) enum NoEvent {
    Failed(Error),
    Bad(BadRow),
}

impl From<Error> for NoEvent {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<BadRow> for NoEvent {
    fn from(row: BadRow) -> Self {
        Self::Bad(row)
    }
}

/// Whether a row is an event, as far as that can be said without its headers; gives its topic.
pub(super) fn check_row(
    outbox: &Outbox,
    plan: &TablePlan,
    row: RowView<'_>,
    scratch: &mut Scratch,
) -> Result<Arc<str>, BadRow> {
    let names = &outbox.config.columns;
    for (column, code, what, name) in [
        (plan.id, "id_missing", "id", &names.id),
        (plan.key, "key_missing", "key", &names.aggregate_id),
        (plan.event_type, "type_missing", "type", &names.event_type),
    ] {
        if matches!(row.get(column), Value::Null | Value::Unchanged) {
            return Err(BadRow::new(code, format!("it has no {what}: column {name} is NULL")));
        }
    }
    check_type(outbox, row.get(plan.event_type), scratch)?;
    let topic = topic(plan, row, scratch)?;
    check_payload(outbox, plan, row)?;
    Ok(topic)
}

/// Whether a row is an event in every respect.
pub(super) fn check_all(
    outbox: &Outbox,
    plan: &TablePlan,
    row: RowView<'_>,
    scratch: &mut Scratch,
) -> Result<(), BadRow> {
    check_row(outbox, plan, row, scratch)?;
    let Some(json) = plan.json_headers.and_then(|column| bytes_of(row.get(column))) else {
        return Ok(());
    };
    match read_headers(json, |_, _| Ok(())) {
        Err(NoEvent::Bad(bad)) => Err(bad),
        Ok(()) | Err(NoEvent::Failed(_)) => Ok(()),
    }
}

/// Reads a row of an outbox: where its event goes, and what it is.
pub(super) fn read_event(
    outbox: &Outbox,
    plan: &TablePlan,
    (batch, row): (&mut ChangeBatch, Row),
    scratch: &mut Scratch,
) -> Result<(Arc<str>, Message), NoEvent> {
    let topic = check_row(outbox, plan, batch.row(row), scratch)?;
    push_headers(plan, (batch, row), scratch)?;
    let message = Message {
        key: text_part(batch, row, plan.key)?,
        payload: payload(outbox, plan, batch, row)?,
        event_id: id_part(batch, row, plan.id)?,
    };
    Ok((topic, message))
}

/// Key and id of a row that is no event, where it has them.
pub(super) fn read_remains(
    plan: &TablePlan,
    batch: &mut ChangeBatch,
    row: Row,
) -> Result<(Option<Part>, Option<Part>)> {
    Ok((text_part(batch, row, plan.key)?, id_part(batch, row, plan.id)?))
}

/// When the row says that its event happened; `None` where it does not.
pub(super) fn happened_at_us(plan: &TablePlan, batch: &ChangeBatch, (table, row): (usize, Row)) -> Option<i64> {
    let (schema, column) = (batch.tables.get(table)?, plan.timestamp?);
    let Value::Int(value) = batch.row(row).get(column) else {
        return None;
    };
    match schema.columns.get(column)?.logical_type {
        LogicalType::Date => value.checked_mul(86_400_000_000),
        // The ends stand for the infinities.
        _ => (value != i64::MAX && value != i64::MIN).then_some(value),
    }
}

fn check_type(outbox: &Outbox, event_type: Value<'_>, scratch: &mut Scratch) -> Result<(), BadRow> {
    let types = &outbox.config.types;
    let text = &mut scratch.text;
    text.clear();
    if types.is_empty() || (push_text(text, event_type) && types.iter().any(|known| known == text)) {
        return Ok(());
    }
    Err(BadRow::new(
        "type_unknown",
        format!("its type `{text}` is none of `outbox.types`"),
    ))
}

fn topic(plan: &TablePlan, row: RowView<'_>, scratch: &mut Scratch) -> Result<Arc<str>, BadRow> {
    let Scratch { names, text, .. } = scratch;
    text.clear();
    for piece in &plan.topic.pieces {
        let Piece::Column(column) = piece else { continue };
        if !push_text(text, row.get(*column)) {
            return Err(BadRow::new(
                "topic_missing",
                "a column that its topic is made of is NULL".to_owned(),
            ));
        }
        text.push(END);
    }
    names.get(&plan.topic, text).ok_or_else(|| {
        let shown: Vec<_> = text.split_terminator(END).collect();
        BadRow::new(
            "topic_invalid",
            format!(
                "no topic can be named after `{}`: it would be empty or longer than 249 characters",
                shown.join("`, `")
            ),
        )
    })
}

fn check_payload(outbox: &Outbox, plan: &TablePlan, row: RowView<'_>) -> Result<(), BadRow> {
    let PayloadPlan::Column { index, json } = plan.payload else {
        return Ok(());
    };
    if row.get(index) == Value::Unchanged {
        return Err(BadRow::new(
            "payload_unknown",
            "its payload did not change and is not in the log".to_owned(),
        ));
    }
    let bytes = bytes_of(row.get(index)).unwrap_or_default();
    if bytes.trim_ascii().is_empty() {
        return Ok(());
    }
    if json && let Err(error) = serde_json::from_slice::<IgnoredAny>(bytes) {
        return Err(BadRow::new(
            "payload_not_json",
            format!("its payload is not JSON: {error}"),
        ));
    }
    let broken = outbox
        .contract
        .as_ref()
        .map_or(Ok(()), |contract| contract.check_text(bytes));
    broken.map_err(|broken| {
        BadRow::new(
            "payload_breaks_contract",
            format!("its payload breaks the contract: {broken}"),
        )
    })
}

fn payload(outbox: &Outbox, plan: &TablePlan, batch: &mut ChangeBatch, row: Row) -> Result<Payload> {
    let index = match &plan.payload {
        PayloadPlan::Columns(columns) => return Ok(Payload::Columns(Arc::clone(columns))),
        PayloadPlan::Column { index, .. } => *index,
    };
    let part = batch.part_of(row, index);
    let is_empty = part.is_none_or(|part| batch.part(part).trim_ascii().is_empty());
    match part {
        _ if is_empty && outbox.config.tombstone_on_empty_payload => Ok(Payload::Absent),
        Some(part) => Ok(Payload::Part(part)),
        None => batch.write_part(|_| ()).map(Payload::Part).map_err(batch_full),
    }
}

fn bytes_of(value: Value<'_>) -> Option<&[u8]> {
    match value {
        Value::Text(text) => Some(text.as_bytes()),
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

fn push_headers(plan: &TablePlan, (batch, row): (&mut ChangeBatch, Row), scratch: &mut Scratch) -> Result<(), NoEvent> {
    for (name, column) in &plan.headers {
        if let Some(value) = text_part(batch, row, *column)? {
            push_header(batch, name, value)?;
        }
    }
    if let Some((name, column)) = &plan.tracing {
        push_tracing(name, *column, (batch, row))?;
    }
    let Some(part) = plan.json_headers.and_then(|column| batch.part_of(row, column)) else {
        return Ok(());
    };
    let json = &mut scratch.json;
    json.clear();
    json.extend_from_slice(batch.part(part));
    read_headers(json, |name, write| {
        let value = batch.write_part(write).map_err(batch_full)?;
        push_header(batch, name, value)
    })
}

/// The headers that carry the trace on. What no form of it is goes out as it stands, under the column's name: nobody loses an event for it.
fn push_tracing(name: &str, column: usize, (batch, row): (&mut ChangeBatch, Row)) -> Result<()> {
    let Some(part) = text_part(batch, row, column)? else {
        return Ok(());
    };
    let fields = std::str::from_utf8(batch.part(part)).ok().and_then(trace_fields);
    let Some(fields) = fields else {
        return push_header(batch, name, part);
    };
    for (name, value) in fields {
        let value = batch.write_part(|out| out.extend_from_slice(value.as_bytes()));
        push_header(batch, &name, value.map_err(batch_full)?)?;
    }
    Ok(())
}

/// Adds a header to the message that is being made.
fn push_header(batch: &mut ChangeBatch, name: &str, value: Part) -> Result<()> {
    let name = batch.write_part(|out| out.extend_from_slice(name.as_bytes()));
    batch.push_message_header(name.map_err(batch_full)?, value);
    Ok(())
}

/// The value as bytes of text; `None` where it is NULL.
fn text_part(batch: &mut ChangeBatch, row: Row, column: usize) -> Result<Option<Part>> {
    if let Some(part) = batch.part_of(row, column) {
        return Ok(Some(part));
    }
    let written = match batch.row(row).get(column) {
        Value::Int(value) => batch.write_part(|out| write_display(out, value)),
        Value::Boolean(value) => batch.write_part(|out| write_display(out, value)),
        Value::Float32(value) => batch.write_part(|out| write_display(out, value)),
        Value::Float64(value) => batch.write_part(|out| write_display(out, value)),
        _ => return Ok(None),
    };
    written.map(Some).map_err(batch_full)
}

fn write_display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    // Writing into a vector cannot fail.
    let _infallible = write!(out, "{value}");
}

/// The value as text that is fit for a header: raw bytes are written as a UUID where there are sixteen, else in hexadecimal.
fn id_part(batch: &mut ChangeBatch, row: Row, column: usize) -> Result<Option<Part>> {
    let Value::Bytes(bytes) = batch.row(row).get(column) else {
        return text_part(batch, row, column);
    };
    let mut text = Vec::with_capacity(bytes.len() * 2 + 4);
    for (index, byte) in bytes.iter().enumerate() {
        if bytes.len() == 16 && matches!(index, 4 | 6 | 8 | 10) {
            text.push(b'-');
        }
        write_display(&mut text, format_args!("{byte:02x}"));
    }
    let part = batch.write_part(|out| out.extend_from_slice(&text));
    part.map(Some).map_err(batch_full)
}

/// Appends a value as text; false where it is NULL.
pub(super) fn push_text(text: &mut String, value: Value<'_>) -> bool {
    use std::fmt::Write;
    // Writing into a string cannot fail.
    let _infallible = match value {
        Value::Text(value) => {
            text.push_str(value);
            Ok(())
        }
        Value::Bytes(value) => {
            text.push_str(&String::from_utf8_lossy(value));
            Ok(())
        }
        Value::Int(value) => write!(text, "{value}"),
        Value::Boolean(value) => write!(text, "{value}"),
        Value::Float32(value) => write!(text, "{value}"),
        Value::Float64(value) => write!(text, "{value}"),
        _ => return false,
    };
    true
}
