//! The state store from outside.

#![cfg(test)]

mod beginning;
mod reading;
mod registry;
mod store;
mod upgrade;

use std::path::PathBuf;

use tailrace_core::dead_letter::{Letter, Maximum, Original, RecordImage};
use tailrace_core::position::{Checkpoint, Position, Progress};
use tailrace_core::schema::{Column, TableKind, TableName, TableSchema};
use tailrace_core::value::LogicalType;
use tempfile::TempDir;

/// More dead letters than a test has.
const PLENTY: Maximum = Maximum {
    letters: 5000,
    bytes: 64 << 20,
};

/// Where a test has its state, and the folder that it is in.
fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    (folder, path)
}

fn checkpoint(sequence: u64) -> Checkpoint {
    Checkpoint {
        sequence,
        progress: Progress::at(Position::new(format!("0/{sequence:08X}"))),
    }
}

fn orders(columns: &[&str]) -> TableSchema {
    let column = |name: &&str| Column {
        nullable: false,
        source_type: "bigint".to_owned(),
        ..Column::new(*name, LogicalType::Int64)
    };
    TableSchema {
        name: TableName {
            database: "shop".to_owned(),
            schema: "public".to_owned(),
            table: "orders".to_owned(),
        },
        kind: TableKind::Table,
        columns: columns.iter().map(column).collect(),
        key: vec![0],
        documentation: None,
    }
}

fn letter(number: u32) -> Letter {
    Letter {
        identity: format!("db:0/{number}:0"),
        event_id: format!("e-{number}"),
        table: "public.orders".to_owned(),
        operation: "c".to_owned(),
        key: Some("{\"id\":\"7\"}".to_owned()),
        position: format!("0/{number}"),
        updated_at_us: 1,
        keys: vec!["public.orders\u{0}{\"id\":\"7\"}".to_owned()],
        code: "value_not_encodable".to_owned(),
        reason: "too large".to_owned(),
        quarantined_at_us: i64::from(number),
        original: Some(Original::Record(RecordImage {
            topic: "orders".to_owned(),
            partition: 0,
            offset: 7,
            timestamp_ms: 0,
            key: None,
            value: Some("AP8=".to_owned()),
            headers: Vec::new(),
        })),
    }
}
