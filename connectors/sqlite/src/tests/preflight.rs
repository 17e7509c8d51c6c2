//! What the preflight says.

use tailrace_core::check::{Finding, Severity};
use tailrace_sql::{QueryMode, TableQueryConfig};

use super::*;

async fn check(config: SqliteConfig) -> Vec<Finding> {
    SqliteConnector::new(config).unwrap().check("shop").await
}

fn find<'a>(findings: &'a [Finding], code: &str) -> &'a Finding {
    findings
        .iter()
        .find(|finding| finding.code == code)
        .unwrap_or_else(|| panic!("no {code} in {findings:#?}"))
}

#[tokio::test]
async fn a_sound_table_has_notes_only() {
    let mut shop = Shop::new("CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT)").await;
    shop.execute("INSERT INTO orders (item) VALUES ('a')").await;
    let findings = check(shop.config(QueryMode::Incrementing)).await;
    assert!(
        findings.iter().all(|finding| finding.severity == Severity::Note),
        "{findings:#?}"
    );
    assert!(find(&findings, "gap_safety").problem.contains("proven"));
    for code in ["deletes_not_seen", "versions_not_seen", "updates_not_seen"] {
        find(&findings, code);
    }
}

#[tokio::test]
async fn a_file_that_is_missing_or_no_database_blocks() {
    let shop = Shop::new("").await;
    let mut config = shop.config(QueryMode::Incrementing);
    config.path = shop.path().with_file_name("none.db");
    assert_eq!(
        find(&check(config.clone()).await, "source_missing").severity,
        Severity::Blocks
    );
    assert!(!config.path.exists());
    std::fs::write(
        &config.path,
        "this is no database, whatever its name says; it is long enough for a header, though ...........",
    )
    .unwrap();
    assert_eq!(
        find(&check(config.clone()).await, "not_a_database").severity,
        Severity::Blocks
    );
    config.path = shop.path().parent().unwrap().to_owned();
    assert!(
        check(config)
            .await
            .iter()
            .any(|finding| finding.severity == Severity::Blocks)
    );
}

#[tokio::test]
async fn every_problem_is_found_at_once_with_its_remedy() {
    let mut shop = Shop::new(
        "PRAGMA journal_mode = DELETE;
         CREATE TABLE plain (id INTEGER PRIMARY KEY, changed DATETIME);
         CREATE TABLE pair (a INTEGER, b INTEGER, changed DATETIME NOT NULL, PRIMARY KEY (a, b));
         CREATE TABLE without (a INTEGER, changed DATETIME NOT NULL);
         CREATE TABLE untimed (id INTEGER PRIMARY KEY);
         CREATE TABLE loose (id INTEGER NOT NULL, changed DATETIME NOT NULL)",
    )
    .await;
    shop.execute("INSERT INTO plain VALUES (1, NULL), (2, datetime('now', '+2 hours'))")
        .await;
    let mut config = shop.config(QueryMode::TimestampIncrementing);
    config.tables.push("missing_*".to_owned());
    config.columns.insert("plain.color".to_owned(), crate::ColumnType::Text);
    config
        .query
        .overrides
        .insert("nobody".to_owned(), TableQueryConfig::default());
    let own = TableQueryConfig {
        id_column: Some("id".to_owned()),
        ..TableQueryConfig::default()
    };
    config.query.overrides.insert("loose".to_owned(), own);
    let findings = check(config).await;
    let remedy = |code| find(&findings, code).remedy.clone();
    assert!(find(&findings, "tables_missing").problem.contains("missing_*"));
    assert!(remedy("override_unknown").contains("plain"));
    assert!(find(&findings, "column_unknown").problem.contains("plain.color"));
    assert_eq!(
        remedy("cursor_index_missing"),
        "CREATE INDEX \"plain_changed_id\" ON \"plain\" (\"changed\", \"id\");"
    );
    assert!(find(&findings, "cursor_column_nullable").problem.contains("now 1 rows"));
    assert!(find(&findings, "timestamp_in_future").problem.contains("changed"));
    assert!(find(&findings, "timestamp_column_missing").problem.contains("untimed"));
    assert!(remedy("id_column_not_unique").contains("CREATE UNIQUE INDEX loose_id ON loose (id)"));
    assert_eq!(remedy("journal_mode"), "PRAGMA journal_mode = WAL;");
    let no_id: Vec<_> = findings
        .iter()
        .filter(|finding| finding.code == "id_column_missing")
        .collect();
    assert_eq!(no_id.len(), 2, "{findings:#?}");
}

#[tokio::test]
async fn values_that_would_stop_the_source_are_found_before() {
    let mut shop = Shop::new("CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, amount INTEGER)").await;
    shop.execute("INSERT INTO orders (amount) VALUES (1), ('n/a'), (3)")
        .await;
    let findings = check(shop.config(QueryMode::Incrementing)).await;
    let finding = find(&findings, "value_misfit");
    assert_eq!(finding.severity, Severity::Blocks);
    assert!(
        finding
            .problem
            .contains("table orders, row 2: column amount, declared INTEGER, holds TEXT of 3 characters"),
        "{finding:?}"
    );
}

#[tokio::test]
async fn ids_without_autoincrement_are_a_warning_and_timestamps_a_window() {
    let shop = Shop::new(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, changed INTEGER NOT NULL); CREATE INDEX c ON orders (changed)",
    )
    .await;
    let by_id = check(shop.config(QueryMode::Incrementing)).await;
    assert_eq!(find(&by_id, "gap_safety").severity, Severity::Warning);
    let by_time = check(shop.config(QueryMode::TimestampIncrementing)).await;
    assert!(find(&by_time, "gap_safety").problem.contains("delay_window"));
    // The rowid ends every index: one on the timestamp alone is enough.
    assert!(by_time.iter().all(|finding| finding.code != "cursor_index_missing"));
}

#[tokio::test]
async fn configurations_that_make_no_sense_are_refused() {
    let shop = Shop::new("").await;
    let sound = shop.config(QueryMode::Incrementing);
    let broken: [fn(&mut SqliteConfig); 4] = [
        |config| config.tables.clear(),
        |config| config.query.poll_interval_ms = 0,
        |config| config.query.batch_rows = 0,
        |config| {
            config.columns.insert("amount".to_owned(), crate::ColumnType::Text);
        },
    ];
    for change in broken {
        let mut config = sound.clone();
        change(&mut config);
        assert_eq!(SqliteConnector::new(config).err().unwrap().code(), "config_invalid");
    }
    let Err(error) = shop.open(sound, None).await else {
        panic!("a database without tables was opened");
    };
    assert_eq!(error.code(), "tables_missing");
}
