//! Records that others have written, as they are found in many a Kafka: plain JSON, under a key that is one value, or under none.

use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::producer::{BaseRecord, Producer as _};
use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::servers::{PostgresVersion, eventually, shared_kafka};

use super::{DEADLINE, sink};
use crate::capture::database_with;
use crate::subscriptions::{admin, producer};

/// A topic, a table, and a daemon between them.
struct Written {
    topic: String,
    target: Database,
    daemon: Daemon,
}

impl Written {
    /// The topic has one partition and the name of the table, which these statements make. The daemon is not started.
    async fn prepare(statements: &str, settings: &str, connector: &str) -> Self {
        let target = database_with(PostgresVersion::V17, statements).await;
        let topic = format!("{}.t", target.name());
        let kafka = shared_kafka().unwrap();
        kafka.create_topic(&topic, 1, &[]).await.unwrap();
        let daemon = Daemon::new(&format!(
            "streams: {{ events: {{ type: kafka, bootstrap_servers: [\"{}\"] }} }}\nconnectors:\n  \
             mirror: {{ stream: events, group: \"{topic}\", topics: [\"{topic}\"], sink: {{ {}, {settings} }}, {connector} }}\n",
            kafka.bootstrap(),
            sink(&target, None),
        ));
        Self {
            topic,
            target,
            daemon: daemon.unwrap(),
        }
    }

    fn put(&self, key: Option<&str>, value: Option<&str>) {
        self.put_into(0, key, value);
    }

    fn put_into(&self, partition: i32, key: Option<&str>, value: Option<&str>) {
        let mut record = BaseRecord::<str, str>::to(&self.topic).partition(partition);
        record.key = key;
        record.payload = value;
        // A new one knows every partition that there is.
        let producer = producer(None);
        producer.send(record).unwrap();
        producer.flush(DEADLINE).unwrap();
    }

    /// Waits until the table has these rows.
    async fn has(&self, wanted: &[&str]) {
        let rows = async || {
            let rows = self
                .target
                .query("select * from t order by 1")
                .await
                .unwrap_or_default();
            let line =
                |row: Vec<Option<String>>| Vec::from_iter(row.into_iter().map(Option::unwrap_or_default)).join(" ");
            Vec::from_iter(rows.into_iter().map(line))
        };
        let seen = eventually("the target's rows", DEADLINE, async || {
            Ok((rows().await == wanted).then_some(()))
        });
        let is_seen = seen.await.is_ok();
        assert!(is_seen, "{:?} and not {wanted:?}\n{}", rows().await, self.daemon.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_names_types_and_key() {
    let written = Written::prepare("", "evolve: add", "contract: contract.json").await;
    let contract = r#"{"type":"object","key":["id"],"required":["id"],"properties":{
        "id":{"type":"integer"}, "at":{"type":"string","format":"date-time"}, "name":{"type":"string"}}}"#;
    std::fs::write(written.daemon.path().join("contract.json"), contract).unwrap();
    written.put(None, Some(r#"{"id":1,"at":"2020-02-29T12:00:00Z","name":"a"}"#));
    written.put(Some("2"), Some(r#"{"id":2,"at":"2020-02-29T12:00:00Z","name":"b"}"#));
    written.put(Some("3"), Some(r#"{"id":3,"at":"2020-02-29T12:00:00Z","name":"c"}"#));
    written.daemon.start().unwrap();
    let (first, third) = ("1 2020-02-29 12:00:00+00 a", "3 2020-02-29 12:00:00+00 c");
    written.has(&[first, "2 2020-02-29 12:00:00+00 b", third]).await;
    written.put(None, Some(r#"{"id":1,"at":"2020-03-01T12:00:00Z","name":"z"}"#));
    written.put(Some("2"), None);
    written.has(&["1 2020-03-01 12:00:00+00 z", third]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_one_value_is_that_of_the_only_column() {
    let table = "create table t (id varchar(10) primary key, n int)";
    let written = Written::prepare(table, "key: [id]", "writers: 1").await;
    for id in ["0042", "42", "x-1"] {
        written.put(Some(id), Some(&format!(r#"{{"id":"{id}","n":1}}"#)));
    }
    written.daemon.start().unwrap();
    written.has(&["0042 1", "42 1", "x-1 1"]).await;
    written.put(Some("0042"), None);
    written.put(Some("x-1"), None);
    written.has(&["42 1"]).await;
}

/// In one batch, of types that cannot be told to be the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_that_of_the_row_whatever_its_type() {
    let table = "create table t (id numeric primary key, day date)";
    let settings = "transforms: [{ rename: { when: day } }], format: { time: microseconds }, writers: 1";
    let written = Written::prepare(table, "key: [id]", settings).await;
    for id in ["41", "42"] {
        let row = format!(r#"{{"id":{id},"when":"2020-02-29"}}"#);
        written.put(Some(id), Some(&row));
        written.put(Some("42"), None);
    }
    written.daemon.start().unwrap();
    written.has(&["41 2020-02-29"]).await;
}

/// FM-244: the newest version of a row comes by the new partition, and older ones after it by the old one.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_gets_more_partitions_takes_no_row_back() {
    let table = "create table t (id int primary key, version int)";
    let written = Written::prepare(table, "version_guard: version", "writers: 2").await;
    let put = |partition, id, version| {
        let (key, value) = (
            format!(r#"{{"id":{id}}}"#),
            format!(r#"{{"id":{id},"version":{version}}}"#),
        );
        written.put_into(partition, Some(&key), Some(&value));
    };
    (1..=5).for_each(|version| put(0, 1, version));
    written.daemon.start().unwrap();
    written.has(&["1 5"]).await;
    let more = NewPartitions::new(&written.topic, 2);
    let made = admin().create_partitions([&more], &AdminOptions::new()).await;
    made.unwrap().remove(0).unwrap();
    put(1, 1, 7);
    written.has(&["1 7"]).await;
    put(0, 1, 6);
    put(0, 2, 1);
    written.has(&["1 7", "2 1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_at_the_end_leaves_out_what_was_there_before() {
    let table = "create table t (id int primary key)";
    let written = Written::prepare(table, "mode: insert", "start: latest").await;
    let put = |id: usize| written.put(Some(&format!(r#"{{"id":{id}}}"#)), Some(&format!(r#"{{"id":{id}}}"#)));
    put(0);
    written.daemon.start().unwrap();
    let mut last = 0;
    let first = eventually("the first row that comes", DEADLINE, || {
        last += 1;
        put(last);
        async {
            let first = written.target.query_value("select min(id) from t").await;
            Ok(first.ok().and_then(|first| first.parse::<usize>().ok()))
        }
    });
    let first = first.await.unwrap();
    assert!(first > 0, "{}", written.daemon.log());
    let rows: Vec<String> = (first..=last).map(|id| id.to_string()).collect();
    written.has(&rows.iter().map(String::as_str).collect::<Vec<_>>()).await;
}
