//! PostgreSQL as a source: by its log, by queries, by queues, by change tables.

use serde_json::json;
use tailrace_tests::database::Database;
use tailrace_tests::servers::PostgresVersion;

use super::captured;
use crate::capture::{Capture, database_with};

/// A table that is captured, one in another schema, and one that is nobody's business.
const TABLES: &str =
    "create table orders (id serial primary key, note text); insert into orders (note) values ('one'), ('two');
    create schema sales; create table sales.lines (id int primary key); create table secrets (id int primary key)";

/// What every role may otherwise do.
async fn hardened(tables: &str) -> Database {
    let database = database_with(PostgresVersion::V17, tables).await;
    let name = database.name();
    let revoke = format!("revoke all on database {name} from public; revoke all on schema public from public");
    database.execute(&revoke).await.unwrap();
    database
}

async fn insert(capture: &Capture) {
    capture
        .database
        .execute("insert into orders (note) values ('three')")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn by_its_log() {
    let database = hardened(TABLES).await;
    let (capture, user) = captured(&database, "[public.orders, sales.lines]", "", "");
    let case = capture.case(&user);
    let statements = case.is_exact().await;
    capture.start_again();
    insert(&capture).await;
    capture.arrive("orders", 3).await;
    capture.ask(&json!({ "tables": ["public.orders"] }));
    capture.arrive("orders", 6).await;
    case.has_nothing_more(&statements).await;
}

/// Patterns are filled in by the database, when the script is run: partitions have rights of their own.
#[tokio::test(flavor = "multi_thread")]
async fn by_its_log_with_patterns() {
    let tables = format!(
        "{TABLES}; create table order_days (id int, day int, primary key (id, day)) partition by list (day);
         create table first_day partition of order_days for values in (1);
         create table order_old (id int primary key); insert into order_days values (1, 1)"
    );
    let database = hardened(&tables).await;
    let source = "exclude: [public.order_old]\npublication_via_partition_root: true";
    let (capture, user) = captured(&database, "[public.order*, sales.lines]", source, "");
    let case = capture.case(&user);
    case.apply().await;
    case.is_ready();
    assert_eq!(
        case.read_in_postgres().await,
        [
            "SELECT public.first_day",
            "SELECT public.order_days",
            "SELECT public.orders",
            "SELECT sales.lines"
        ]
    );
    capture.start_again();
    insert(&capture).await;
    capture.arrive("orders", 3).await;
    capture.arrive("order_days", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_queries() {
    let database = hardened(TABLES).await;
    let source = "query: { mode: incrementing, poll_interval_ms: 20 }";
    let (capture, user) = captured(&database, "[public.orders]", source, "");
    let case = capture.case(&user);
    let statements = case.apply().await;
    case.is_ready();
    case.misses_each(&statements, &[]).await;
    // The right to the sequence is given by a block.
    let sequence = format!("on sequence orders_id_seq from {user}");
    database.execute(&format!("revoke select {sequence}")).await.unwrap();
    assert!(case.told().0.contains("GRANT SELECT ON SEQUENCE"), "{}", case.told().0);
    case.database
        .execute(&format!("grant select on sequence orders_id_seq to {user}"))
        .await
        .unwrap();
    let held = case.held_in_postgres().await;
    assert_eq!(held.len(), 4, "{held:?}");
    capture.start_again();
    insert(&capture).await;
    capture.arrive("orders", 3).await;
}

/// Sequences that number rows belong to a column, or stand in its default; patterns may hold what looks like the end of a block.
#[tokio::test(flavor = "multi_thread")]
async fn by_queries_with_patterns() {
    let tables = format!(
        "{TABLES}; create sequence numbers; create table order_lines (id int primary key default nextval('numbers'));
         create table order_log (id int generated always as identity primary key);
         create table order_old (id serial primary key); create table invoices (id serial primary key);
         create table others (id serial primary key)"
    );
    let database = hardened(&tables).await;
    let source = "query: { mode: incrementing, poll_interval_ms: 20, overrides: { public.order_log: { mode: bulk } } }\n\
                  exclude: [public.order_old, \"public.order$tailrace$*\"]";
    let (capture, user) = captured(&database, "[public.order*, public.invoices]", source, "");
    let case = capture.case(&user);
    case.apply().await;
    case.is_ready();
    assert_eq!(
        case.read_in_postgres().await,
        [
            "SELECT SEQUENCE public.invoices_id_seq",
            "SELECT SEQUENCE public.numbers",
            "SELECT SEQUENCE public.orders_id_seq",
            "SELECT public.invoices",
            "SELECT public.order_lines",
            "SELECT public.order_log",
            "SELECT public.orders"
        ]
    );
    let revoke = format!("revoke select on sequence numbers from {user}");
    database.execute(&revoke).await.unwrap();
    let (told, code) = case.told();
    let again = format!("GRANT SELECT ON SEQUENCE public.numbers TO \"{user}\"");
    assert!(code == Some(3) && told.contains(&again), "{told}");
    database.execute(&again).await.unwrap();
    capture.start_again();
    insert(&capture).await;
    capture.arrive("orders", 3).await;
}

/// Rows of a queue are marked in one column, or deleted; daemons take turns.
#[tokio::test(flavor = "multi_thread")]
async fn by_queues() {
    const LEASE: &str = include_str!("../../../../migrations/outbox/postgres/0002_lease.sql");
    for acknowledge in ["{ mark: done_at }", "delete"] {
        let tables = format!("{TABLES}; alter table orders add done_at timestamptz; {LEASE}");
        let database = hardened(&tables).await;
        let source = format!("query: {{ mode: queue, poll_interval_ms: 20, acknowledge: {acknowledge}, lease: {{}} }}");
        let (capture, user) = captured(&database, "[public.orders]", &source, "");
        let case = capture.case(&user);
        case.is_exact().await;
        capture.start_again();
        insert(&capture).await;
        capture.arrive("orders", 3).await;
        let left = "(select count(*) from orders where done_at is null) = 0";
        database.wait_until(left).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_change_tables() {
    for source in ["", "query: { mode: queue, poll_interval_ms: 20 }"] {
        let database = hardened(TABLES).await;
        let (capture, user) = captured(&database, "[public.orders]", source, "change_table: {}");
        // An administrator makes them, with a configuration of its own.
        let (own, _) = installed(&database, source);
        let made = own
            .daemon
            .command("triggers install", &[database.name(), "--backfill", "--apply"]);
        let made = made.unwrap();
        assert_eq!(made.code, Some(0), "{}", made.all());
        let case = capture.case(&user);
        case.is_exact().await;
        capture.start_again();
        insert(&capture).await;
        capture.arrive("orders", 3).await;
    }
}

/// The same as a superuser.
fn installed(database: &Database, source: &str) -> (Capture, String) {
    let wanted = crate::capture::Wanted {
        tables: "[public.orders]",
        source,
        connector: "change_table: {}",
        ..Default::default()
    };
    (Capture::prepare(database.clone(), &wanted), String::new())
}
