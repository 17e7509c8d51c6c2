//! What somebody sees who knows Kafka and has never heard of Tailrace: a plain librdkafka consumer.

use std::collections::BTreeMap;
use std::time::Duration;

use tailrace_tests::servers::{PostgresVersion, poll_until};

use crate::capture::{Capture, Wanted, database_with};

const PARTITIONS: u32 = 5;

/// The partitioner of Java clients: murmur2 with Kafka's seed, the sign bit cleared (`org.apache.kafka.common.utils.Utils`).
fn java_partition(key: &[u8], partitions: u32) -> u32 {
    const MIX: u32 = 0x5bd1_e995;
    let length = u32::try_from(key.len()).unwrap();
    let mut hash = 0x9747_b28c ^ length;
    let words = key.chunks_exact(4);
    let rest = words.remainder().to_vec();
    for word in words {
        let mut k = u32::from_le_bytes(word.try_into().unwrap()).wrapping_mul(MIX);
        k = (k ^ (k >> 24)).wrapping_mul(MIX);
        hash = hash.wrapping_mul(MIX) ^ k;
    }
    for (index, byte) in rest.iter().enumerate().rev() {
        hash ^= u32::from(*byte) << (8 * index);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(MIX);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MIX);
    ((hash ^ (hash >> 15)) & 0x7fff_ffff) % partitions
}

