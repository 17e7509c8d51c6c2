//! What earlier releases left on disks. `tests/run golden` writes that of the release that is being built.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use tailrace_state::StateStore;
use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::{Database, Version};
use tailrace_tests::golden::{self, Golden};
use tailrace_tests::published::Published;
use tailrace_tests::servers::{MySqlVersion, PostgresVersion, eventually};

const DEADLINE: Duration = Duration::from_secs(60);

/// Set by `tests/run golden`.
const WRITE: &str = "TAILRACE_GOLDEN";

/// The outbox, as the application that made it long ago has it.
const OUTBOX: &str = include_str!("../../../../migrations/outbox/sqlite/0001_outbox.sql");

/// Everything between SQLite files, which a later release can go on with.
const FILES: &str = r#"streams:
  events: { type: file, path: "{folder}/events" }
connectors:
  shop-changes:
    source: { type: sqlite, path: "{folder}/shop.db", tables: [orders], query: { mode: queue, poll_interval_ms: 100 } }
    change_table: { columns: {} }
    stream: events
    topic: "shop.{table}"
    format: { envelope: debezium }
  shop-outbox:
    source: { type: sqlite, path: "{folder}/shop.db", tables: [outbox], query: { mode: queue, id_column: sequence, poll_interval_ms: 100 } }
    stream: events
    outbox: {}
  shop-polled:
    source:
      type: sqlite
      path: "{folder}/shop.db"
      tables: [customers]
      query: { mode: timestamp_incrementing, timestamp_column: updated_at, poll_interval_ms: 100 }
    stream: events
    topic: "shop.{table}"
    format: { codec: avro }
  mirror:
    stream: events
    topics: [shop.customers]
    sink: { type: sqlite, path: "{folder}/target.db", evolve: add }
"#;

const SHOP: &str = "create table customers (id integer primary key, name text not null, updated_at text not null);
    create table orders (id integer primary key, total integer, note text);
    insert into customers values (1, 'Ada', '2026-01-02 03:04:05'), (2, 'Bob', '2026-01-02 03:04:06');";

async fn execute(file: &Path, statements: &str) {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    let ran = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(&mut connection)
        .await;
    ran.unwrap();
}

