//! Debezium's `source` block: where a change comes from. What is the same for all changes of a connector, of a table and
//! of a transaction is rendered once and then copied.
//!
//! ```text
//! {"version":…,"connector":…,"name":…,"ts_ms":   connector
//! 1700000000123,"snapshot":                      transaction
//! "false"                                        change
//! ,"db":"app","sequence":                        table
//! "[\"1\",\"2\"]"                                change
//! ,"ts_us":…,"ts_ns":…                           transaction
//! ,"schema":"public","table":"customers"         table
//! ,"txId":555                                    transaction
//! ,"lsn":2,"xmin":null,"origin":null,"origin_lsn":null}
//! ```
//!
//! MySQL and MariaDB say instead where the change is in the binary log; their databases are schemas here:
//!
//! ```text
//! ,"db":"shop","sequence":                       table
//! null                                           change
//! ,"ts_us":…,"ts_ns":…                           transaction
//! ,"table":"customers"                           table
//! ,"server_id":1,"gtid":…,"file":"…","pos":      transaction
//! 484,"row":0                                    change
//! ,"thread":7,"query":null}                      transaction
//! ```

use tailrace_core::batch::{BinlogTransaction, Transaction};
use tailrace_core::schema::{TableKind, TableSchema};

use crate::connect_schema::{ConnectSchema, Field, Kind};
use crate::dialect::Dialect;
use crate::notation::{Notation, Optionality};
use crate::values::number::write_unsigned;

/// Where a record may stand in a snapshot, as Debezium lists it.
const SNAPSHOT_VALUES: &str = "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental";

/// Which fields a source block has beside the common ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceFields {
    /// Debezium's PostgreSQL connector's.
    Postgres,
    /// Debezium's MySQL and MariaDB connectors'.
    Binlog,
    /// Of a source that Debezium has no connector for: schema, table, transaction and position.
    Generic,
}

/// The part that is the same for a connector.
#[derive(Debug, Clone)]
pub(crate) struct SourceConstants {
    pub(crate) fields: SourceFields,
    kind: String,
    head: Vec<u8>,
}

/// The parts that are the same for a table.
#[derive(Debug, Clone)]
pub(crate) struct SourceOfTable {
    database: Vec<u8>,
    names: Vec<u8>,
}

/// The parts that are the same for a transaction; rendered again for each without giving its memory back.
#[derive(Debug, Default)]
pub(crate) struct SourceOfTransaction {
    head: Vec<u8>,
    times: Vec<u8>,
    tail: Vec<u8>,
    /// What follows the change's own place in a binary log.
    end: Vec<u8>,
    log_position: Option<u64>,
    previous_log_position: Option<u64>,
}

/// What is a change's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SourceOfChange {
    pub(crate) snapshot: bool,
    /// The snapshot was asked for while the log was carried.
    pub(crate) incremental: bool,
    /// A statement and no row, of whose connection Debezium says nothing.
    pub(crate) truncate: bool,
    pub(crate) log_position: Option<u64>,
    /// Number of the change in its transaction; of a binary log, the low half is the row within the rows event.
    pub(crate) ordinal: u64,
}

// === impl SourceConstants ===

impl SourceConstants {
    pub(crate) fn new<N: Notation>(kind: &str, name: &str, version: &str) -> Self {
        let fields = match kind {
            "postgresql" => SourceFields::Postgres,
            _ if Dialect::of(kind) == Dialect::MySql => SourceFields::Binlog,
            _ => SourceFields::Generic,
        };
        let mut head = Vec::new();
        for (label, value) in [
            ("{\"version\":", version),
            (",\"connector\":", kind),
            (",\"name\":", name),
        ] {
            N::syntax(&mut head, label.as_bytes());
            N::text(&mut head, value);
        }
        N::syntax(&mut head, b",\"ts_ms\":");
        Self {
            fields,
            kind: kind.to_owned(),
            head,
        }
    }

