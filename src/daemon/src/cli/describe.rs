//! `tailrace describe`: what would be captured.

use serde::Serialize;
use serde_json::Value;
use tailrace_codec::{EventDescriber, EventDescription};
use tailrace_core::schema::{SharedSchema, TableSchema};
use tailrace_core::transform::Transform;

use super::{Exit, Failure};
use crate::config::plan::{ConnectorPlan, Plan};
use crate::screen;
use crate::supervisor::carry::encoder_settings;

/// One table of a connector.
#[derive(Debug, Serialize)]
struct Described {
    connector: String,
    stream: String,
    table: SharedSchema,
    /// The topics of the events that its rows are, where it is an outbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    outbox: Option<String>,
    /// `None` where transforms leave the table out, and for an outbox, whose rows say what is published.
    events: Option<EventDescription>,
}

/// Describes every table of every connector.
pub(crate) async fn run(plan: Plan, json: bool) -> Result<Exit, Failure> {
    let mut tables = Vec::new();
    for connector in &plan.connectors {
        tables.extend(describe(connector).await?);
    }
    screen::print(&match (json, tables.as_slice()) {
        (true, tables) => as_json(tables),
        (false, []) => "nothing would be captured: no connector of this file has tables to read\n".to_owned(),
        (false, tables) => tables.iter().map(as_text).collect(),
    })?;
    Ok(Exit::Ended)
}

async fn describe(connector: &ConnectorPlan) -> Result<Vec<Described>, Failure> {
    let source = connector.source_connector()?;
    let describer = EventDescriber::new(encoder_settings(connector, source.kind()))?;
    let mut transform = Transform::new(&connector.transforms, connector.updated_at_column.clone())?;
    let mut tables = Vec::new();
    for table in source.describe().await? {
        let outbox = connector.outbox.as_ref().filter(|outbox| outbox.selects(&table));
        let published = transform.describe(&table)?.filter(|_| outbox.is_none());
        tables.push(Described {
            connector: connector.name.clone(),
            stream: connector.stream.clone(),
            outbox: outbox.map(|outbox| outbox.topic().to_owned()),
            events: published.map(|schema| describer.describe(&schema)).transpose()?,
            table,
        });
    }
    Ok(tables)
}

fn as_json(tables: &[Described]) -> String {
    // Nothing in a description can fail to be JSON: names and schemas.
    serde_json::to_string_pretty(tables)
        .map(|text| text + "\n")
        .unwrap_or_default()
}

fn as_text(described: &Described) -> String {
    let table = &described.table;
    let mut text = String::new();
    let mut line = |content: String| {
        text.push_str(&screen::escape(&content));
        text.push('\n');
    };
    let topic = match (&described.outbox, &described.events) {
        (Some(topic), _) => topic.as_str(),
        (None, Some(events)) => events.topic.as_str(),
        (None, None) => "left out by transforms",
    };
    line(format!(
        "{}: {} → {}: {topic}",
        described.connector,
        table.name.qualified(),
        described.stream
    ));
    if let Some(comment) = &table.documentation {
        line(format!("  {comment}"));
    }
    line(format!("  key      {}", key_of(table)));
    for (index, column) in table.columns.iter().enumerate() {
        let label = if index == 0 { "columns" } else { "" };
        let nullable = if column.nullable { "" } else { " not null" };
        let comment = column
            .documentation
            .as_ref()
            .map(|comment| format!("  -- {comment}"))
            .unwrap_or_default();
        line(format!(
            "  {label:<8} {:<24} {}{nullable}{comment}",
            column.name, column.source_type
        ));
    }
    if let Some(events) = &described.events {
        fields(&mut line, "event", &events.value_schema, 0);
    }
    text.push('\n');
    text
}

fn key_of(table: &TableSchema) -> String {
    let names: Vec<&str> = table.key_columns().map(|column| column.name.as_str()).collect();
    if names.is_empty() {
        "none: events have no key".to_owned()
    } else {
        names.join(", ")
    }
}

/// The fields of a Connect schema, structs inside structs further in.
fn fields(line: &mut impl FnMut(String), label: &str, schema: &Value, depth: usize) {
    let fields = schema.get("fields").and_then(Value::as_array);
    for (index, field) in fields.into_iter().flatten().enumerate() {
        let label = if index == 0 && depth == 0 { label } else { "" };
        let text = |key: &str| field.get(key).and_then(Value::as_str).unwrap_or_default();
        let optional = if field.get("optional") == Some(&Value::Bool(true)) {
            " optional"
        } else {
            ""
        };
        let logical = if text("name").is_empty() || text("type") == "struct" {
            String::new()
        } else {
            format!(" ({})", text("name"))
        };
        let indent = "  ".repeat(depth);
        let name = format!("{indent}{}", text("field"));
        line(format!("  {label:<8} {name:<24} {}{logical}{optional}", text("type")));
        fields_inside(line, field, depth);
    }
}

fn fields_inside(line: &mut impl FnMut(String), field: &Value, depth: usize) {
    // Debezium's rows and source block are structs; nothing real is nested deeper than a handful.
    if field.get("type") == Some(&Value::from("struct")) && depth < 8 {
        fields(line, "", field, depth + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tailrace_core::schema::{Column, TableKind, TableName};
    use tailrace_core::value::LogicalType;

    #[test]
    fn a_table_reads_as_name_key_columns_and_event() {
        let column = |name: &str, nullable, documentation: Option<&str>| Column {
            name: name.to_owned(),
            logical_type: LogicalType::Int64,
            nullable,
            source_type: "bigint".to_owned(),
            default: None,
            default_is_computed: false,
            documentation: documentation.map(str::to_owned),
        };
        let table = TableSchema {
            name: TableName {
                database: String::new(),
                schema: "public".to_owned(),
                table: "orders".to_owned(),
            },
            kind: TableKind::Table,
            columns: vec![column("id", false, None), column("note", true, Some("by\nhand"))],
            key: vec![0],
            documentation: None,
        };
        let value_schema = serde_json::json!({"type": "struct", "fields": [
            {"field": "id", "type": "int64", "optional": false},
            {"field": "note", "type": "int64", "optional": true, "name": "io.debezium.time.Timestamp"},
        ]});
        let described = Described {
            connector: "shop".to_owned(),
            outbox: None,
            stream: "events".to_owned(),
            table: Arc::new(table),
            events: Some(EventDescription {
                topic: "shop.public.orders".to_owned(),
                key_schema: None,
                value_schema,
            }),
        };
        let expected = "shop: public.orders → events: shop.public.orders\n  \
            key      id\n  \
            columns  id                       bigint not null\n           \
            note                     bigint  -- by\\nhand\n  \
            event    id                       int64\n           \
            note                     int64 (io.debezium.time.Timestamp) optional\n\n";
        assert_eq!(as_text(&described), expected);
    }
}
