//! The modes that do not go by ids.

use tailrace_sql::QueryMode;
use tailrace_sql::config::{CustomQuery, DeletedRows, TableQueryConfig};

use super::*;

const UNKEYED: &str = "CREATE TABLE log (line TEXT, changed DATETIME NOT NULL)";
const ITEMS: &str = "CREATE TABLE items (id INTEGER PRIMARY KEY, item TEXT)";

fn operations(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(|event| event.operation).collect()
}

#[tokio::test]
async fn rows_of_one_time_are_never_divided_where_nothing_says_which_came_first() {
    let mut shop = Shop::new(UNKEYED).await;
    let rows = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
                INSERT INTO log SELECT 'line ' || i, '2026-01-31 10:00:0' || (i / 300) FROM n";
    shop.execute(rows).await;
    // Two lines that are alike are two.
    shop.execute("INSERT INTO log VALUES ('twin', '2026-01-31 10:00:05'), ('twin', '2026-01-31 10:00:05')")
        .await;
    let mut config = shop.config(QueryMode::Timestamp);
    config.query.timestamp_column = Some("changed".to_owned());
    config.query.batch_rows = 7;
    let mut source = shop.open(config.clone(), None).await.unwrap();
    let (first, progress) = read(&mut *source, 600).await;
    drop(source);
    let mut source = shop.open(config, Some(progress)).await.unwrap();
    let (second, _) = read(&mut *source, 1002 - first.len()).await;
    let all = [first, second].concat();
    assert_eq!(all.len(), 1002);
    let mut lines = texts(&all, "line");
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 1001);
    let mut ids: Vec<_> = all.iter().map(|event| &event.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 1002, "each line has its own event_id");
}

#[tokio::test]
async fn bulk_publishes_everything_at_every_poll() {
    let mut shop = Shop::new(ITEMS).await;
    shop.execute("INSERT INTO items VALUES (1, 'a'), (2, 'b'), (3, 'c')")
        .await;
    let mut config = shop.config(QueryMode::Bulk);
    config.query.batch_rows = 2;
    let mut source = shop.open(config, None).await.unwrap();
    let (events, _) = read(&mut *source, 6).await;
    assert_eq!(ints(&events[..6], "id"), [1, 2, 3, 1, 2, 3]);
    assert!(events.iter().all(|event| event.operation == "r"));
    assert_ne!(events[0].id, events[3].id, "another poll, another event");
}

#[tokio::test]
async fn bulk_without_an_id_reads_the_whole_answer() {
    let mut shop = Shop::new("CREATE TABLE notes (note TEXT)").await;
    shop.execute("INSERT INTO notes VALUES ('a'), ('b'), ('a')").await;
    let mut config = shop.config(QueryMode::Bulk);
    config.query.batch_rows = 1;
    let mut source = shop.open(config, None).await.unwrap();
    let batch = source.next_batch(BUDGET).await.unwrap();
    assert_eq!(texts(&events(&batch), "note"), ["a", "b", "a"]);
}

#[tokio::test]
async fn bulk_can_tell_what_is_new_changed_and_gone() {
    let mut shop = Shop::new(ITEMS).await;
    shop.execute("INSERT INTO items VALUES (1, 'a'), (2, 'b'), (3, 'c')")
        .await;
    let mut config = shop.config(QueryMode::Bulk);
    config.query.changes_only = true;
    config.query.batch_rows = 2;
    let mut source = shop.open(config, None).await.unwrap();
    let (first, _) = read(&mut *source, 3).await;
    assert_eq!(operations(&first), ["r", "r", "r"]);
    shop.execute("BEGIN; DELETE FROM items WHERE id = 1; UPDATE items SET item = 'B' WHERE id = 2; INSERT INTO items VALUES (4, 'd'); COMMIT")
        .await;
    let (second, _) = read(&mut *source, 3).await;
    assert_eq!(operations(&second), ["u", "c", "d"]);
    assert_eq!(ints(&second, "id"), [2, 4, 1]);
    assert_eq!(
        second[2].row["item"],
        Datum::Null,
        "only the key of what is gone is known"
    );
}

#[tokio::test]
async fn rows_that_are_marked_as_deleted_are_deletes() {
    let mut shop = Shop::new(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT, changed DATETIME NOT NULL, deleted_at DATETIME);
         CREATE TABLE lines (id INTEGER PRIMARY KEY, item TEXT, changed DATETIME NOT NULL, deleted_at TEXT)",
    )
    .await;
    shop.execute(
        "INSERT INTO orders VALUES (1, 'a', '2026-01-01 00:00:00', NULL), (2, 'b', '2026-01-02 00:00:00', '2026-01-02 00:00:00')",
    )
    .await;
    let mut config = shop.config(QueryMode::TimestampIncrementing);
    config.tables = vec!["orders".to_owned()];
    config.query.deleted = Some(DeletedRows {
        column: "deleted_at".to_owned(),
        value: None,
    });
    let mut source = shop.open(config, None).await.unwrap();
    let (orders, _) = read(&mut *source, 2).await;
    assert_eq!(operations(&orders), ["r", "d"]);
    shop.execute(
        "INSERT INTO lines VALUES (1, 'a', '2026-01-01 00:00:00', 'no'), (2, 'b', '2026-01-02 00:00:00', 'yes')",
    )
    .await;
    let mut config = shop.config(QueryMode::TimestampIncrementing);
    config.tables = vec!["lines".to_owned()];
    config.query.deleted = Some(DeletedRows {
        column: "deleted_at".to_owned(),
        value: Some("yes".to_owned()),
    });
    let mut source = shop.open(config, None).await.unwrap();
    let (lines, _) = read(&mut *source, 2).await;
    assert_eq!(operations(&lines), ["r", "d"]);
}

#[tokio::test]
async fn the_answer_of_a_query_is_polled_like_a_table() {
    let mut shop = Shop::new(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, changed DATETIME NOT NULL);
         CREATE TABLE lines (order_id INTEGER, price DECIMAL(10,2))",
    )
    .await;
    shop.execute(
        "INSERT INTO orders VALUES (1, '2026-01-01 00:00:00'), (2, '2026-01-02 00:00:00');
         INSERT INTO lines VALUES (1, 2.5), (1, 1), (2, 7)",
    )
    .await;
    let mut config = shop.config(QueryMode::TimestampIncrementing);
    // What is there at the first poll ends this much before it, and the clock of the rows counts milliseconds.
    config.query.delay_ms = 50;
    config.tables.clear();
    let sql = "SELECT o.id, count(*) AS lines, max(l.price) AS price, o.changed FROM orders o JOIN lines l ON l.order_id = o.id GROUP BY o.id";
    let query = CustomQuery {
        sql: sql.to_owned(),
        key: vec!["id".to_owned()],
    };
    config.query.queries.insert("order_sizes".to_owned(), query);
    config.query.overrides.insert(
        "order_sizes".to_owned(),
        TableQueryConfig {
            id_column: Some("id".to_owned()),
            ..TableQueryConfig::default()
        },
    );
    let mut source = shop.open(config, None).await.unwrap();
    let (rows, _) = read(&mut *source, 2).await;
    assert_eq!(ints(&rows, "id"), [1, 2]);
    assert_eq!(rows[0].table, "order_sizes");
    shop.execute("INSERT INTO lines VALUES (1, 9); UPDATE orders SET changed = strftime('%Y-%m-%d %H:%M:%f', 'now') WHERE id = 1")
        .await;
    let (rows, _) = read(&mut *source, 1).await;
    assert_eq!(
        (rows[0].operation, &rows[0].row["lines"]),
        ("u", &Datum::Text("3".to_owned()))
    );
}