    /// Connect's schema of the block.
    pub(crate) fn schema(&self) -> ConnectSchema {
        let mut snapshot = ConnectSchema::named(Kind::Text, "io.debezium.data.Enum")
            .parameter("allowed", SNAPSHOT_VALUES)
            .optional();
        snapshot.default = Some(b"\"false\"".to_vec());
        let mut fields = vec![
            Field::plain("version", Kind::Text),
            Field::plain("connector", Kind::Text),
            Field::plain("name", Kind::Text),
            Field::plain("ts_ms", Kind::Int64),
            Field::new("snapshot", snapshot),
            Field::plain("db", Kind::Text),
            Field::optional("sequence", Kind::Text),
            Field::optional("ts_us", Kind::Int64),
            Field::optional("ts_ns", Kind::Int64),
        ];
        let own = match self.fields {
            SourceFields::Postgres => vec![
                Field::plain("schema", Kind::Text),
                Field::plain("table", Kind::Text),
                Field::optional("txId", Kind::Int64),
                Field::optional("lsn", Kind::Int64),
                Field::optional("xmin", Kind::Int64),
                Field::optional("origin", Kind::Text),
                Field::optional("origin_lsn", Kind::Int64),
            ],
            SourceFields::Binlog => vec![
                Field::optional("table", Kind::Text),
                Field::plain("server_id", Kind::Int64),
                Field::optional("gtid", Kind::Text),
                Field::plain("file", Kind::Text),
                Field::plain("pos", Kind::Int64),
                Field::plain("row", Kind::Int32),
                Field::optional("thread", Kind::Int64),
                Field::optional("query", Kind::Text),
            ],
            SourceFields::Generic => vec![
                Field::plain("schema", Kind::Text),
                Field::plain("table", Kind::Text),
                Field::optional("txId", Kind::Int64),
                Field::optional("position", Kind::Text),
            ],
        };
        fields.extend(own);
        let name = match self.fields {
            SourceFields::Postgres | SourceFields::Binlog => format!("io.debezium.connector.{}.Source", self.kind),
            SourceFields::Generic => format!("tailrace.{}.Source", self.kind),
        };
        ConnectSchema::named(Kind::Struct(fields), &name)
    }
}

// === impl SourceOfTable ===

impl SourceOfTable {
    pub(crate) fn new<N: Notation>(table: &TableSchema, fields: SourceFields) -> Self {
        // A logical message belongs to no table.
        let (schema, name) = match table.kind {
            TableKind::Table => (table.name.schema.as_str(), table.name.table.as_str()),
            TableKind::Message => ("", ""),
        };
        let (mut database, mut names) = (Vec::new(), Vec::new());
        N::syntax(&mut database, b",\"db\":");
        if fields == SourceFields::Binlog {
            N::text(&mut database, schema);
        } else {
            N::text(&mut database, &table.name.database);
            N::syntax(&mut names, b",\"schema\":");
            N::text(&mut names, schema);
        }
        N::syntax(&mut database, b",\"sequence\":");
        N::syntax(&mut names, b",\"table\":");
        if fields == SourceFields::Binlog {
            N::optional(&mut names, true);
        }
        N::text(&mut names, name);
        Self { database, names }
    }
}

// === impl SourceOfTransaction ===

impl SourceOfTransaction {
    /// Renders the parts of a transaction.
    pub(crate) fn render<N: Notation>(&mut self, constants: &SourceConstants, transaction: &Transaction) {
        let committed_at_us = transaction.committed_at_us;
        self.head.clear();
        self.head.extend_from_slice(&constants.head);
        N::int(&mut self.head, committed_at_us.div_euclid(1000));
        N::syntax(&mut self.head, b",\"snapshot\":");
        self.times.clear();
        write_number::<N>(&mut self.times, ",\"ts_us\":", Some(committed_at_us));
        let nanoseconds = committed_at_us.saturating_mul(1000);
        write_number::<N>(&mut self.times, ",\"ts_ns\":", Some(nanoseconds));
        self.tail.clear();
        if constants.fields == SourceFields::Binlog {
            self.render_binlog::<N>(transaction.binlog.as_ref());
        } else {
            write_number::<N>(&mut self.tail, ",\"txId\":", transaction.id.map(signed));
        }
        if constants.fields == SourceFields::Generic {
            write_optional_text::<N>(&mut self.tail, ",\"position\":", Some(&transaction.position));
            N::syntax(&mut self.tail, b"}");
        }
        self.log_position = transaction.log_position;
        self.previous_log_position = transaction.previous_log_position;
    }

    fn render_binlog<N: Notation>(&mut self, binlog: Option<&BinlogTransaction>) {
        let tail = &mut self.tail;
        N::syntax(tail, b",\"server_id\":");
        N::int(tail, binlog.map_or(0, |binlog| binlog.server_id.into()));
        write_optional_text::<N>(tail, ",\"gtid\":", binlog.and_then(|binlog| binlog.gtid.as_deref()));
        N::syntax(tail, b",\"file\":");
        N::text(tail, binlog.map_or("", |binlog| &binlog.file));
        N::syntax(tail, b",\"pos\":");
        self.end.clear();
        let thread = binlog.and_then(|binlog| binlog.thread_id).map(i64::from);
        write_end_of_binlog::<N>(&mut self.end, thread);
    }

