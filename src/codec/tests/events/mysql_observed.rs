//! A record that Debezium's connector for MySQL published (3.6.3, inline schemas, `bigint.unsigned.handling.mode=precise`) of
//! this row, and ours of the same row: the same bytes, but for the time of processing.
//!
//! ```sql
//! create table observed (
//!   id bigint unsigned not null, code char(3) not null, t tinyint default 7, su smallint unsigned not null, iu int unsigned,
//!   y year default 2018, f float, d double default 0.1, n decimal(8,3) default 1, b boolean not null default true, one bit(1),
//!   many bit(12) default b'000000000001', name varchar(20) default 'it', raw binary(3), doc json,
//!   e enum('a,b','it''s','back\\slash') default 'a,b', s set('x','y') not null default 'x,y', day date default '2026-01-01',
//!   at time(3) default '-123:00:00.5', dt datetime(3), dt6 datetime(6) default '2026-01-01 01:02:03.123456',
//!   ts timestamp(3) null, p point, v vector(2), primary key (code, id));
//! insert into observed values (18446744073709551615, 'k"é', -128, 65535, 4294967295, 2155, 1e10, 1e-7, -1.5, false, b'1',
//!   b'100000000001', '😀\n', x'0102', '{"b": [1, 2.5], "a": "é"}', 'it''s', 'y,x', '1969-12-31', '-838:59:59.000',
//!   '2014-09-08 17:51:04.777', '1969-12-31 23:59:59.999999', '2014-09-08 17:51:04.77',
//!   st_geomfromtext('POINT(8.25 3.5)', 4326), string_to_vector('[1.1,-3]'));
//! ```

use std::sync::Arc;

use tailrace_codec::EncoderSettings;
use tailrace_core::batch::{BinlogTransaction, Operation, Transaction};
use tailrace_core::schema::{Column, TableName, TableSchema};
use tailrace_core::value::{Datum, LogicalType, TextKind};

use crate::support::*;
use crate::vectors::{number, numeric, string};

/// Key and value, a tab between them.
pub(crate) const OBSERVED: &str = include_str!("observed/mysql.tsv");

/// Where the time of processing begins.
const PROCESSED: &str = r#""op":"c","ts_ms":"#;

/// A column, its default, its value.
type Observed = (&'static str, LogicalType, bool, Datum, Datum);

fn symbols(symbols: &[&str]) -> Arc<[String]> {
    symbols.iter().map(|symbol| (*symbol).to_owned()).collect()
}

fn numbers_and_bits() -> Vec<Observed> {
    let bits = |length| LogicalType::Bits { length: Some(length) };
    let none = Datum::Null;
    vec![
        (
            "id",
            LogicalType::UnsignedInt64,
            false,
            none.clone(),
            string("18446744073709551615"),
        ),
        ("code", TEXT, false, none.clone(), string("k\"é")),
        ("t", LogicalType::Int16, true, number(7), number(-128)),
        ("su", LogicalType::Int32, false, none.clone(), number(65_535)),
        ("iu", LogicalType::Int64, true, none.clone(), number(4_294_967_295)),
        ("y", LogicalType::Year, true, number(2018), number(2155)),
        ("f", LogicalType::Float32, true, none.clone(), Datum::Float32(1e10)),
        (
            "d",
            LogicalType::Float64,
            true,
            Datum::Float64(0.1),
            Datum::Float64(1e-7),
        ),
        ("n", numeric(8, 3), true, string("1.000"), string("-1.500")),
        ("b", LogicalType::Int16, false, number(1), number(0)),
        ("one", bits(1), true, none, string("1")),
        ("many", bits(12), true, string("000000000001"), string("100000000001")),
    ]
}

fn texts() -> Vec<Observed> {
    let none = Datum::Null;
    let text = LogicalType::Text;
    let one_of = TextKind::Enum(symbols(&["a,b", "it's", r"back\slash"]));
    let some_of = TextKind::Set(symbols(&["x", "y"]));
    let document = string(r#"{"a":"é","b":[1,2.5]}"#);
    vec![
        ("name", TEXT, true, string("it"), string("😀\n")),
        (
            "raw",
            LogicalType::Bytes,
            true,
            none.clone(),
            Datum::Bytes(vec![1, 2, 0]),
        ),
        ("doc", text(TextKind::Json), true, none, document),
        ("e", text(one_of), true, string("a,b"), string("it's")),
        ("s", text(some_of), false, string("x,y"), string("x,y")),
    ]
}

fn moments_and_figures() -> Vec<Observed> {
    let none = Datum::Null;
    let timestamp = |precision| LogicalType::Timestamp { precision };
    let zoned = LogicalType::TimestampTz { precision: 3 };
    let point = Datum::List(vec![Datum::Float64(3.5), Datum::Float64(8.25), number(4326)]);
    let vector = Datum::List(vec![Datum::Float32(1.1), Datum::Float32(-3.0)]);
    let default = 1_767_229_323_123_456;
    vec![
        ("day", LogicalType::Date, true, number(20_454), number(-1)),
        (
            "at",
            LogicalType::Time { precision: 3 },
            true,
            number(-442_800_500_000),
            number(-3_020_399_000_000),
        ),
        ("dt", timestamp(3), true, none.clone(), number(1_410_198_664_777_000)),
        ("dt6", timestamp(6), true, number(default), number(-1)),
        ("ts", zoned, true, none.clone(), number(1_410_198_664_770_000)),
        ("p", LogicalType::Point, true, none.clone(), point),
        ("v", LogicalType::FloatVector, true, none, vector),
    ]
}

fn transaction() -> Transaction {
    Transaction {
        committed_at_us: 1_795_264_746_728_765,
        binlog: Some(BinlogTransaction {
            file: "binlog.000001".into(),
            server_id: 1,
            thread_id: Some(38),
            gtid: Some("887ab675-e5a5-11f1-b9a0-02fc00000001:208".into()),
        }),
        ..binlog_transaction()
    }
}

#[test]
fn a_row_is_published_as_debezium_published_it() {
    let observed = [numbers_and_bits(), texts(), moments_and_figures()].concat();
    let columns = observed
        .iter()
        .map(|(name, logical_type, nullable, default, _)| Column {
            nullable: *nullable,
            default: Some(default.clone()).filter(|default| *default != Datum::Null),
            ..column(name, logical_type.clone())
        });
    let schema = TableSchema {
        name: TableName {
            database: String::new(),
            schema: "shop".into(),
            table: "observed".into(),
        },
        ..table(columns.collect(), vec![1, 0]).as_ref().clone()
    };
    let mut batch = Batch::new(&schema.into());
    batch.changes.transactions = vec![transaction()];
    let row: Vec<Cell> = observed.into_iter().map(|(.., value)| Cell::Is(value)).collect();
    let change = batch.change(Operation::Create, None, Some(&row));
    change.log_position = Some(435_037);
    change.ordinal = 0;
    let settings = EncoderSettings {
        version: "3.6.3.Final".into(),
        ..settings_of(
            "mysql",
            r#"{"envelope":"debezium","inline_schema":true,"bigint_unsigned":"precise"}"#,
        )
    };
    let event = batch.encode_with(settings).remove(0);
    let (key, value) = OBSERVED.trim_end().split_once('\t').unwrap();
    assert_eq!(event.topic, "srv.shop.observed");
    assert_eq!(event.key.as_deref(), Some(key));
    let before_processing = |text: &str| text.split_once(PROCESSED).unwrap().0.to_owned();
    assert_eq!(before_processing(&event.value.unwrap()), before_processing(value));
}
