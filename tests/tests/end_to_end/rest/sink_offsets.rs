//! How far sinks are, by their own targets, and moving them.

use std::path::Path;

use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Row};
use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::{Database, Version};
use tailrace_tests::http::Answer;
use tailrace_tests::servers::{MySqlVersion, PostgresVersion, Result, ServerError, eventually, shared_kafka};

use super::{DEADLINE, refusal};
use crate::capture::{KafkaHandle, Wanted, connector, database_with};

/// What is written to.
enum Target {
    Server(Database),
    File(Box<Path>),
}

/// A source in PostgreSQL, a sink, and a broker between them.
struct Mirror {
    source: Database,
    target: Target,
    daemon: Daemon,
}

// === impl Target ===

impl Target {
    fn section(&self) -> String {
        match self {
            Target::Server(database) => crate::sinks::sink(database, None),
            Target::File(path) => format!("type: sqlite, path: \"{}\"", path.display()),
        }
    }

    async fn execute(&self, statements: &str) {
        match self {
            Target::Server(database) => database.execute(statements).await.unwrap(),
            Target::File(path) => {
                let mut connection = open(path).await.unwrap();
                let statements = sqlx::AssertSqlSafe(statements.to_owned());
                sqlx::raw_sql(statements).execute(&mut connection).await.unwrap();
            }
        }
    }

    /// One value as text; an error where the table is not there.
    async fn value(&self, query: &str) -> Result<String> {
        match self {
            Target::Server(database) => database.query_value(query).await,
            Target::File(path) => {
                let mut connection = open(path).await?;
                let rows = sqlx::query(sqlx::AssertSqlSafe(query.to_owned()));
                let row = rows.fetch_one(&mut connection).await;
                let row = row.map_err(|error| ServerError::new(error.to_string()))?;
                Ok(row
                    .try_get::<i64, _>(0)
                    .map_or_else(|_| "NULL".to_owned(), |value| value.to_string()))
            }
        }
    }
}

async fn open(path: &Path) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let connection = SqliteConnection::connect_with(&options).await;
    connection.map_err(|error| ServerError::new(error.to_string()))
}

// === impl Mirror ===

impl Mirror {
    async fn start(target: Option<Version>) -> Mirror {
        let source = database_with(
            PostgresVersion::V17,
            "create table t (id int primary key, v text); insert into t values (1, 'a'), (2, 'b'), (3, 'c')",
        )
        .await;
        let daemon = Daemon::new("").unwrap();
        let target = match target {
            Some(version) => Target::Server(Database::shared(version).await.unwrap()),
            None => Target::File(daemon.path().join("target.db").into()),
        };
        target
            .execute("create table t (id int primary key, v varchar(20))")
            .await;
        let kafka = KafkaHandle::Shared(shared_kafka().unwrap());
        let reads = connector(
            &source,
            &Wanted {
                format: "envelope: entity",
                ..Wanted::default()
            },
        );
        let writes = format!(
            "  mirror: {{ stream: events, topics: [\"{}\"], sink: {{ {} }} }}\n",
            source.topic("*"),
            target.section()
        );
        let streams = format!(
            "streams:\n  events: {{ type: kafka, bootstrap_servers: [\"{}\"], topics: {{ partitions: 1 }} }}\n",
            kafka.bootstrap()
        );
        daemon
            .configure(&format!("{streams}connectors:\n{reads}{writes}"))
            .unwrap();
        daemon.start().unwrap();
        daemon.wait_for_state("mirror", "streaming").unwrap();
        let mirror = Mirror { source, target, daemon };
        mirror.wait_for_count("t", 3).await;
        mirror
    }

    fn topic(&self) -> String {
        self.source.topic("t")
    }

    async fn wait_for_count(&self, table: &str, wanted: usize) {
        let query = format!("select count(*) from {table}");
        let what = format!("{wanted} rows of {table}");
        let counted = eventually(&what, DEADLINE, || async {
            let found = self.target.value(&query).await.unwrap_or_default();
            Ok((found == wanted.to_string()).then_some(()))
        });
        let counted = counted.await;
        counted
            .map_err(|error| self.daemon.with_status("mirror", &error))
            .unwrap();
    }

    fn must(&self, status: u16, method: &str, path: &str, body: &Value) -> Answer {
        let answer = self.daemon.client().json(method, path, body).unwrap();
        assert_eq!(
            answer.status,
            status,
            "{method} {path} {body}: {}\n{}",
            answer.body,
            self.daemon.log()
        );
        answer
    }

    fn offsets(&self) -> Value {
        self.must(200, "GET", "/connectors/mirror/offsets", &Value::Null)
            .json()
            .unwrap()
    }

    fn at(&self, offset: &Value) -> Value {
        let partition = json!({ "kafka_topic": self.topic(), "kafka_partition": 0 });
        json!({ "offsets": [{ "partition": partition, "offset": offset }] })
    }

    /// Waits until the target says so.
    async fn wait_for_offset(&self, next: i64) {
        let wanted = self.at(&json!({ "kafka_offset": next }));
        let what = format!("offset {next}");
        let reached = eventually(&what, DEADLINE, || async {
            Ok((self.offsets() == wanted).then_some(()))
        });
        reached
            .await
            .map_err(|error| self.daemon.with_status("mirror", &error))
            .unwrap();
    }

    fn stop(&self) {
        self.must(204, "PUT", "/connectors/mirror/stop", &Value::Null);
        self.daemon.wait_for_state("mirror", "stopped").unwrap();
    }

    fn resume(&self) {
        self.must(202, "PUT", "/connectors/mirror/resume", &Value::Null);
        self.daemon.wait_for_state("mirror", "streaming").unwrap();
    }