    /// Writes the whole block.
    pub(crate) fn write<N: Notation>(
        &self,
        out: &mut Vec<u8>,
        fields: SourceFields,
        table: &SourceOfTable,
        change: SourceOfChange,
    ) {
        let log_position = change.log_position.or(self.log_position);
        out.extend_from_slice(&self.head);
        // It has a default, so that null is the last branch of its union.
        N::present(out, Optionality::NullLast);
        let snapshot = match (change.snapshot, change.incremental) {
            (false, _) => "false",
            (true, false) => "true",
            (true, true) => "incremental",
        };
        N::text(out, snapshot);
        out.extend_from_slice(&table.database);
        match fields {
            SourceFields::Binlog => N::optional(out, false),
            SourceFields::Postgres | SourceFields::Generic => {
                write_sequence::<N>(out, self.previous_log_position, log_position);
            }
        }
        out.extend_from_slice(&self.times);
        out.extend_from_slice(&table.names);
        out.extend_from_slice(&self.tail);
        match fields {
            SourceFields::Postgres => {
                write_number::<N>(out, ",\"lsn\":", log_position.map(signed));
                for name in [",\"xmin\":", ",\"origin\":", ",\"origin_lsn\":"] {
                    write_number::<N>(out, name, None);
                }
                N::syntax(out, b"}");
            }
            SourceFields::Binlog => {
                N::int(out, signed(log_position.unwrap_or_default()));
                N::syntax(out, b",\"row\":");
                N::int(out, signed(change.row()));
                if change.truncate {
                    write_end_of_binlog::<N>(out, None);
                } else {
                    out.extend_from_slice(&self.end);
                }
            }
            SourceFields::Generic => {}
        }
    }
}

// === impl SourceOfChange ===

impl SourceOfChange {
    /// Index of the row in its rows event; what a snapshot read is in none.
    fn row(self) -> u64 {
        if self.snapshot {
            0
        } else {
            self.ordinal & u64::from(u32::MAX)
        }
    }
}

/// Debezium's `sequence`: a JSON text of two decimal strings, the commit before and the change itself.
fn write_sequence<N: Notation>(out: &mut Vec<u8>, previous: Option<u64>, current: Option<u64>) {
    N::optional(out, current.is_some());
    let Some(current) = current else {
        return;
    };
    N::plain_text(out, |out| {
        match previous {
            Some(previous) => {
                out.push(b'[');
                write_quoted::<N>(out, previous);
                out.push(b',');
            }
            None => out.extend_from_slice(b"[null,"),
        }
        write_quoted::<N>(out, current);
        out.push(b']');
    });
}

/// A number in quotes, inside of text.
fn write_quoted<N: Notation>(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(N::INNER_QUOTE);
    write_unsigned(out, number);
    out.extend_from_slice(N::INNER_QUOTE);
}

fn write_end_of_binlog<N: Notation>(out: &mut Vec<u8>, thread: Option<i64>) {
    write_number::<N>(out, ",\"thread\":", thread);
    write_optional_text::<N>(out, ",\"query\":", None);
    N::syntax(out, b"}");
}

/// A field that may be null, with its name.
fn write_number<N: Notation>(out: &mut Vec<u8>, name: &str, value: Option<i64>) {
    N::syntax(out, name.as_bytes());
    N::optional(out, value.is_some());
    if let Some(value) = value {
        N::int(out, value);
    }
}

fn write_optional_text<N: Notation>(out: &mut Vec<u8>, name: &str, text: Option<&str>) {
    N::syntax(out, name.as_bytes());
    N::optional(out, text.is_some());
    if let Some(text) = text {
        N::text(out, text);
    }
}

/// A position as Java has it, which knows no numbers without a sign.
fn signed(position: u64) -> i64 {
    position.cast_signed()
}

#[cfg(test)]
mod tests {
    use tailrace_core::schema::TableName;

    use super::*;
    use crate::notation::Json;

    fn table() -> TableSchema {
        TableSchema {
            name: TableName {
                database: "app".into(),
                schema: "public".into(),
                table: "customers".into(),
            },
            kind: TableKind::Table,
            columns: Vec::new(),
            key: Vec::new(),
            documentation: None,
        }
    }

    fn transaction() -> Transaction {
        Transaction {
            id: Some(555),
            committed_at_us: 1_700_000_000_123_456,
            position: "0/16E9018".into(),
            log_position: Some(24_023_130),
            previous_log_position: Some(24_023_119),
            binlog: None,
        }
    }

