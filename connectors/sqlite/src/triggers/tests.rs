use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions, Row, TypeInfo, ValueRef};
use tailrace_core::value::LogicalType;
use tailrace_sql::change_table::compare::removal;
use tailrace_sql::change_table::config::ChangeTableConfig;
use tailrace_sql::change_table::connector::Captured;
use tailrace_sql::change_table::{ChangeTableConnector, Comparison, Installed};
use tailrace_sql::{QueryConfig, QueryMode};
use tempfile::TempDir;

use super::*;

struct Shop {
    folder: TempDir,
    application: SqliteConnection,
}

impl Shop {
    async fn with(statements: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("shop.db"))
            .create_if_missing(true);
        let application = options.connect().await.unwrap();
        let mut shop = Self { folder, application };
        shop.run(statements).await.unwrap();
        shop
    }

    fn connector(&self) -> ChangeTableConnector {
        let query = QueryConfig::new(QueryMode::Queue);
        let config = SqliteConfig::new(self.folder.path().join("shop.db"), vec!["*".to_owned()], query);
        let database = Arc::new(SqliteTriggers::new(config).unwrap());
        ChangeTableConnector::new(database, ChangeTableConfig::default(), "sqlite")
    }

    async fn run(&mut self, statements: &str) -> sqlx::Result<()> {
        let done = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
            .execute(&mut self.application)
            .await;
        done.map(drop)
    }

    async fn captured(&self, without: &[&str]) -> Captured {
        let without: Vec<String> = without.iter().map(|column| (*column).to_owned()).collect();
        self.connector().captured(&without).await.unwrap()
    }

    /// Brings everything in step; gives what differed.
    async fn install(&self, without: &[&str], backfill: bool) -> Vec<String> {
        let captured = self.captured(without).await;
        let mut differed = Vec::new();
        for design in &captured.designs {
            let installed = Installed::of(design, &captured.survey);
            let mut comparison = Comparison::of(design, &installed);
            if backfill {
                comparison = comparison.with_backfill(design, &installed);
            }
            differed.extend(
                comparison
                    .differences
                    .iter()
                    .map(|difference| difference.sentence.clone()),
            );
            self.connector().apply(&comparison.script.statements()).await.unwrap();
        }
        differed
    }

    async fn is_in_step(&self, without: &[&str]) -> bool {
        let captured = self.captured(without).await;
        captured.comparisons().all(|(_, comparison)| comparison.agrees())
    }

    /// The rows of a query, each value with its storage class.
    async fn rows(&mut self, query: &str) -> Vec<String> {
        let rows = sqlx::raw_sql(AssertSqlSafe(query.to_owned()))
            .fetch_all(&mut self.application)
            .await;
        rows.unwrap().iter().map(shown).collect()
    }

    async fn kept(&mut self, table: &str, column: &str) -> Vec<String> {
        let query = format!("SELECT op, old_{column}, new_{column} FROM tailrace_changes_{table} ORDER BY sequence");
        self.rows(&query).await
    }
}