/// The first column of a query, as text; nothing where it cannot be asked yet.
async fn column(file: &Path, query: &str) -> Vec<String> {
    let options = SqliteConnectOptions::new().filename(file);
    let mut connection = options.connect().await.unwrap();
    let rows = sqlx::query(AssertSqlSafe(query.to_owned())).fetch_all(&mut connection);
    let rows = rows.await.unwrap_or_default();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn wait_for_column(daemon: &Daemon, file: &Path, query: &str, wanted: &[&str]) {
    let reached = eventually(query, DEADLINE, || async {
        Ok((column(file, query).await == wanted).then_some(()))
    });
    let is_reached = reached.await.is_ok();
    let found = column(file, query).await;
    assert!(
        is_reached,
        "{query} gives {found:?} and not {wanted:?}\n{}",
        daemon.log()
    );
}

const CUSTOMERS: &str = "select id || ' ' || name from customers order by id";

async fn adopt(golden: &Golden, path: &Path) -> StateStore {
    golden.restore("state.sql", path).await.unwrap();
    assert_eq!(StateStore::open(path).await.unwrap_err().code(), "state_cloned");
    StateStore::adopt(path).await.unwrap()
}

/// What has changed in the golden's words; what a later release says besides is not looked at.
fn differences(at: &str, golden: &Value, now: &Value) -> Vec<String> {
    match (golden, now) {
        (Value::Object(golden), Value::Object(now)) => golden
            .iter()
            .flat_map(|(key, value)| differences(&format!("{at}/{key}"), value, now.get(key).unwrap_or(&Value::Null)))
            .collect(),
        (Value::Array(golden), Value::Array(now)) if golden.len() == now.len() => (golden.iter().zip(now).enumerate())
            .flat_map(|(index, (golden, now))| differences(&format!("{at}/{index}"), golden, now))
            .collect(),
        (golden, now) if golden == now => Vec::new(),
        (golden, now) => vec![format!("{at}: it was {golden}, and is {now}")],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_every_release_left_means_what_it_did() {
    for golden in golden::all().unwrap() {
        let folder = tempfile::tempdir().unwrap();
        let state = adopt(&golden, &folder.path().join("state.db")).await;
        let events = folder.path().join("events");
        golden.copy_events(&events).unwrap();
        let now = json!({
            "state": golden::said_of_state(&state).await.unwrap(),
            "events": golden::said_of_stream(&events).await.unwrap(),
        });
        let found = differences("", &golden.said().unwrap(), &now);
        assert!(found.is_empty(), "{}: {}", golden.version, found.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_goes_on_where_every_release_left_it() {
    for golden in golden::all().unwrap() {
        let daemon = Daemon::new("").unwrap();
        let folder = daemon.path().to_path_buf();
        let here = golden
            .text("tailrace.yaml")
            .unwrap()
            .replace("{folder}", &folder.to_string_lossy());
        daemon.configure(&here).unwrap();
        for (name, file) in [("shop.sql", "shop.db"), ("target.sql", "target.db")] {
            golden.restore(name, &folder.join(file)).await.unwrap();
        }
        let events = folder.join("events");
        golden.copy_events(&events).unwrap();
        fs::create_dir_all(daemon.state_file().parent().unwrap()).unwrap();
        let state = adopt(&golden, daemon.state_file()).await;
        recognise(&state, &folder.join("shop.db")).await;
        let before = golden::said_of_stream(&events).await.unwrap();
        state.close().await.unwrap();

        daemon.start().unwrap();
        for name in ["shop-changes", "shop-outbox", "shop-polled", "mirror"] {
            daemon.wait_for_state(name, "streaming").unwrap();
            let was_away = |connector: &Value| connector["away"]["ms"].as_i64() > Some(0);
            daemon.wait_for(name, "how long it was away", was_away).unwrap();
        }
        execute(
            &folder.join("shop.db"),
            "insert into customers values (9, 'Zoe', '2026-02-03 04:05:06'); update orders set total = 7 where id = 1;
             insert into outbox (aggregatetype, aggregateid, type, payload) values ('parcel', '9', 'sent', '{}')",
        )
        .await;
        wait_for_column(
            &daemon,
            &folder.join("target.db"),
            CUSTOMERS,
            &["1 Ada", "2 Bob", "3 Cy", "9 Zoe"],
        )
        .await;
        let topics = ["shop.customers", "shop.orders", "outbox.event.parcel"];
        for topic in topics {
            let known = before[topic].as_array().unwrap().len();
            let stream = Published::File(events.clone());
            let read = eventually(topic, DEADLINE, || async {
                let events = stream.events(topic).await?;
                Ok((events.len() > known).then_some(events.len()))
            });
            // One more, and nothing once more.
            assert_eq!(
                read.await.unwrap(),
                known + 1,
                "{} {topic}\n{}",
                golden.version,
                daemon.log()
            );
        }
        assert_eq!(daemon.terminate().unwrap().code(), Some(0));
    }
}

/// A file that is restored has another inode, and would be refused: here it is the same.
async fn recognise(state: &StateStore, file: &Path) {
    use std::os::unix::fs::MetadataExt;
    let inode = fs::metadata(file).unwrap().ino();
    for name in ["shop-changes", "shop-outbox", "shop-polled"] {
        let connector = state.connector(name).await.unwrap();
        let mut memory = connector.recall().await.unwrap().unwrap();
        memory["file"] = json!(format!("inode-{inode}"));
        connector.remember(&memory).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_golden_of_this_release_is_there() {
    if std::env::var_os(WRITE).is_some() {
        write_golden(&Golden::current()).await;
    }
    let golden = Golden::current();
    let remedy = "write it with `tests/run golden`, and look at what has changed";
    assert!(
        golden.folder.is_dir(),
        "there is no golden of {}; {remedy}",
        golden.version
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    golden.restore("state.sql", &path).await.unwrap();
    let outdated = StateStore::outdated(&path).await.unwrap();
    assert_eq!(
        outdated, None,
        "the golden of {} is of an earlier layout; {remedy}",
        golden.version
    );
}

// --- writing

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("      {line}\n")).collect()
}

/// A connector that reads the log of this database, with letters and a change of its table.
fn log_connector(name: &str, database: &Database) -> String {
    format!(
        "  {name}:\n    stream: events\n    topic: \"{name}.{{table}}\"\n    format: {{ decimal: precise }}\n    \
         dead_letters: {{ policy: topic }}\n    source:\n{}      tables: {}\n",
        indented(&database.source(None)),
        database.patterns("[public.ledger]"),
    )
}

fn polled_connector(name: &str, database: &Database) -> String {
    format!(
        "  {name}:\n    stream: events\n    topic: \"{name}.{{table}}\"\n    source:\n{}      tables: {}\n      \
         query: {{ mode: incrementing, id_column: id, poll_interval_ms: 100 }}\n",
        indented(&database.location(None)),
        database.patterns("[public.audit]"),
    )
}

/// Every class of source, a sink, and everything that people do.
async fn write_golden(golden: &Golden) {
    let versions: [(&str, Version); 3] = [
        ("postgres", PostgresVersion::V17.into()),
        ("mysql", MySqlVersion::MySql97.into()),
        ("mariadb", MySqlVersion::MariaDb1011.into()),
    ];
    let daemon = Daemon::new("").unwrap();
    let folder = daemon.path().to_path_buf();
    let (shop, target) = (folder.join("shop.db"), folder.join("target.db"));
    let mut sections = FILES.replace("{folder}", &folder.to_string_lossy());
    let mut databases = Vec::new();
    for (name, version) in versions {
        let database = Database::shared(version).await.unwrap();
        let tables =
            "create table ledger (id int primary key, value numeric(10, 2)); insert into ledger values (1, 1.5);
            create table audit (id serial primary key, what varchar(20)); insert into audit (what) values ('one')";
        database.execute(tables).await.unwrap();
        sections += &log_connector(&format!("{name}-log"), &database);
        sections += &polled_connector(&format!("{name}-polled"), &database);
        databases.push((name, database));
    }
    daemon.configure(&sections).unwrap();
    execute(&shop, SHOP).await;
    execute(&shop, OUTBOX).await;
    fs::write(&target, b"").unwrap();
    let installed = daemon
        .command("triggers install", &["shop-changes", "--apply"])
        .unwrap();
    assert_eq!(installed.code, Some(0), "{}", installed.all());
    daemon.start().unwrap();
    work(&daemon, &shop, &target, &databases).await;
    people(&daemon);
    assert_eq!(daemon.terminate().unwrap().code(), Some(0), "{}", daemon.log());
    let files = [("shop.sql", shop.as_path()), ("target.sql", target.as_path())];
    keep(golden, &daemon, &files).await;
}

async fn work(daemon: &Daemon, shop: &Path, target: &Path, databases: &[(&str, Database)]) {
    for name in ["shop-changes", "shop-outbox", "shop-polled", "mirror"] {
        daemon.wait_for_state(name, "streaming").unwrap();
    }
    execute(
        shop,
        "insert into orders values (1, 100, 'first'), (2, 200, null); update orders set total = 150 where id = 1;
         delete from orders where id = 2; insert into customers values (3, 'Cy', '2026-01-02 03:04:07');
         insert into outbox (aggregatetype, aggregateid, type, payload) values ('parcel', '7', 'sent', '{\"to\": \"Ada\"}')",
    )
    .await;
    wait_for_column(daemon, target, CUSTOMERS, &["1 Ada", "2 Bob", "3 Cy"]).await;
    let records = |name: &str, count: u64| {
        let what = format!("{count} records of {name}");
        daemon
            .wait_for(name, &what, |status| status["records"].as_u64() >= Some(count))
            .unwrap();
    };
    records("shop-changes", 4);
    records("shop-outbox", 1);
    for (name, database) in databases {
        let (log, polled) = (format!("{name}-log"), format!("{name}-polled"));
        for name in [&log, &polled] {
            daemon.wait_for_state(name, "streaming").unwrap();
        }
        // Of the new column a version of the table is made, and told.
        let changes = "insert into ledger values (2, 2.5); alter table ledger add column note varchar(20);
            insert into ledger values (3, 3.5, 'x'); insert into audit (what) values ('two')";
        database.execute(changes).await.unwrap();
        records(&log, 3);
        records(&polled, 2);
        if *name == "postgres" {
            let letter =
                "alter table ledger alter column value type numeric; insert into ledger values (4, 'NaN', 'y')";
            database.execute(letter).await.unwrap();
            let is_there = |status: &Value| status["dead_letters"]["waiting"].as_u64() == Some(1);
            daemon.wait_for(&log, "a dead letter", is_there).unwrap();
        }
    }
}

/// A connector that was made over HTTP, and that somebody has paused.
fn people(daemon: &Daemon) {
    let lines = json!({
        "source": { "type": "mysql", "url": "mysql://tailrace:secret@127.0.0.1:1", "tables": ["shop.lines"] },
        "stream": "events",
    });
    let client = daemon.client();
    let made = client.json("PUT", "/connectors/lines/config", &lines).unwrap();
    assert_eq!(made.status, 201, "{}", made.body);
    for (name, wanted) in [("lines", "stop"), ("mirror", "pause")] {
        let asked = client
            .json("PUT", &format!("/connectors/{name}/{wanted}"), &Value::Null)
            .unwrap();
        assert!([202, 204].contains(&asked.status), "{}", asked.body);
    }
    // What is paused does not go on by itself, and the next release has to go on with it.
    let resumed = client.json("PUT", "/connectors/mirror/resume", &Value::Null).unwrap();
    assert_eq!(resumed.status, 202, "{}", resumed.body);
}

async fn keep(golden: &Golden, daemon: &Daemon, databases: &[(&str, &Path)]) {
    drop(fs::remove_dir_all(&golden.folder));
    fs::create_dir_all(&golden.folder).unwrap();
    let write = |name: &str, text: &str| fs::write(golden.folder.join(name), text).unwrap();
    write("state.sql", &golden::dump(daemon.state_file()).await.unwrap());
    for (name, file) in databases {
        write(name, &golden::dump(file).await.unwrap());
    }
    write("tailrace.yaml", FILES);
    let events = golden.folder.join("events");
    golden::copy(&daemon.path().join("events"), &events).unwrap();
    let state = StateStore::open(daemon.state_file()).await.unwrap();
    let said = json!({
        "state": golden::said_of_state(&state).await.unwrap(),
        "events": golden::said_of_stream(&events).await.unwrap(),
    });
    state.close().await.unwrap();
    write("said.json", &(format!("{said:#}") + "\n"));
}
