//! What happens to the database while it is read.

use tailrace_core::error::Kind;
use tailrace_core::telemetry::Life;
use tailrace_core::value::LogicalType;
use tailrace_sql::QueryMode;

use super::*;

const ORDERS: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT NOT NULL)";

#[tokio::test]
async fn a_writer_beside_it_loses_nothing() {
    let shop = Shop::new(ORDERS).await;
    let path = shop.path();
    let writer = tailrace_core::task::spawn_named("writer", async move {
        let mut connection = connect(&path).await;
        for transaction in 0..200 {
            let end = if transaction % 5 == 4 { "ROLLBACK" } else { "COMMIT" };
            let statements = format!(
                "BEGIN IMMEDIATE; INSERT INTO orders (item) VALUES ('{transaction}a'); INSERT INTO orders (item) VALUES \
                 ('{transaction}b'); {end}"
            );
            sqlx::raw_sql(AssertSqlSafe(statements))
                .execute(&mut connection)
                .await
                .unwrap();
        }
        sqlx::raw_sql("INSERT INTO orders (item) VALUES ('end')")
            .execute(&mut connection)
            .await
            .unwrap();
    });
    let mut config = shop.config(QueryMode::Incrementing);
    config.query.batch_rows = 3;
    let mut source = shop.open(config, None).await.unwrap();
    let events = read_until(&mut *source, "item", "end").await;
    writer.await.unwrap();
    let committed = (0..200).filter(|transaction| transaction % 5 != 4);
    let mut expected: Vec<_> = committed
        .flat_map(|transaction| [format!("{transaction}a"), format!("{transaction}b")])
        .collect();
    expected.push("end".to_owned());
    assert_eq!(texts(&events, "item"), expected);
}

#[tokio::test]
async fn a_rollback_journal_will_do_as_well() {
    let mut shop = Shop::new("PRAGMA journal_mode = DELETE").await;
    shop.execute(ORDERS).await;
    shop.execute("INSERT INTO orders (item) VALUES ('a')").await;
    let mut source = shop.open(shop.config(QueryMode::Incrementing), None).await.unwrap();
    read(&mut *source, 1).await;
    shop.execute("INSERT INTO orders (item) VALUES ('b')").await;
    assert_eq!(texts(&read(&mut *source, 1).await.0, "item"), ["b"]);
}

