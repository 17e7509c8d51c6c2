//! Debezium's envelope, field for field: `before`, `after`, `source`, `transaction`, `op`, `ts_ms`, `ts_us`, `ts_ns`.
//!
//! Byte for byte what Debezium's connector publishes through Connect's JSON converter; what differs on purpose is listed
//! in `docs/debezium.md`, and a test with a real Debezium holds the list to be true.

use tailrace_core::schema::TableKind;

use crate::connect_schema::{ConnectSchema, Field, Kind};
use crate::envelope::source::SourceConstants;
use crate::notation::Notation;
use crate::plan::Schemas;

/// The times of processing, which end each envelope of a batch: milliseconds, microseconds, nanoseconds.
#[derive(Debug)]
pub(crate) struct ProcessedAt {
    /// `,"ts_ms":…,"ts_us":…,"ts_ns":…}`
    pub(crate) tail: Vec<u8>,
    /// `,"ts_ms":…`
    pub(crate) milliseconds: Vec<u8>,
}

impl ProcessedAt {
    pub(crate) fn new<N: Notation>(now_us: i64) -> Self {
        let write = |out: &mut Vec<u8>, name: &str, time| {
            N::syntax(out, name.as_bytes());
            N::optional(out, true);
            N::int(out, time);
        };
        let mut milliseconds = Vec::new();
        write(&mut milliseconds, ",\"ts_ms\":", now_us.div_euclid(1000));
        let mut tail = milliseconds.clone();
        write(&mut tail, ",\"ts_us\":", now_us);
        write(&mut tail, ",\"ts_ns\":", now_us.saturating_mul(1000));
        N::syntax(&mut tail, b"}");
        Self { tail, milliseconds }
    }
}

/// Connect's schemas of key and envelope.
pub(crate) fn schemas(
    topic: &str,
    kind: TableKind,
    key: Option<Kind>,
    row: Kind,
    constants: &SourceConstants,
) -> Schemas {
    if kind == TableKind::Message {
        return message_schemas(key, row, constants);
    }
    let named = |kind, suffix: &str| ConnectSchema::named(kind, &format!("{topic}.{suffix}")).without_version();
    let row = named(row, "Value").optional();
    let fields = vec![
        Field::new("before", row.clone()),
        Field::new("after", row),
        Field::new("source", constants.schema()),
        Field::new("transaction", transaction_schema()),
        Field::plain("op", Kind::Text),
        Field::optional("ts_ms", Kind::Int64),
        Field::optional("ts_us", Kind::Int64),
        Field::optional("ts_ns", Kind::Int64),
    ];
    Schemas {
        key: key.map(|key| named(key, "Key")),
        value: named(Kind::Struct(fields), "Envelope").version(2),
    }
}

fn message_schemas(key: Option<Kind>, row: Kind, constants: &SourceConstants) -> Schemas {
    let named = |kind, name: &str| ConnectSchema::named(kind, &format!("io.debezium.connector.postgresql.{name}"));
    let fields = vec![
        Field::plain("op", Kind::Text),
        Field::optional("ts_ms", Kind::Int64),
        Field::new("source", constants.schema()),
        Field::new("transaction", transaction_schema()),
        Field::new("message", named(all_optional(row), "Message")),
    ];
    Schemas {
        key: key.map(|key| named(all_optional(key), "MessageKey")),
        value: named(Kind::Struct(fields), "MessageValue"),
    }
}

fn all_optional(kind: Kind) -> Kind {
    let Kind::Struct(fields) = kind else {
        return kind;
    };
    let optional = |field: Field| Field {
        schema: field.schema.optional(),
        ..field
    };
    Kind::Struct(fields.into_iter().map(optional).collect())
}

fn transaction_schema() -> ConnectSchema {
    let fields = vec![
        Field::plain("id", Kind::Text),
        Field::plain("total_order", Kind::Int64),
        Field::plain("data_collection_order", Kind::Int64),
    ];
    ConnectSchema::named(Kind::Struct(fields), "event.block").optional()
}