    /// Both steps of a change; what the first one said.
    fn confirmed(&self, method: &str, body: &Value) -> String {
        let path = "/connectors/mirror/offsets";
        let first = self.must(409, method, path, body).json().unwrap();
        let token = first["confirm"].as_str().unwrap();
        self.must(200, method, &format!("{path}?confirm={token}"), body);
        first["will_lose"][0].as_str().unwrap().to_owned()
    }
}

async fn moves_back_and_forth(target: Option<Version>) {
    let mirror = Mirror::start(target).await;
    mirror.wait_for_offset(3).await;
    let refused = mirror.must(
        400,
        "PATCH",
        "/connectors/mirror/offsets",
        &mirror.at(&json!({ "kafka_offset": 0 })),
    );
    assert_eq!(refusal(&refused).0, "connector_not_stopped");
    mirror.stop();
    mirror.wait_for_offset(3).await;

    // Back: what the target lost is written again.
    mirror.target.execute("delete from t where id > 1").await;
    let epoch = "select epoch from tailrace_offsets where connector = 'mirror'";
    let before: i64 = mirror.target.value(epoch).await.unwrap().parse().unwrap();
    let lost = mirror.confirmed("PATCH", &mirror.at(&json!({ "kafka_offset": 1 })));
    assert!(lost.contains("from offset 1 to 2 are written again"), "{lost}");
    let after: i64 = mirror.target.value(epoch).await.unwrap().parse().unwrap();
    assert!(after > before, "whoever still writes is fenced: {before} {after}");
    let mark = "select count(*) from tailrace_offsets where connector = 'mirror' and last_record is null";
    assert_eq!(mirror.target.value(mark).await.unwrap(), "1");
    mirror.wait_for_offset(1).await;
    mirror.resume();
    mirror.wait_for_count("t", 3).await;
    mirror.wait_for_offset(3).await;

    // Forward: what is passed over is never written.
    mirror.stop();
    let lines = "insert into t values (4, 'd'), (5, 'e')";
    mirror.source.execute(lines).await.unwrap();
    mirror.source.wait_until_carried(&mirror.daemon).await.unwrap();
    let lost = mirror.confirmed("PATCH", &mirror.at(&json!({ "kafka_offset": "4" })));
    assert!(lost.contains("from offset 3 to 3 are never written"), "{lost}");
    mirror.resume();
    mirror.wait_for_count("t", 4).await;
    mirror.wait_for_offset(5).await;
    assert_eq!(
        mirror
            .target
            .value("select count(*) from t where id = 4")
            .await
            .unwrap(),
        "0"
    );

    // As if nothing were written: it begins where `start` says.
    mirror.stop();
    mirror.target.execute("delete from t").await;
    let lost = mirror.confirmed("DELETE", &Value::Null);
    assert!(lost.contains("1 partitions") && lost.contains("`start`"), "{lost}");
    assert_eq!(mirror.offsets(), mirror.at(&Value::Null));
    mirror.resume();
    mirror.wait_for_count("t", 5).await;
    mirror.wait_for_offset(5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_in_postgresql_goes_back_and_forth() {
    moves_back_and_forth(Some(PostgresVersion::V17.into())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_in_mysql_goes_back_and_forth() {
    moves_back_and_forth(Some(MySqlVersion::MySql97.into())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_in_mariadb_goes_back_and_forth() {
    moves_back_and_forth(Some(MySqlVersion::MariaDb1011.into())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_in_sqlite_goes_back_and_forth() {
    moves_back_and_forth(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_sink_reads_is_not_moved_and_all_or_none_is() {
    let mirror = Mirror::start(Some(PostgresVersion::V17.into())).await;
    mirror.wait_for_offset(3).await;
    mirror.stop();
    let path = "/connectors/mirror/offsets";
    let partition = |topic: &str, number: Value| json!({ "kafka_topic": topic, "kafka_partition": number });
    let right = json!({ "partition": partition(&mirror.topic(), json!(0)), "offset": { "kafka_offset": 1 } });
    for wrong in [
        json!({ "partition": partition("nosuch", json!(0)), "offset": { "kafka_offset": 1 } }),
        json!({ "partition": partition(&mirror.topic(), json!(0)), "offset": { "kafka_offset": 2 } }),
        json!({ "partition": partition(&mirror.topic(), json!(-1)), "offset": { "kafka_offset": 1 } }),
        json!({ "partition": partition(&mirror.topic(), json!("x")), "offset": { "kafka_offset": 1 } }),
        json!({ "partition": partition(&mirror.topic(), json!(1)), "offset": { "kafka_offset": -1 } }),
        json!({ "partition": partition(&mirror.topic(), json!(1)), "offset": { "kafka_offset": "many" } }),
        json!({ "partition": partition(&mirror.topic(), json!(1)), "offset": {} }),
        json!({ "partition": { "connector": "mirror" }, "offset": { "position": "0/1" } }),
    ] {
        let body = json!({ "offsets": [right, wrong] });
        mirror.must(400, "PATCH", path, &body);
        mirror.wait_for_offset(3).await;
    }
    // A table of offsets that is gone is made where it must be.
    mirror.target.execute("drop table tailrace_offsets").await;
    assert_eq!(mirror.offsets(), json!({ "offsets": [] }));
    mirror.confirmed("PATCH", &mirror.at(&json!({ "kafka_offset": 3 })));
    mirror.wait_for_offset(3).await;
    mirror.resume();
    mirror.source.execute("insert into t values (4, 'd')").await.unwrap();
    mirror.wait_for_count("t", 4).await;
}