#[tokio::test]
async fn columns_and_tables_that_come_while_running_are_captured() {
    let mut shop = Shop::new(ORDERS).await;
    shop.execute("INSERT INTO orders (item) VALUES ('a')").await;
    let mut source = shop.open(shop.config(QueryMode::Incrementing), None).await.unwrap();
    read(&mut *source, 1).await;
    shop.execute(
        "ALTER TABLE orders ADD COLUMN price DECIMAL(10,2) NOT NULL DEFAULT 0;
         INSERT INTO orders (item, price) VALUES ('b', 2.5)",
    )
    .await;
    let (second, _) = read(&mut *source, 1).await;
    assert_eq!(second[0].row["price"], Datum::Text("2.50".into()));
    shop.execute("ALTER TABLE orders RENAME COLUMN item TO thing; INSERT INTO orders (thing) VALUES ('c')")
        .await;
    let (third, _) = read(&mut *source, 1).await;
    assert_eq!(texts(&third, "thing"), ["c"]);
    shop.execute(
        "CREATE TABLE customers (id INTEGER PRIMARY KEY, item TEXT); INSERT INTO customers (item) VALUES ('d');
         CREATE TABLE odd (a, b)",
    )
    .await;
    let (fourth, progress) = read(&mut *source, 1).await;
    assert_eq!(fourth[0].table, "customers");
    assert!(
        progress.position.as_str().contains(r#""orders":{"id":3"#),
        "{progress:?}"
    );
    let notices = shop.telemetry.snapshot().notices;
    assert!(notices["table_not_polled"].contains("odd"), "{notices:?}");
}

#[tokio::test]
async fn a_table_that_is_dropped_is_said_and_the_others_go_on() {
    let mut shop = Shop::new(&format!(
        "{ORDERS}; CREATE TABLE lines (id INTEGER PRIMARY KEY, item TEXT)"
    ))
    .await;
    let mut source = shop.open(shop.config(QueryMode::Incrementing), None).await.unwrap();
    shop.execute("INSERT INTO lines (item) VALUES ('a')").await;
    read(&mut *source, 1).await;
    shop.execute("DROP TABLE lines; INSERT INTO orders (item) VALUES ('b')")
        .await;
    let (events, progress) = read(&mut *source, 1).await;
    assert_eq!(texts(&events, "item"), ["b"]);
    assert!(progress.position.as_str().contains(r#""lines""#));
    assert!(shop.telemetry.snapshot().notices["table_gone"].contains("lines"));
}

#[tokio::test]
async fn the_same_version_of_a_table_is_the_same_pointer() {
    let mut shop = Shop::new(ORDERS).await;
    shop.execute("INSERT INTO orders (item) VALUES ('a')").await;
    let mut source = shop.open(shop.config(QueryMode::Incrementing), None).await.unwrap();
    let first = source.next_batch(BUDGET).await.unwrap();
    shop.execute("CREATE INDEX orders_item ON orders (item); INSERT INTO orders (item) VALUES ('b')")
        .await;
    let second = source.next_batch(BUDGET).await.unwrap();
    assert!(Arc::ptr_eq(&first.tables[0], &second.tables[0]));
}

#[tokio::test]
async fn a_dropped_call_is_continued_by_the_next() {
    let mut shop = Shop::new(ORDERS).await;
    let rows = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
                INSERT INTO orders (item) SELECT 'x' FROM n";
    shop.execute(rows).await;
    let mut source = shop.open(shop.config(QueryMode::Incrementing), None).await.unwrap();
    let mut all = Vec::new();
    while all.len() < 3000 {
        // Polled once and dropped: a call of its own never comes to an end.
        let answer = tokio::select! {
            biased;
            batch = source.next_batch(BUDGET) => Some(batch.unwrap()),
            () = tokio::task::yield_now() => None,
        };
        all.extend(answer.iter().flat_map(events));
    }
    assert_eq!(ints(&all, "id"), (1..=3000).collect::<Vec<_>>());
}

#[tokio::test]
async fn another_file_in_its_place_is_refused_until_it_is_accepted() {
    let mut shop = Shop::new(ORDERS).await;
    shop.execute("INSERT INTO orders (item) VALUES ('a')").await;
    let config = shop.config(QueryMode::Incrementing);
    let mut source = shop.open(config.clone(), None).await.unwrap();
    let (first, progress) = read(&mut *source, 1).await;
    close(&mut shop).await;
    let copy = shop.path().with_extension("copy");
    std::fs::copy(shop.path(), &copy).unwrap();
    std::fs::rename(&copy, shop.path()).unwrap();
    let running = read_to_error(&mut *source).await;
    assert_eq!((running.code(), running.kind()), ("source_changed", Kind::Definite));
    let Err(refused) = shop.open(config.clone(), Some(progress.clone())).await else {
        panic!("a foreign file was accepted");
    };
    assert_eq!(refused.code(), "source_changed");
    let mut accepting = config;
    accepting.accept_file = refused.to_string().split_whitespace().find_map(|word| {
        word.starts_with("inode-")
            .then(|| word.trim_end_matches(',').to_owned())
    });
    let mut source = shop.open(accepting, Some(progress)).await.unwrap();
    let mut writer = connect(&shop.path()).await;
    sqlx::raw_sql("INSERT INTO orders (item) VALUES ('b')")
        .execute(&mut writer)
        .await
        .unwrap();
    let (second, _) = read(&mut *source, 1).await;
    assert_eq!(texts(&second, "item"), ["b"]);
    assert_eq!(
        first[0].id.split_once('/').unwrap().0,
        second[0].id.split_once('/').unwrap().0
    );
}

#[tokio::test]
async fn life_goes_from_snapshotting_to_streaming() {
    let mut shop = Shop::new(ORDERS).await;
    shop.execute("INSERT INTO orders (item) VALUES ('a'), ('b'), ('c')")
        .await;
    let mut config = shop.config(QueryMode::Incrementing);
    config.query.batch_rows = 2;
    let mut source = shop.open(config, None).await.unwrap();
    source.next_batch(BUDGET).await.unwrap();
    assert_eq!(shop.telemetry.life(), Life::Snapshotting);
    source.next_batch(BUDGET).await.unwrap();
    assert_eq!(shop.telemetry.life(), Life::Streaming);
    let table = shop.telemetry.snapshot().tables["orders"].clone();
    assert_eq!((table.rows_done, table.finished), (3, true));
}

#[tokio::test]
async fn progress_of_another_mode_or_without_identity_is_refused() {
    let mut shop = Shop::new("CREATE TABLE orders (id INTEGER PRIMARY KEY, changed INTEGER NOT NULL)").await;
    shop.execute("INSERT INTO orders VALUES (1, 1700000000)").await;
    let mut source = shop.open(shop.config(QueryMode::Incrementing), None).await.unwrap();
    let (_, progress) = read(&mut *source, 1).await;
    let other = shop
        .open(shop.config(QueryMode::TimestampIncrementing), Some(progress.clone()))
        .await;
    assert_eq!(other.err().unwrap().code(), "position_other_mode");
    shop.store = Arc::new(MemoryStore::default());
    let forgotten = shop.open(shop.config(QueryMode::Incrementing), Some(progress)).await;
    assert_eq!(forgotten.err().unwrap().code(), "state_corrupt");
}

#[tokio::test]
async fn tables_are_described_with_keys_and_defaults() {
    let shop = Shop::new(
        "CREATE TABLE lines (number INTEGER, order_id INTEGER, note TEXT DEFAULT 'none', twice INT AS (number * 2), made DATETIME
         DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (order_id, number)) WITHOUT ROWID",
    )
    .await;
    let tables = SqliteConnector::new(shop.config(QueryMode::Incrementing))
        .unwrap()
        .describe()
        .await
        .unwrap();
    let table = &tables[0];
    assert_eq!(table.key, [1, 0]);
    let columns: Vec<_> = table
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.nullable))
        .collect();
    let expected = [
        ("number", false),
        ("order_id", false),
        ("note", true),
        ("twice", true),
        ("made", true),
    ];
    assert_eq!(columns, expected);
    assert_eq!(table.columns[2].default, Some(Datum::Text("none".into())));
    assert_eq!(table.columns[4].default, None);
    assert_eq!(table.columns[4].logical_type, LogicalType::Timestamp { precision: 6 });
}