#[test]
fn the_partitioner_here_is_javas() {
    // From Kafka's own UtilsTest: murmur2("21") = -973932308, murmur2("foobar") = -790332482, murmur2("a-little-bit-long-string") = -985981536.
    for (key, hash) in [
        ("21", -973_932_308_i32),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
    ] {
        let positive = hash.cast_unsigned() & 0x7fff_ffff;
        assert_eq!(
            java_partition(key.as_bytes(), 0x7fff_ffff),
            positive % 0x7fff_ffff,
            "{key}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_choose_partitions_as_java_clients_do() {
    let database = database_with(PostgresVersion::V17, "create table t (id int primary key, v text)").await;
    let wanted = Wanted {
        partitions: PARTITIONS,
        format: "envelope: entity",
        ..Wanted::default()
    };
    let capture = Capture::start(database, &wanted);
    let statements = "insert into t select n, 'v' from generate_series(1, 200) n; update t set v = 'w'; delete from t";
    capture.database.execute(statements).await.unwrap();
    capture.settle().await;
    let records = capture.kafka.records(&capture.topic("t")).unwrap();
    assert_eq!(records.len(), 600);
    let mut used = BTreeMap::new();
    for record in &records {
        let key = record.key.as_deref().unwrap();
        assert_eq!(
            u32::try_from(record.partition).unwrap(),
            java_partition(key, PARTITIONS),
            "{key:?}"
        );
        *used.entry(record.partition).or_insert(0) += 1;
    }
    assert_eq!(used.len(), 5, "{used:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_has_documented_headers_in_order_and_the_time_of_the_change() {
    let database = database_with(PostgresVersion::V17, "create table t (id int primary key)").await;
    let capture = Capture::start(
        database,
        &Wanted {
            format: "envelope: entity",
            ..Wanted::default()
        },
    );
    let before = capture
        .database
        .query_value("select (extract(epoch from clock_timestamp()) * 1000)::bigint")
        .await
        .unwrap();
    capture.after("insert into t values (1)", "t").await;
    let after = capture
        .database
        .query_value("select (extract(epoch from clock_timestamp()) * 1000)::bigint + 1")
        .await
        .unwrap();
    let records = capture.kafka.records(&capture.topic("t")).unwrap();
    let record = &records[0];
    let names: Vec<&str> = record.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["updated_at", "op", "source", "position", "event_id", "txn"]);
    let header = |name: &str| {
        let found = record.headers.iter().find(|(known, _)| known == name);
        String::from_utf8(found.and_then(|(_, value)| value.clone()).unwrap()).unwrap()
    };
    let (low, high): (i64, i64) = (before.parse().unwrap(), after.parse().unwrap());
    let stamp = record.timestamp_ms.unwrap();
    assert!(
        (low..=high).contains(&stamp),
        "{low} <= {stamp} <= {high}: the time of the commit"
    );
    let query = format!(
        "select (extract(epoch from '{}'::timestamptz) * 1000)::bigint",
        header("updated_at")
    );
    let updated_at: i64 = capture.database.query_value(&query).await.unwrap().parse().unwrap();
    assert!(
        (updated_at - stamp).abs() <= 1,
        "header {updated_at} and timestamp {stamp}"
    );
    assert_eq!(header("op"), "c");
    assert_eq!(header("source"), capture.database.name());
    assert_eq!(record.key.as_deref(), Some(&b"{\"id\":1}"[..]));
    assert_eq!(record.value.as_deref(), Some(&b"{\"id\":1}"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_as_configured_and_keep_old_rows() {
    let database = database_with(
        PostgresVersion::V17,
        "create table t (id int primary key, modified timestamptz)",
    )
    .await;
    database
        .execute("insert into t values (1, '2001-01-01')")
        .await
        .unwrap();
    let wanted = Wanted {
        partitions: 3,
        connector: "updated_at: { column: modified }",
        ..Wanted::default()
    };
    let capture = Capture::start(database, &wanted);
    capture.settle().await;
    let topic = capture.topic("t");
    assert_eq!(
        capture.kafka.topic_settings(&topic).await.unwrap()["retention.ms"],
        "-1"
    );
    assert_eq!(
        capture.kafka.records(&topic).unwrap().len(),
        1,
        "a row of 2001 is not beyond retention"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_topic_refuses_halts_and_loses_nothing() {
    let database = database_with(PostgresVersion::V17, "create table t (id int primary key, v text)").await;
    let wanted = Wanted {
        format: "envelope: entity",
        ..Wanted::default()
    };
    let capture = Capture::prepare(database, &wanted);
    let topic = capture.topic("t");
    capture
        .kafka
        .create_topic(&topic, 1, &[("max.message.bytes", "10000")])
        .await
        .unwrap();
    capture.start_again();
    let random = "select string_agg(md5(n::text), '') from generate_series(1, 2000) n";
    let statements =
        format!("insert into t values (1, 'a'); insert into t values (2, ({random})); insert into t values (3, 'c')");
    capture.database.execute(&statements).await.unwrap();
    capture.wait_for("halted");
    let status = capture.daemon.connector(capture.database.name()).unwrap();
    let reason = status["reason"].as_str().unwrap();
    assert!(
        reason.contains(&topic) && reason.contains("max.message.bytes"),
        "{status:#}"
    );
    capture.daemon.terminate().unwrap();
    capture
        .kafka
        .alter_topic(&topic, "max.message.bytes", "1000000")
        .await
        .unwrap();
    capture.start_again();
    capture.settle().await;
    let mut keys: Vec<String> = capture
        .events("t")
        .iter()
        .map(|event| event.key_json().to_string())
        .collect();
    keys.dedup();
    assert!(
        keys.ends_with(&[r#"{"id":2}"#.to_owned(), r#"{"id":3}"#.to_owned()]),
        "{keys:?}"
    );
    assert!(keys.contains(&r#"{"id":1}"#.to_owned()), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_is_missed() {
    let database = database_with(PostgresVersion::V17, "create table t (id int primary key)").await;
    let capture = Capture::start(database, &Wanted::default());
    capture.after("insert into t values (1)", "t").await;
    let topic = capture.topic("t");
    capture.kafka.delete_topic(&topic).await.unwrap();
    let gone = || Ok((!capture.kafka.topics()?.contains(&topic)).then_some(()));
    poll_until("the end of the topic", Duration::from_secs(30), gone).unwrap();
    let name = capture.database.name().to_owned();
    capture.database.execute("insert into t values (2)").await.unwrap();
    let said = capture.daemon.wait_for(&name, "a word about the topic", |status| {
        status["reason"].to_string().contains(&topic) || status["records"].as_u64() >= Some(2)
    });
    let said = said.unwrap();
    assert_ne!(said["state"], "streaming", "{said:#}");
}
