//! Values through a real file: what SQLite's affinity makes of them before they are read.

use tailrace_core::error::Kind;
use tailrace_sql::QueryMode;

use super::*;
use crate::ColumnType;

const DECLARED: [&str; 10] = [
    "INTEGER",
    "REAL",
    "DECIMAL(10,2)",
    "BOOLEAN",
    "TEXT",
    "STRING",
    "BLOB",
    "DATE",
    "DATETIME",
    "",
];
const LITERALS: [&str; 9] = [
    "NULL",
    "1",
    "1.5",
    "'abc'",
    "'7'",
    "X'AB01'",
    "''",
    "'2026-01-31'",
    "'2026-01-31 10:00:00'",
];

#[tokio::test]
async fn every_literal_in_every_declaration_is_itself_or_refused_by_name() {
    let mut outcomes = String::new();
    for declared in DECLARED {
        for literal in LITERALS {
            let mut shop = Shop::new(&format!("CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})")).await;
            shop.execute(&format!("INSERT INTO t VALUES (1, {literal})")).await;
            let mut source = shop.open(shop.config(QueryMode::Incrementing), None).await.unwrap();
            let outcome = match source.next_batch(BUDGET).await {
                Ok(batch) => format!("{:?}", events(&batch)[0].row["v"]),
                Err(error) => {
                    assert_eq!((error.code(), error.kind()), ("value_misfit", Kind::Poison));
                    assert!(error.to_string().contains("table t, row 1: column v"), "{error}");
                    "refused".to_owned()
                }
            };
            outcomes.push_str(&format!(
                "{:<14} {literal:<22} {outcome}\n",
                if declared.is_empty() { "(none)" } else { declared }
            ));
        }
    }
    let expected = include_str!("storage_classes.txt");
    let differing: Vec<_> = outcomes
        .lines()
        .zip(expected.lines())
        .filter(|(is, should)| is != should)
        .collect();
    assert!(
        differing.is_empty() && outcomes.len() == expected.len(),
        "{differing:#?} in\n{outcomes}"
    );
}

#[tokio::test]
async fn a_configured_type_holds_what_the_declared_one_refuses() {
    let mut shop = Shop::new("CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER, at INTEGER)").await;
    shop.execute("INSERT INTO t VALUES (1, 'n/a', 1769853600123)").await;
    let mut config = shop.config(QueryMode::Incrementing);
    config.columns.insert("t.v".to_owned(), ColumnType::Text);
    config.columns.insert("t.at".to_owned(), ColumnType::Timestamp);
    config.timestamp_unit = crate::TimestampUnit::Milliseconds;
    let mut source = shop.open(config, None).await.unwrap();
    let (events, _) = read(&mut *source, 1).await;
    assert_eq!(events[0].row["v"], Datum::Text("n/a".into()));
    assert_eq!(events[0].row["at"], Datum::Int(1_769_853_600_123_000));
}

#[tokio::test]
async fn databases_in_utf_16_and_odd_names_are_read() {
    let mut shop = Shop::new(
        "PRAGMA encoding = 'UTF-16le'; CREATE TABLE \"or\"\"der s\" (\"i d\" INTEGER PRIMARY KEY, \"na.me\" TEXT)",
    )
    .await;
    shop.execute("INSERT INTO \"or\"\"der s\" VALUES (1, 'žluťoučký 🐎'), (2, '')")
        .await;
    let mut source = shop.open(shop.config(QueryMode::Incrementing), None).await.unwrap();
    let (events, _) = read(&mut *source, 2).await;
    assert_eq!(texts(&events, "na.me"), ["žluťoučký 🐎", ""]);
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_refused_by_name() {
    let mut shop = Shop::new("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)").await;
    shop.execute("INSERT INTO t VALUES (1, CAST(X'FFFE41' AS TEXT))").await;
    let mut source = shop.open(shop.config(QueryMode::Incrementing), None).await.unwrap();
    let error = read_to_error(&mut *source).await;
    assert_eq!((error.code(), error.kind()), ("value_misfit", Kind::Poison));
    assert!(
        error
            .to_string()
            .contains("table t, row 1: column v, declared TEXT, holds TEXT of 3 bytes that are not valid"),
        "{error}"
    );
    let mut config = shop.config(QueryMode::Incrementing);
    config.columns.insert("t.v".to_owned(), ColumnType::Bytes);
    let mut source = shop.open(config, None).await.unwrap();
    assert_eq!(
        read(&mut *source, 1).await.0[0].row["v"],
        Datum::Bytes(vec![0xFF, 0xFE, 0x41])
    );
}

#[tokio::test]
async fn rows_before_a_bad_one_go_out_first() {
    let mut shop = Shop::new("CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)").await;
    shop.execute("INSERT INTO t VALUES (1, 10), (2, 20), (3, 'bad'), (4, 40)")
        .await;
    let mut source = shop.open(shop.config(QueryMode::Incrementing), None).await.unwrap();
    let (events, _) = read(&mut *source, 2).await;
    assert_eq!(ints(&events, "v"), [10, 20]);
    for _ in 0..2 {
        let error = source.next_batch(BUDGET).await.unwrap_err();
        assert!(error.to_string().contains("row 3"), "{error}");
    }
}

#[tokio::test]
async fn the_largest_and_smallest_values_come_through() {
    let mut shop = Shop::new("CREATE TABLE t (id INTEGER PRIMARY KEY, i INTEGER, r REAL, d NUMERIC)").await;
    shop.execute(
        "INSERT INTO t VALUES (-9223372036854775808, -9223372036854775808, 5e-324, '0.1'),
         (9223372036854775807, 9223372036854775807, 1.7976931348623157e308, 9e99)",
    )
    .await;
    let mut config = shop.config(QueryMode::Incrementing);
    config.query.batch_rows = 1;
    let mut source = shop.open(config, None).await.unwrap();
    let (events, _) = read(&mut *source, 2).await;
    assert_eq!(ints(&events, "id"), [i64::MIN, i64::MAX]);
    assert_eq!(ints(&events, "i"), [i64::MIN, i64::MAX]);
    assert_eq!(events[0].row["r"], Datum::Float64(5e-324));
    assert_eq!(events[1].row["r"], Datum::Float64(f64::MAX));
    assert_eq!(events[0].row["d"], Datum::Text("0.1".into()));
    assert_eq!(events[1].row["d"], Datum::Text(format!("9{}", "0".repeat(99))));
}