    fn of_change(snapshot: bool, log_position: Option<u64>) -> SourceOfChange {
        SourceOfChange {
            snapshot,
            incremental: false,
            truncate: false,
            log_position,
            ordinal: 5 << 32 | 2,
        }
    }

    fn block(kind: &str, change: SourceOfChange, transaction: &Transaction) -> String {
        let constants = SourceConstants::new::<Json>(kind, "srv", "3.7.0");
        let mut parts = SourceOfTransaction::default();
        parts.render::<Json>(&constants, transaction);
        let mut out = Vec::new();
        let table = SourceOfTable::new::<Json>(&table(), constants.fields);
        parts.write::<Json>(&mut out, constants.fields, &table, change);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn postgres_as_debezium_writes_it() {
        let change = of_change(false, Some(24_023_128));
        assert_eq!(
            block("postgresql", change, &transaction()),
            concat!(
                r#"{"version":"3.7.0","connector":"postgresql","name":"srv","ts_ms":1700000000123,"snapshot":"false","db":"app","#,
                r#""sequence":"[\"24023119\",\"24023128\"]","ts_us":1700000000123456,"ts_ns":1700000000123456000,"#,
                r#""schema":"public","table":"customers","txId":555,"lsn":24023128,"xmin":null,"origin":null,"origin_lsn":null}"#
            )
        );
    }

    #[test]
    fn a_snapshot_has_no_commit_before() {
        let transaction = Transaction {
            id: None,
            previous_log_position: None,
            ..transaction()
        };
        let text = block("postgresql", of_change(true, None), &transaction);
        assert!(text.contains(r#""snapshot":"true","db":"app","sequence":"[null,\"24023130\"]""#));
        assert!(text.contains(r#""txId":null,"lsn":24023130"#));
    }

    #[test]
    fn a_source_without_a_log_says_its_position() {
        let transaction = Transaction {
            id: None,
            log_position: None,
            previous_log_position: None,
            ..transaction()
        };
        let text = block("sqlite", of_change(false, None), &transaction);
        assert!(text.contains(r#""connector":"sqlite""#));
        assert!(text.contains(r#""sequence":null"#));
        assert!(text.ends_with(r#""table":"customers","txId":null,"position":"0/16E9018"}"#));
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }

    #[test]
    fn mysql_as_debezium_writes_it() {
        let binlog = BinlogTransaction {
            file: "mysql-bin.000003".into(),
            server_id: 223_344,
            thread_id: Some(7),
            gtid: Some("3e11fa47-71ca-11e1-9e33-c80aa9429562:23".into()),
        };
        let transaction = Transaction {
            id: None,
            binlog: Some(binlog),
            committed_at_us: 1_700_000_000_000_000,
            ..transaction()
        };
        assert_eq!(
            block("mysql", of_change(false, Some(484)), &transaction),
            concat!(
                r#"{"version":"3.7.0","connector":"mysql","name":"srv","ts_ms":1700000000000,"snapshot":"false","db":"public","#,
                r#""sequence":null,"ts_us":1700000000000000,"ts_ns":1700000000000000000,"table":"customers","server_id":223344,"#,
                r#""gtid":"3e11fa47-71ca-11e1-9e33-c80aa9429562:23","file":"mysql-bin.000003","pos":484,"row":2,"thread":7,"query":null}"#
            )
        );
    }

    #[test]
    fn a_snapshot_of_mariadb_is_at_a_place_in_the_log_and_of_no_server() {
        let binlog = BinlogTransaction {
            file: "mariadb-bin.000001".into(),
            server_id: 0,
            thread_id: None,
            gtid: None,
        };
        let transaction = Transaction {
            id: None,
            binlog: Some(binlog),
            log_position: Some(1024),
            previous_log_position: None,
            ..transaction()
        };
        let text = block("mariadb", of_change(true, None), &transaction);
        assert!(text.contains(r#""connector":"mariadb""#));
        assert!(text.ends_with(
            r#""table":"customers","server_id":0,"gtid":null,"file":"mariadb-bin.000001","pos":1024,"row":0,"thread":null,"query":null}"#
        ));
        let nowhere = Transaction {
            binlog: None,
            log_position: None,
            ..transaction
        };
        let text = block("mariadb", of_change(false, None), &nowhere);
        assert!(text.ends_with(r#""server_id":0,"gtid":null,"file":"","pos":0,"row":2,"thread":null,"query":null}"#));
    }
}
