//! MySQL and MariaDB as sources: by their log, by queries, by queues, by change tables.

use serde_json::json;
use tailrace_tests::database::Database;
use tailrace_tests::servers::{MySqlOptions, MySqlVersion};

use super::captured;
use crate::capture::{Capture, Wanted, database_with};

const TABLES: &str = "create table orders (id bigint auto_increment primary key, note varchar(20), done_at datetime null) engine = InnoDB;
    insert into orders (note) values ('one'), ('two'); create table secrets (id int primary key) engine = InnoDB";

async fn insert(capture: &Capture) {
    let statement = "insert into orders (note) values ('three')";
    capture.database.execute(statement).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn by_their_log() {
    for version in MySqlVersion::ALL {
        let database = database_with(version, TABLES).await;
        let (capture, user) = captured(&database, "[public.orders]", "", "");
        let case = capture.case(&user);
        let statements = case.apply().await;
        case.is_ready();
        case.has_nothing_more(&statements).await;
        let advised: &[&str] = match version {
            // It cannot be told whether it lacks anything: a warning.
            MySqlVersion::MariaDb1011 => &["SLAVE MONITOR"],
            // With GTIDs there is another way, without certainty on a busy server.
            MySqlVersion::MySql97 => &["LOCK TABLES"],
            MySqlVersion::MySql56 => &[],
        };
        case.misses_each(&statements, advised).await;
        capture.start_again();
        insert(&capture).await;
        capture.arrive("orders", 3).await;
        capture.ask(&json!({ "tables": [format!("{}.orders", database.schema())] }));
        capture.arrive("orders", 6).await;
        case.has_nothing_more(&statements).await;
    }
}

/// What an old server does not know stands in the script, and does not end it there.
#[tokio::test(flavor = "multi_thread")]
async fn by_queries_to_an_old_server() {
    let database = database_with(MySqlVersion::MySql56, TABLES).await;
    let source = "query: { mode: incrementing, poll_interval_ms: 20 }";
    let (capture, user) = captured(&database, "[public.orders]", source, "");
    let case = capture.case(&user);
    for newer in ["XA_RECOVER_ADMIN", "metadata_locks"] {
        assert!(case.script().contains(newer), "{}", case.script());
    }
    let statements = case.apply().await;
    let (told, code) = case.told();
    assert!(code == Some(0) && told.contains("does not show who writes"), "{told}");
    case.has_nothing_more(&statements).await;
    capture.start_again();
    insert(&capture).await;
    capture.arrive("orders", 3).await;
}

/// Without global identifiers nothing but a lock says where the log is.
#[tokio::test(flavor = "multi_thread")]
async fn by_a_log_without_identifiers() {
    let options = MySqlOptions::version(MySqlVersion::MySql97).without_gtids();
    let database = Database::own(options).await.unwrap();
    database.execute(TABLES).await.unwrap();
    let (capture, user) = captured(&database, "[public.orders]", "", "");
    let case = capture.case(&user);
    let statements = case.apply().await;
    case.is_ready();
    case.misses_each(&statements, &[]).await;
    capture.start_again();
    insert(&capture).await;
    capture.arrive("orders", 3).await;
    capture.ask(&json!({ "tables": [format!("{}.orders", database.schema())] }));
    capture.arrive("orders", 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_queries() {
    for version in [MySqlVersion::MySql97, MySqlVersion::MariaDb1011] {
        let options = MySqlOptions::version(version).visible_writers();
        let database = Database::own(options).await.unwrap();
        database.execute(TABLES).await.unwrap();
        let source = "query: { mode: incrementing, poll_interval_ms: 20 }";
        let (capture, user) = captured(&database, "[public.orders]", source, "");
        let case = capture.case(&user);
        let statements = case.apply().await;
        let (told, code) = case.told();
        assert!(code == Some(0) && told.contains(": proven: "), "{version}: {told}");
        case.has_nothing_more(&statements).await;
        // Without one of the others nothing is proven, which is told and no reason not to run.
        let advised: Vec<&str> = vec!["REPLICATION CLIENT", "SLAVE MONITOR", "XA_RECOVER_ADMIN", "PROCESS"];
        let (needed, instruments): (Vec<String>, Vec<String>) = statements
            .iter()
            .cloned()
            .partition(|statement| !statement.contains("performance_schema"));
        case.misses_each(&needed, &advised).await;
        case.misses_each(&instruments, &["SELECT"]).await;
        capture.start_again();
        insert(&capture).await;
        capture.arrive("orders", 3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_queues() {
    const LEASE: &str = include_str!("../../../../migrations/outbox/mysql/0002_lease.sql");
    for version in MySqlVersion::ALL {
        for acknowledge in ["{ mark: done_at }", "delete"] {
            let database = database_with(version, TABLES).await;
            database.execute(LEASE).await.unwrap();
            let source = format!(
                "query: {{ mode: queue, poll_interval_ms: 20, acknowledge: {acknowledge}, lease: {{ table: {}.tailrace_lease }} }}",
                database.schema()
            );
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
}

/// Those that let a user read.
fn reading(statements: &[String]) -> Vec<&String> {
    let reads = |statement: &&String| statement.starts_with("GRANT SELECT");
    statements.iter().filter(reads).collect()
}

/// Tables that a pattern fits, what is left out of them, and a name that would be a statement if it got out of its quotes.
const HOSTILE: &str = "o` TO eve; GRANT ALL ON *.* TO eve; -- x";

/// Whoever may make a table gives its name.
#[tokio::test(flavor = "multi_thread")]
async fn by_patterns() {
    for version in MySqlVersion::ALL {
        let database = database_with(version, TABLES).await;
        let hostile = HOSTILE.replace('`', "``");
        let more = format!(
            "create table cards (id int primary key) engine = InnoDB; create table `{hostile}` (id int primary key) engine = InnoDB;
             drop table secrets"
        );
        database.execute(&more).await.unwrap();
        let exclude = format!("exclude: [{}.cards]", database.schema());
        let (capture, user) = captured(&database, "[public.*]", &exclude, "");
        let case = capture.case(&user);
        let statements = case.apply().await;
        let schema = database.schema();
        assert_eq!(
            reading(&statements),
            [
                &format!("GRANT SELECT ON `{schema}`.`{hostile}` TO `{user}`@`%`"),
                &format!("GRANT SELECT ON `{schema}`.`orders` TO `{user}`@`%`"),
            ]
        );
        case.has_nothing_more(&statements).await;
        let eve = "select count(*) from mysql.user where user = 'eve'";
        assert_eq!(database.query_value(eve).await.unwrap(), "0");
        case.is_ready();
    }
}

/// Upper and lower case differ in patterns, and not in the catalogue of each server; tables of the server itself fit, and are never meant.
#[tokio::test(flavor = "multi_thread")]
async fn by_patterns_over_all_databases() {
    for version in MySqlVersion::ALL {
        let database = Database::own(MySqlOptions::version(version)).await.unwrap();
        let more = "create table Others (id int primary key) engine = InnoDB; create table orders_2 (id int primary key) engine = InnoDB";
        database.execute(&format!("{TABLES}; {more}")).await.unwrap();
        let (capture, user) = captured(&database, "[\"*.o*\"]", "exclude: [\"*.orders_?\"]", "");
        let case = capture.case(&user);
        let statements = case.apply().await;
        let schema = database.schema();
        assert_eq!(
            reading(&statements),
            [&format!("GRANT SELECT ON `{schema}`.`orders` TO `{user}`@`%`")]
        );
        case.has_nothing_more(&statements).await;
    }
}

/// Rows of a queue are changed in its tables, whatever else is in their database.
#[tokio::test(flavor = "multi_thread")]
async fn by_queues_of_a_pattern() {
    for version in MySqlVersion::ALL {
        for acknowledge in ["{ mark: done_at }", "delete"] {
            let tables = "create table order_log (id int primary key) engine = InnoDB";
            let database = database_with(version, &format!("{TABLES}; {tables}")).await;
            let source = format!(
                "query: {{ mode: queue, poll_interval_ms: 20, acknowledge: {acknowledge}, overrides: {{ {}.order_log: {{ mode: bulk }} }} }}",
                database.schema()
            );
            let (capture, user) = captured(&database, "[public.order*]", &source, "");
            let case = capture.case(&user);
            let statements = case.apply().await;
            let right = match acknowledge {
                "delete" => "DELETE",
                _ => "UPDATE (`done_at`)",
            };
            let schema = database.schema();
            let changing = Vec::from_iter(statements.iter().filter(|statement| statement.contains(right)).cloned());
            assert_eq!(
                changing,
                [format!("GRANT {right} ON `{schema}`.`orders` TO `{user}`@`%`")]
            );
            case.is_ready();
            case.has_nothing_more(&statements).await;
            case.misses_each(&changing, &[]).await;
            capture.start_again();
            insert(&capture).await;
            capture.arrive("orders", 3).await;
            let left = "(select count(*) from orders where done_at is null) = 0";
            database.wait_until(left).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_change_tables() {
    for version in [MySqlVersion::MySql97, MySqlVersion::MariaDb1011] {
        let source = "query: { mode: queue, poll_interval_ms: 20 }";
        let database = database_with(version, TABLES).await;
        let (capture, user) = captured(&database, "[public.orders]", source, "change_table: {}");
        // An administrator makes them, with a configuration of its own.
        let wanted = Wanted {
            tables: "[public.orders]",
            source,
            connector: "change_table: {}",
            ..Wanted::default()
        };
        let own = Capture::prepare(database.clone(), &wanted);
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
