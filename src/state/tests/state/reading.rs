//! What people read of the state: much of it does not hold up who writes, and what is damaged of one connector is not of another.

use sqlx::Connection;
use tailrace_core::position::{Checkpoint, Position, Progress};
use tailrace_core::schema::{Column, TableKind, TableName, TableSchema};
use tailrace_core::value::LogicalType;
use tailrace_state::StateStore;

use crate::{PLENTY, letter};

#[tokio::test]
async fn a_list_of_letters_has_all_of_them_and_nothing_of_what_was_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let store = StateStore::open(&folder.path().join("state.db")).await.unwrap();
    let orders = store.connector("orders").await.unwrap();
    let many: Vec<_> = (1..=100).map(letter).collect();
    orders.quarantine(&many, PLENTY).await.unwrap();
    let numbers = async |behind, limit| {
        let letters = store.dead_letters("orders", (behind, limit, false)).await.unwrap();
        assert!(letters.iter().all(|letter| letter.letter.original.is_none()));
        letters.iter().map(|letter| letter.id).collect::<Vec<_>>()
    };
    assert_eq!(numbers(0, 1000).await, (1..=100).collect::<Vec<_>>());
    assert_eq!(numbers(10, 33).await, (11..=43).collect::<Vec<_>>());
    assert_eq!(numbers(100, 16).await, Vec::<u64>::new());
    let one = store.dead_letter("orders", 50).await.unwrap().unwrap();
    assert!(one.letter.original.is_some());
}

#[tokio::test]
async fn all_versions_of_all_tables_are_read_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let store = StateStore::open(&folder.path().join("state.db")).await.unwrap();
    let shop = store.connector("shop").await.unwrap();
    let mut expected = Vec::new();
    for table in 0..200 {
        for version in 1..=3 {
            let schema = TableSchema {
                name: TableName {
                    database: "shop".to_owned(),
                    schema: "public".to_owned(),
                    table: format!("t{table:03}"),
                },
                kind: TableKind::Table,
                columns: (0..version)
                    .map(|column| Column::new(format!("c{column}"), LogicalType::Int64))
                    .collect(),
                key: vec![0],
                documentation: None,
            };
            shop.record(&schema, &Position::new("0/1"), None).await.unwrap();
            expected.push((schema.name.qualified(), version));
        }
    }
    let known = store.table_versions("shop").await.unwrap().into_iter();
    let known: Vec<_> = known.map(|version| (version.table, version.version)).collect();
    assert_eq!(known, expected);
}

#[tokio::test]
async fn one_connector_is_read_whatever_is_wrong_with_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = StateStore::open(&path).await.unwrap();
    let checkpoint = Checkpoint {
        sequence: 1,
        progress: Progress::at(Position::new("0/1")),
    };
    for name in ["damaged", "whole"] {
        store.connector(name).await.unwrap().save(&checkpoint).await.unwrap();
    }
    let url = format!("sqlite://{}", path.display());
    let mut beside = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("UPDATE connectors SET newest_sequence = 7 WHERE name = 'damaged'")
        .execute(&mut beside)
        .await
        .unwrap();
    beside.close().await.unwrap();
    let whole = store.connector_state("whole").await.unwrap().unwrap();
    assert_eq!(whole.checkpoint, Some(checkpoint));
    assert_eq!(
        store.connector_state("damaged").await.unwrap_err().code(),
        "state_corrupt"
    );
    assert_eq!(store.connector_state("unknown").await.unwrap(), None);
}
