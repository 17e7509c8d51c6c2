//! What Prometheus makes of the endpoint, the alerts and the dashboard: its own tool, and a server that scrapes.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tailrace_tests::database::Database;
use tailrace_tests::servers::{
    Kafka, KafkaOptions, MySqlVersion, PostgresOptions, PostgresVersion, Prometheus, eventually, promtool,
};

use crate::capture::{Capture, KafkaHandle, Wanted, database_with};

const TWO_ROWS: &str = "create table t (id int primary key); insert into t values (1), (2)";
const DEADLINE: Duration = Duration::from_secs(60);

fn deploy() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(deploy().join(path)).unwrap()
}

/// The text as Prometheus wrote it before OpenMetrics, which alone its tool reads: there a counter's family has the name of its series.
fn in_the_old_format(text: &str) -> String {
    let counters: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("# UNIT ") && *line != "# EOF");
    let lines = lines.map(|line| {
        let is_of = |name: &&&str| {
            ["# HELP ", "# TYPE "]
                .iter()
                .any(|head| line.starts_with(&format!("{head}{name} ")))
        };
        match counters.iter().find(is_of) {
            Some(name) => line.replacen(name, &format!("{name}_total"), 1) + "\n",
            None => line.to_owned() + "\n",
        }
    });
    lines.collect()
}

#[test]
fn promtool_takes_the_rules_and_their_stories() {
    let folder = deploy().join("prometheus");
    promtool(&["check", "config", "prometheus.yml"], &folder, "").unwrap();
    promtool(&["check", "rules", "alerts.yml"], &folder, "").unwrap();
    promtool(&["test", "rules", "alerts_test.yml"], &folder, "").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_the_endpoint_and_evaluates_alerts_and_dashboard() {
    let capture = Capture::of(TWO_ROWS).await;
    capture.after("insert into t values (3)", "t").await;
    let name = capture.database.name().to_owned();
    let is_caught_up = |status: &Value| status["records"] == 3 && status["lag_ms"] == 0 && status["lag_events"] == 0;
    capture
        .daemon
        .wait_for(&name, "the end of the log", is_caught_up)
        .unwrap();
    let text = capture.daemon.get("/metrics").unwrap().body;
    promtool(&["check", "metrics"], &deploy(), &in_the_old_format(&text)).unwrap();

    let configuration = read("prometheus/prometheus.yml")
        .replace("127.0.0.1:8083", &format!("127.0.0.1:{}", capture.daemon.port()))
        .replace("15s", "1s");
    let prometheus = Prometheus::start(&configuration, &read("prometheus/alerts.yml")).unwrap();
    let value = |expression: String| {
        let prometheus = &prometheus;
        eventually("an answer of Prometheus", DEADLINE, move || {
            let series = prometheus.query(&expression);
            async move { Ok(series?.first().map(|(_, value)| *value)) }
        })
    };
    assert!(
        (value(format!("tailrace_records_total{{connector=\"{name}\"}}"))
            .await
            .unwrap()
            - 3.0)
            .abs()
            < 1e-9
    );
    assert!((value("up{job=\"tailrace\"}".to_owned()).await.unwrap() - 1.0).abs() < 1e-9);
    let latency =
        format!("histogram_quantile(0.99, tailrace_commit_to_durable_seconds_bucket{{connector=\"{name}\"}})");
    assert!(value(latency).await.unwrap() > 0.0);
    assert!(
        value("process_resident_memory_bytes{job=\"tailrace\"}".to_owned())
            .await
            .unwrap()
            > 1e6
    );
    // Before the first scrape nothing is known of it.
    let at_peace = || async {
        let rules = prometheus.rules()?;
        let is_at_peace = |rule: &Value| rule["health"] == "ok" && rule["state"] == "inactive";
        Ok((!rules.is_empty() && rules.iter().all(is_at_peace)).then_some(()))
    };
    eventually("peace of every rule", DEADLINE, at_peace).await.unwrap();
    for expression in expressions_of_the_dashboard() {
        prometheus.query(&expression).unwrap();
    }
}

/// Behind while the broker is away, and no more when it is back; and idle, as far as it is known.
async fn lag_comes_and_goes(database: Database) {
    let kafka = KafkaHandle::Own(Box::new(Kafka::start(KafkaOptions::default()).unwrap()));
    let capture = Capture::prepare_into(database, kafka, &Wanted::default());
    capture.start_again();
    let (name, daemon) = (capture.database.name().to_owned(), &capture.daemon);
    let is_idle = |status: &Value| status["lag_ms"] == 0 && status["lag_bytes"] == 0 && status["lag_events"] == 0;
    capture.after("insert into t values (3)", "t").await;
    daemon.wait_for(&name, "the end of the log", is_idle).unwrap();
    capture.kafka.kill9().unwrap();
    capture.database.execute("insert into t values (4)").await.unwrap();
    let is_late =
        |status: &Value| status["lag_ms"].as_i64() > Some(2000) && status["bytes_in_flight"].as_i64() > Some(0);
    let status = daemon.wait_for(&name, "lag", is_late).unwrap();
    assert!(status["lag_ms"].as_i64() < Some(60_000), "since its commit: {status:#}");
    capture.kafka.restart().unwrap();
    daemon.wait_for(&name, "the end of the log again", is_idle).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_of_postgres_is_the_age_of_what_waits() {
    lag_comes_and_goes(database_with(PostgresVersion::V17, TWO_ROWS).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_of_mariadb_is_the_age_of_what_waits() {
    lag_comes_and_goes(database_with(MySqlVersion::MariaDb1011, TWO_ROWS).await).await;
}

/// Nothing of an open transaction is committed, however much of it was sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_stays_open_is_no_lag() {
    // The server sends it from the first kilobytes on.
    let options = PostgresOptions::version(PostgresVersion::V17).setting("logical_decoding_work_mem = 64kB");
    let database = Database::own(options).await.unwrap();
    let table = "create table t (id int primary key, filler text)";
    database.execute(table).await.unwrap();
    let capture = Capture::start(database, &Wanted::default());
    let name = capture.database.name().to_owned();
    let mut client = capture.database.connect().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let rows = "insert into t select n, repeat(md5(n::text), 5) from generate_series(1, 20000) n";
    transaction.batch_execute(rows).await.unwrap();
    let is_seen = |status: &Value| status["lag_bytes"].as_i64() > Some(1_000_000) && status["lag_ms"] == 0;
    capture.daemon.wait_for(&name, "a look at the log", is_seen).unwrap();
    transaction.commit().await.unwrap();
    let is_carried = |status: &Value| status["records"] == 20_000 && status["lag_ms"] == 0;
    capture.daemon.wait_for(&name, "the transaction", is_carried).unwrap();
}

/// Every expression of a panel, for all connectors.
fn expressions_of_the_dashboard() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("grafana/tailrace.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let filled_in = targets.map(|target| {
        let expression = target["expr"].as_str().unwrap();
        let expression = expression.replace("$__rate_interval", "1m");
        expression.replace("$instance", ".*").replace("$connector", ".*")
    });
    let filled_in: Vec<_> = filled_in.collect();
    assert!(filled_in.len() > 40, "{filled_in:?}");
    filled_in
}
