//! What is read, in which order, and as which operation.

use tailrace_sql::QueryMode;

use super::*;

const ORDERS: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT NOT NULL)";
const TIMED: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT, changed DATETIME NOT NULL);
                     CREATE INDEX orders_changed ON orders (changed, id)";

#[tokio::test]
async fn existing_rows_are_read_and_later_ones_created() {
    let mut shop = Shop::new(ORDERS).await;
    shop.execute("INSERT INTO orders (item) VALUES ('a'), ('b')").await;
    let mut source = shop.open(shop.config(QueryMode::Incrementing), None).await.unwrap();
    let (first, progress) = read(&mut *source, 2).await;
    assert_eq!(progress.position.as_str(), r#"{"orders":{"id":2,"load_end":2}}"#);
    shop.execute("INSERT INTO orders (item) VALUES ('c')").await;
    let (second, _) = read(&mut *source, 1).await;
    let all = [first, second].concat();
    let operations: Vec<_> = all.iter().map(|event| event.operation).collect();
    assert_eq!(operations, ["r", "r", "c"]);
    assert_eq!(texts(&all, "item"), ["a", "b", "c"]);
    assert!(all[2].id.ends_with("/orders/3/0"), "{}", all[2].id);
    assert!(all.is_sorted_by_key(|event| event.updated_at_us));
}

#[tokio::test]
async fn a_table_that_was_empty_at_the_first_poll_creates() {
    let mut shop = Shop::new(ORDERS).await;
    let mut source = shop.open(shop.config(QueryMode::Incrementing), None).await.unwrap();
    let heartbeat = source.next_batch(BUDGET).await.unwrap();
    assert!(heartbeat.is_heartbeat());
    drop(source);
    shop.execute("INSERT INTO orders (item) VALUES ('a')").await;
    let mut source = shop
        .open(shop.config(QueryMode::Incrementing), Some(heartbeat.progress))
        .await
        .unwrap();
    let (events, _) = read(&mut *source, 1).await;
    assert_eq!(events[0].operation, "c");
}

#[tokio::test]
async fn ten_thousand_rows_of_one_timestamp_survive_small_pages() {
    let mut shop = Shop::new(TIMED).await;
    let rows = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
                INSERT INTO orders SELECT i, 'x', '2026-01-31 10:00:00' FROM n";
    shop.execute(rows).await;
    let mut config = shop.config(QueryMode::TimestampIncrementing);
    config.query.batch_rows = 97;
    let mut source = shop.open(config, None).await.unwrap();
    let (events, _) = read(&mut *source, 10_000).await;
    assert_eq!(ints(&events, "id"), (1..=10_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn with_timestamps_new_rows_create_and_old_ones_update() {
    let mut shop = Shop::new(TIMED).await;
    shop.execute("INSERT INTO orders VALUES (1, 'a', '2026-01-01 00:00:00'), (2, 'b', '2026-01-02 00:00:00')")
        .await;
    let mut config = shop.config(QueryMode::TimestampIncrementing);
    // What is there at the first poll ends this much before it, and the clock of the rows counts milliseconds.
    config.query.delay_ms = 50;
    let mut source = shop.open(config, None).await.unwrap();
    let (loaded, _) = read(&mut *source, 2).await;
    shop.execute(
        "BEGIN; INSERT INTO orders VALUES (3, 'c', strftime('%Y-%m-%d %H:%M:%f'));
         UPDATE orders SET item = 'A', changed = strftime('%Y-%m-%d %H:%M:%f') WHERE id = 1; COMMIT",
    )
    .await;
    let (mut changed, _) = read(&mut *source, 2).await;
    changed.sort_by_key(|event| event.row["item"] == Datum::Text("A".into()));
    let operations: Vec<_> = loaded.iter().chain(&changed).map(|event| event.operation).collect();
    assert_eq!(operations, ["r", "r", "c", "u"]);
    assert_eq!(loaded[0].updated_at_us, 1_767_225_600_000_000);
    assert_eq!(texts(&changed, "item"), ["c", "A"]);
}

#[tokio::test]
async fn rows_younger_than_the_delay_wait() {
    let mut shop = Shop::new(TIMED).await;
    shop.execute("INSERT INTO orders VALUES (1, 'old', '2026-01-01 00:00:00'), (2, 'future', '2999-01-01 00:00:00')")
        .await;
    let mut source = shop
        .open(shop.config(QueryMode::TimestampIncrementing), None)
        .await
        .unwrap();
    shop.execute("INSERT INTO orders VALUES (3, 'now', strftime('%Y-%m-%d %H:%M:%f'))")
        .await;
    let events = read_until(&mut *source, "item", "now").await;
    assert_eq!(texts(&events, "item"), ["old", "now"]);
}

#[tokio::test]
async fn timestamps_of_two_formats_that_sort_wrongly_stop_the_source() {
    let mut shop = Shop::new(TIMED).await;
    shop.execute("INSERT INTO orders VALUES (1, 'a', '2026-01-31 10:00:00'), (2, 'b', '2026-01-31T09:00:00')")
        .await;
    let mut source = shop
        .open(shop.config(QueryMode::TimestampIncrementing), None)
        .await
        .unwrap();
    assert_eq!(read_to_error(&mut *source).await.code(), "timestamp_order");
}

#[tokio::test]
async fn numbers_julian_days_and_text_ids_are_cursors_too() {
    let mut shop = Shop::new(
        "CREATE TABLE a (id TEXT PRIMARY KEY NOT NULL, changed INTEGER NOT NULL) WITHOUT ROWID;
         CREATE TABLE b (id INTEGER PRIMARY KEY, changed REAL NOT NULL);
         INSERT INTO a VALUES ('y', 1769853600), ('x', 1769853600), ('z', 1769853599);
         INSERT INTO b VALUES (1, julianday('2026-01-31 10:00:00')), (2, julianday('2026-01-31 10:00:00'))",
    )
    .await;
    let mut config = shop.config(QueryMode::TimestampIncrementing);
    config.query.batch_rows = 1;
    let mut source = shop.open(config, None).await.unwrap();
    let (events, _) = read(&mut *source, 5).await;
    let (a, b): (Vec<_>, Vec<_>) = events.into_iter().partition(|event| event.table == "a");
    assert_eq!(texts(&a, "id"), ["z", "x", "y"]);
    assert_eq!(ints(&b, "id"), [1, 2]);
    assert!(
        a[1..]
            .iter()
            .chain(&b)
            .all(|event| event.updated_at_us == 1_769_853_600_000_000)
    );
    shop.execute("INSERT INTO a VALUES ('w', unixepoch())").await;
    let (more, _) = read(&mut *source, 1).await;
    assert_eq!(texts(&more, "id"), ["w"]);
}

#[tokio::test]
async fn tables_take_turns() {
    let mut shop = Shop::new(&format!(
        "{ORDERS}; CREATE TABLE lines (id INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT)"
    ))
    .await;
    shop.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50)
         INSERT INTO orders (item) SELECT 'o' FROM n; INSERT INTO lines (item) SELECT 'l' FROM orders",
    )
    .await;
    let mut config = shop.config(QueryMode::Incrementing);
    config.query.batch_rows = 10;
    let mut source = shop.open(config, None).await.unwrap();
    let mut order = Vec::new();
    while order.len() < 10 {
        let batch = source.next_batch(BUDGET).await.unwrap();
        order.extend(events(&batch).first().map(|event| event.table.clone()));
    }
    let expected: Vec<_> = ["lines", "orders"].repeat(5);
    assert_eq!(order, expected);
}

#[tokio::test]
async fn a_batch_keeps_to_its_budget_of_bytes() {
    let mut shop = Shop::new(ORDERS).await;
    shop.execute("INSERT INTO orders (item) VALUES (printf('%.*c', 5000, 'a')), (printf('%.*c', 5000, 'b')), ('c')")
        .await;
    let mut source = shop.open(shop.config(QueryMode::Incrementing), None).await.unwrap();
    let budget = Budget {
        changes: 100,
        bytes: 1000,
    };
    for expected in [1, 1, 1] {
        assert_eq!(source.next_batch(budget).await.unwrap().changes.len(), expected);
    }
}

#[tokio::test]
async fn ids_that_come_again_below_the_cursor_are_seen_under_another_position() {
    let mut shop = Shop::new("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT)").await;
    shop.execute("INSERT INTO orders (item) VALUES ('a'), ('b')").await;
    let mut source = shop.open(shop.config(QueryMode::Incrementing), None).await.unwrap();
    let (first, _) = read(&mut *source, 2).await;
    shop.execute("DELETE FROM orders WHERE id = 2").await;
    // The poll that sees the table end below its cursor says so in a heartbeat.
    while !source
        .next_batch(BUDGET)
        .await
        .unwrap()
        .progress
        .position
        .as_str()
        .contains("generation")
    {}
    shop.execute("INSERT INTO orders (item) VALUES ('c')").await;
    let (second, _) = read(&mut *source, 1).await;
    assert_eq!(ints(&second, "id"), [2]);
    assert_eq!(second[0].operation, "c");
    assert_ne!(second[0].id, first[1].id);
    assert!(shop.telemetry.snapshot().notices.contains_key("ids_reused"));
}

#[tokio::test]
async fn autoincrement_ids_that_go_back_stop_the_source() {
    let mut shop = Shop::new(ORDERS).await;
    shop.execute("INSERT INTO orders (item) VALUES ('a'), ('b')").await;
    let mut source = shop.open(shop.config(QueryMode::Incrementing), None).await.unwrap();
    read(&mut *source, 2).await;
    // Deleting rows alone is nothing: SQLite remembers the number.
    shop.execute("DELETE FROM orders; INSERT INTO orders (item) VALUES ('c')")
        .await;
    let (events, _) = read(&mut *source, 1).await;
    assert_eq!(ints(&events, "id"), [3]);
    shop.execute("DELETE FROM orders; DELETE FROM sqlite_sequence").await;
    assert_eq!(read_to_error(&mut *source).await.code(), "source_went_back");
}

#[tokio::test]
async fn pages_are_read_off_the_index_without_sorting() {
    let mut shop = Shop::new(&format!(
        "{TIMED}; CREATE TABLE plain (id INTEGER PRIMARY KEY AUTOINCREMENT)"
    ))
    .await;
    let config = shop.config(QueryMode::TimestampIncrementing);
    let discovery = crate::discover::discover(&mut shop.writer, &config).await.unwrap();
    let mut after = tailrace_sql::Cursor::default();
    let mut plans = Vec::new();
    for (table, mode) in discovery
        .tables
        .into_iter()
        .zip([QueryMode::TimestampIncrementing, QueryMode::Incrementing])
    {
        let mut query = config.query.clone();
        query.mode = mode;
        let plan = tailrace_sql::PolledTable::resolve(table, &query).unwrap();
        let timed = mode == QueryMode::TimestampIncrementing;
        for id in [None, Some(tailrace_sql::CursorValue::Integer(5))] {
            after.timestamp = id.clone().filter(|_| timed);
            after.id = id;
            let syntax = &crate::statement::SqliteSyntax;
            let statements = match timed {
                true => tailrace_sql::statement::by_time(syntax, &plan, &after),
                false => tailrace_sql::statement::by_id(syntax, &plan, after.id.as_ref(), None),
            };
            for statement in statements {
                let text = statement.render(|_, _| "?".to_owned());
                let explain = format!("EXPLAIN QUERY PLAN SELECT * {text} LIMIT 1");
                let rows = sqlx::query_as::<_, (i64, i64, i64, String)>(AssertSqlSafe(explain));
                plans.extend(
                    rows.fetch_all(&mut shop.writer)
                        .await
                        .unwrap()
                        .into_iter()
                        .map(|row| row.3),
                );
            }
        }
    }
    let expected = [
        "SCAN orders USING INDEX orders_changed",
        "SEARCH orders USING INDEX orders_changed (changed=? AND id>?)",
        "SEARCH orders USING INDEX orders_changed (changed>?)",
        "SCAN plain",
        "SEARCH plain USING INTEGER PRIMARY KEY (rowid>?)",
    ];
    assert_eq!(plans, expected);
}