fn shown(row: &SqliteRow) -> String {
    let value = |index| {
        let raw = row.try_get_raw(index).unwrap();
        if raw.is_null() {
            return "-".to_owned();
        }
        match raw.type_info().name() {
            "INTEGER" => row.get::<i64, _>(index).to_string(),
            "REAL" => format!("{:?}", row.get::<f64, _>(index)),
            "BLOB" => format!("{:?}", row.get::<Vec<u8>, _>(index)),
            _ => row.get::<String, _>(index),
        }
    };
    (0..row.len()).map(value).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn every_change_of_every_storage_class_is_kept_and_nothing_else() {
    let mut shop = Shop::with("CREATE TABLE t (id INTEGER PRIMARY KEY, v, n TEXT COLLATE NOCASE)").await;
    shop.install(&[], false).await;
    assert!(shop.is_in_step(&[]).await);
    shop.run("INSERT INTO t VALUES (1, 1, 'a')").await.unwrap();
    for value in ["1.0", "'1'", "x'31'", "NULL", "NULL", "9223372036854775807", "'ž'"] {
        shop.run(&format!("UPDATE t SET v = {value}")).await.unwrap();
    }
    shop.run("UPDATE t SET n = 'A'; UPDATE t SET n = 'A', id = 1; UPDATE t SET id = 2; DELETE FROM t")
        .await
        .unwrap();
    let kept = shop.kept("t", "v").await;
    let expected = [
        "c - 1",
        "u 1 1.0",
        "u 1.0 1",
        "u 1 [49]",
        "u [49] -",
        "u - 9223372036854775807",
        "u 9223372036854775807 ž",
        "u ž ž",
        "u ž ž",
        "d ž -",
    ];
    assert_eq!(kept, expected);
    assert_eq!(shop.kept("t", "n").await[7..], ["u a A", "u A A", "d A -"]);
}

#[tokio::test]
async fn replaced_rows_are_seen_with_recursive_triggers_alone_and_cascades_always() {
    let tables = "CREATE TABLE p (id INTEGER PRIMARY KEY);
        CREATE TABLE c (id INTEGER PRIMARY KEY, p REFERENCES p (id) ON DELETE CASCADE);
        INSERT INTO p VALUES (1); INSERT INTO c VALUES (1, 1), (2, 1)";
    let mut shop = Shop::with(tables).await;
    shop.install(&[], true).await;
    assert_eq!(shop.kept("c", "id").await, ["r - 1", "r - 2"]);
    shop.run("INSERT OR REPLACE INTO c VALUES (1, 1)").await.unwrap();
    assert_eq!(shop.kept("c", "id").await[2..], ["c - 1"]);
    shop.run("PRAGMA recursive_triggers = ON; INSERT OR REPLACE INTO c VALUES (1, 1)")
        .await
        .unwrap();
    assert_eq!(shop.kept("c", "id").await[3..], ["d 1 -", "c - 1"]);
    shop.run("PRAGMA foreign_keys = ON; DELETE FROM p").await.unwrap();
    assert_eq!(shop.kept("c", "id").await[5..], ["d 1 -", "d 2 -"]);
}

#[tokio::test]
async fn table_change_table_and_triggers_stay_in_step_through_ddl() {
    let mut shop = Shop::with("CREATE TABLE t (id INTEGER PRIMARY KEY, note TEXT)").await;
    shop.install(&[], false).await;
    shop.run("INSERT INTO t VALUES (1, 'a'); DELETE FROM tailrace_changes_t; INSERT INTO t VALUES (2, 'b')")
        .await
        .unwrap();

    shop.run("ALTER TABLE t ADD COLUMN total DECIMAL(10,2)").await.unwrap();
    shop.run("INSERT INTO t VALUES (3, 'c', 1.5)").await.unwrap();
    let differed = shop.install(&[], false).await;
    assert!(
        differed
            .iter()
            .any(|sentence| sentence.contains("has no column new_total")),
        "{differed:?}"
    );
    assert!(shop.is_in_step(&[]).await);
    shop.run("INSERT INTO t VALUES (4, 'd', 1.5)").await.unwrap();
    assert_eq!(shop.kept("t", "total").await, ["c - -", "c - -", "c - 1.5"]);

    // SQLite itself keeps a column that a trigger names.
    assert!(shop.run("ALTER TABLE t DROP COLUMN note").await.is_err());
    shop.install(&["t.note"], false).await;
    assert!(shop.is_in_step(&["t.note"]).await);
    shop.run("ALTER TABLE t DROP COLUMN note; INSERT INTO t VALUES (5, 2)")
        .await
        .unwrap();
    assert!(shop.is_in_step(&[]).await);
    assert_eq!(shop.kept("t", "note").await, ["c - b", "c - c", "c - d", "c - -"]);
}

#[tokio::test]
async fn a_table_that_was_made_anew_with_another_type_keeps_its_changes_and_their_numbers() {
    let mut shop = Shop::with("CREATE TABLE t (id INTEGER PRIMARY KEY, note TEXT)").await;
    shop.install(&[], false).await;
    shop.run("INSERT INTO t VALUES (1, '7'), (2, '8'); DELETE FROM tailrace_changes_t WHERE sequence = 2")
        .await
        .unwrap();
    // SQLite's own way of changing a column, which takes the triggers with the old table.
    shop.run(
        "CREATE TABLE n (id INTEGER PRIMARY KEY, note INTEGER); INSERT INTO n SELECT * FROM t; DROP TABLE t; ALTER TABLE n RENAME TO t",
    )
    .await
    .unwrap();
    let differed = shop.install(&[], false).await;
    assert!(
        differed.iter().any(|sentence| sentence.contains("is of type TEXT")),
        "{differed:?}"
    );
    assert!(shop.is_in_step(&[]).await);
    shop.run("INSERT INTO t VALUES (3, 9)").await.unwrap();
    let rows = shop
        .rows("SELECT sequence, op, new_id, new_note FROM tailrace_changes_t ORDER BY sequence")
        .await;
    // The number 2 was given and does not come again.
    assert_eq!(rows, ["1 c 1 7", "3 c 3 9"]);
}

#[tokio::test]
async fn a_change_table_in_the_way_is_left_and_so_is_what_is_not_ours() {
    let mut shop = Shop::with("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    shop.install(&[], false).await;
    shop.run(
        "CREATE TABLE audit (what); CREATE TRIGGER own AFTER INSERT ON t BEGIN INSERT INTO audit VALUES (NEW.id); END",
    )
    .await
    .unwrap();
    let captured = shop.captured(&[]).await;
    let design = captured
        .designs
        .iter()
        .find(|design| design.captured.table == "t")
        .unwrap();
    let removed = removal(design, &Installed::of(design, &captured.survey));
    shop.connector().apply(&removed.script.statements()).await.unwrap();
    shop.run("INSERT INTO t VALUES (1)").await.unwrap();
    let left = shop
        .rows("SELECT name FROM sqlite_schema WHERE type <> 'index' AND name NOT GLOB 'sqlite_*' ORDER BY name")
        .await;
    assert_eq!(left, ["audit", "own", "t"]);
    shop.run("CREATE TABLE tailrace_changes_t (id)").await.unwrap();
    let captured = shop.captured(&[]).await;
    let (_, comparison) = captured
        .comparisons()
        .find(|(design, _)| design.captured.table == "t")
        .unwrap();
    assert!(comparison.script.is_empty() && !comparison.agrees());
}

#[tokio::test]
async fn a_trigger_that_fails_makes_the_write_fail() {
    let mut shop = Shop::with("CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    shop.install(&[], false).await;
    shop.run("DROP TABLE tailrace_changes_t").await.unwrap();
    assert!(shop.run("INSERT INTO t VALUES (1)").await.is_err());
    assert_eq!(shop.rows("SELECT count(*) FROM t").await, ["0"]);
}

#[tokio::test]
async fn types_of_captured_columns_hold_for_their_change_tables() {
    let shop = Shop::with("CREATE TABLE t (id INTEGER PRIMARY KEY, paid INTEGER)").await;
    shop.install(&[], false).await;
    let query = QueryConfig::new(QueryMode::Queue);
    let mut config = SqliteConfig::new(shop.folder.path().join("shop.db"), vec!["t".to_owned()], query);
    config
        .columns
        .insert("t.paid".to_owned(), crate::config::ColumnType::Boolean);
    let database = Arc::new(SqliteTriggers::new(config).unwrap());
    let connector = ChangeTableConnector::new(database, ChangeTableConfig::default(), "sqlite");
    let schemas = connector.describe().await.unwrap();
    assert_eq!(schemas[0].columns[1].logical_type, LogicalType::Boolean);
    assert_eq!(schemas[0].name.table, "t");
}
