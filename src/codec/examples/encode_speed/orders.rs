//! What encoders are made from that are measured, and what they are given: rows with nine columns in small transactions. For
//! `encode_speed`, `decode_speed` and the test of how often they allocate.

use std::sync::Arc;

use tailrace_codec::{Codec, DEFAULT_TOPIC_TEMPLATE, EncoderSettings, Envelope, FormatConfig, TopicTemplate};
use tailrace_core::batch::{BatchFull, BeforeImage, Change, ChangeBatch, Operation, Transaction};
use tailrace_core::position::{Position, Progress};
use tailrace_core::schema::{Column, SharedSchema, TableKind, TableName, TableSchema};
use tailrace_core::testkit::MemoryRegistry;
use tailrace_core::value::{LogicalType, TextKind};

pub(crate) type Failure = Box<dyn std::error::Error>;

const CHANGES_PER_BATCH: i64 = 5_000;
const CHANGES_PER_TRANSACTION: i64 = 10;

/// What the encoder is made from.
pub(crate) fn encoder_settings(envelope: Envelope, codec: Codec) -> Result<EncoderSettings, Failure> {
    Ok(EncoderSettings {
        connector: "orders".to_owned(),
        prefix: "shop".to_owned(),
        source_kind: "postgresql".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        format: FormatConfig {
            envelope,
            codec,
            ..FormatConfig::default()
        },
        template: TopicTemplate::parse(DEFAULT_TOPIC_TEMPLATE)?,
        registry: Some(Arc::new(MemoryRegistry::default())),
        contracts: None,
        telemetry: None,
    })
}

fn schema() -> SharedSchema {
    let column = |name: &str, logical_type| Column {
        nullable: false,
        ..Column::new(name, logical_type)
    };
    let decimal = LogicalType::Decimal {
        precision: Some(12),
        scale: Some(2),
    };
    Arc::new(TableSchema {
        name: TableName {
            database: "shop".to_owned(),
            schema: "public".to_owned(),
            table: "orders".to_owned(),
        },
        kind: TableKind::Table,
        columns: vec![
            column("id", LogicalType::Int64),
            column("customer_id", LogicalType::Int32),
            column("email", LogicalType::Text(TextKind::Plain)),
            column("reference", LogicalType::Text(TextKind::Uuid)),
            column("total", decimal),
            column("paid", LogicalType::Boolean),
            column("weight", LogicalType::Float64),
            column("note", LogicalType::Text(TextKind::Plain)),
            column("modified_at", LogicalType::TimestampTz { precision: 6 }),
        ],
        key: vec![0],
        documentation: None,
    })
}

/// A batch of new rows.
pub(crate) fn orders() -> Result<ChangeBatch, BatchFull> {
    let mut batch = ChangeBatch::new("pg-7311-shop".into(), Progress::at(Position::new("0/16E9018")));
    let table = batch.table_index(&schema());
    let mut transaction = 0;
    for id in 0..CHANGES_PER_BATCH {
        let committed_at_us = 1_700_000_000_000_000 + id;
        if id % CHANGES_PER_TRANSACTION == 0 {
            transaction = batch.push_transaction(Transaction {
                id: Some(7000 + id.unsigned_abs()),
                committed_at_us,
                position: format!("0/{:X}", 24_000_000 + id).into(),
                log_position: Some(24_000_000 + id.unsigned_abs()),
                previous_log_position: Some(23_999_999 + id.unsigned_abs()),
                binlog: None,
            });
        }
        batch.begin_row()?;
        batch.push_int(id);
        batch.push_int(id % 977);
        batch.push_text("ada.lovelace@example.com")?;
        batch.push_text("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")?;
        batch.push_text("1234567.89")?;
        batch.push_boolean(id % 2 == 0);
        batch.push_float64(12.375);
        batch.push_text("leave with the neighbour, \"second\" floor on the left")?;
        batch.push_int(committed_at_us);
        let after = Some(batch.end_row()?);
        batch.changes.push(Change {
            operation: Operation::Create,
            table,
            transaction,
            before: None,
            before_image: BeforeImage::None,
            after,
            ordinal: (id % CHANGES_PER_TRANSACTION).unsigned_abs(),
            log_position: Some(24_000_000 + id.unsigned_abs()),
            updated_at_us: None,
            topic: None,
            message: None,
        });
    }
    Ok(batch)
}
