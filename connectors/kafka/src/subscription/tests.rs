//! Against the cluster in memory that librdkafka brings along.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tailrace_core::error::Kind;
use tailrace_core::ports::StartOffset;

use super::*;

/// Nothing here takes so long. The cluster waits for members for three seconds when a group begins, and for almost a session
/// timeout whenever it changes.
const WAIT: Duration = Duration::from_secs(60);

struct Kafka {
    mock: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
}

impl Kafka {
    fn new(partitions: i32) -> Self {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("t", partitions, 1).unwrap();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", mock.bootstrap_servers())
            .create()
            .unwrap();
        Self { mock, producer }
    }

    fn write(&self, topic: &str, partition: i32, value: &str) {
        let record = BaseRecord::<str, str>::to(topic).partition(partition).payload(value);
        self.producer.send(record).unwrap();
        self.producer.flush(WAIT).unwrap();
    }

    async fn member(&self, topics: &[&str], properties: serde_json::Value) -> KafkaSubscription {
        let config =
            serde_json::json!({ "bootstrap_servers": [self.mock.bootstrap_servers()], "properties": properties });
        let shared = Arc::new(Shared::new(serde_json::from_value(config).unwrap()));
        let spec = SubscriptionSpec {
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            group: "g".to_owned(),
            connector: "mirror".to_owned(),
            offsets_table: "tailrace_offsets".to_owned(),
        };
        KafkaSubscription::connect(&shared, spec).await.unwrap()
    }

    fn stored(&self, partition: i32) -> Offset {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.mock.bootstrap_servers())
            .set("group.id", "g")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition("t", partition);
        let found = client.committed_offsets(list, WAIT).unwrap();
        found.elements()[0].offset()
    }
}

fn quick() -> serde_json::Value {
    serde_json::json!({
        "topic.metadata.refresh.interval.ms": 100, "heartbeat.interval.ms": 100, "session.timeout.ms": 4000
    })
}

async fn next(member: &mut KafkaSubscription) -> Delivery {
    tokio::time::timeout(WAIT, member.next(1000))
        .await
        .expect("nothing came")
        .unwrap()
}

async fn assigned(member: &mut KafkaSubscription) -> Vec<TopicPartition> {
    match next(member).await {
        Delivery::Assigned(partitions) => partitions,
        other => panic!("{other:?}"),
    }
}

async fn start_one(member: &mut KafkaSubscription, partition: &TopicPartition, at: StartAt) -> Result<i64> {
    Ok(member.start(&[(partition.clone(), at)]).await?.remove(0))
}

async fn start(member: &mut KafkaSubscription, partitions: &[TopicPartition]) {
    for partition in partitions {
        let earliest = StartAt::Unknown(StartOffset::Earliest);
        assert_eq!(start_one(member, partition, earliest).await.unwrap(), 0);
    }
}

/// Reads so many records: their values, by partition.
async fn read(member: &mut KafkaSubscription, count: usize) -> BTreeMap<i32, Vec<String>> {
    let mut found = BTreeMap::<i32, Vec<String>>::new();
    let mut seen = 0;
    while seen < count {
        let Delivery::Records(batch) = next(member).await else {
            panic!("something else than records came; so far {found:?}");
        };
        seen += batch.len();
        for record in batch.iter() {
            let value = String::from_utf8(record.value().unwrap().to_vec()).unwrap();
            found.entry(record.partition().partition).or_default().push(value);
        }
    }
    found
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[tokio::test]
async fn a_member_that_joins_gets_its_share_once_it_is_released() {
    let kafka = Kafka::new(4);
    let mut first = kafka.member(&["t"], quick()).await;
    let all = assigned(&mut first).await;
    assert_eq!(all.len(), 4);
    start(&mut first, &all).await;
    for partition in 0..4 {
        kafka.write("t", partition, "before");
    }
    assert_eq!(read(&mut first, 4).await.len(), 4);

    let mut second = kafka.member(&["t"], quick()).await;
    let Delivery::Revoked(moving) = next(&mut first).await else {
        panic!("the new member gets nothing");
    };
    assert_eq!(moving.len(), 2);
    let early = tokio::time::timeout(Duration::from_millis(500), second.next(1)).await;
    assert!(early.is_err(), "nothing was released yet: {early:?}");
    first.release(&moving[..1]).await.unwrap();
    first.release(&moving[1..]).await.unwrap();
    let mut moved = assigned(&mut second).await;
    moved.sort();
    let mut expected = moving.clone();
    expected.sort();
    assert_eq!(moved, expected);

    for partition in &moved {
        assert_eq!(start_one(&mut second, partition, StartAt::Offset(1)).await.unwrap(), 1);
    }
    for partition in 0..4 {
        kafka.write("t", partition, "after");
    }
    // The kept ones go on where they were: no word about them, nothing twice, nothing of those that moved.
    let kept = read(&mut first, 2).await;
    assert!(kept.values().all(|values| *values == texts(&["after"])), "{kept:?}");
    assert!(moved.iter().all(|partition| !kept.contains_key(&partition.partition)));
    let got = read(&mut second, 2).await;
    assert!(got.values().all(|values| *values == texts(&["after"])), "{got:?}");
}

#[tokio::test]
async fn a_member_that_leaves_hands_its_share_over() {
    let kafka = Kafka::new(2);
    let mut first = kafka.member(&["t"], quick()).await;
    let all = assigned(&mut first).await;
    start(&mut first, &all).await;
    let mut second = kafka.member(&["t"], quick()).await;
    let Delivery::Revoked(moving) = next(&mut first).await else {
        panic!("the new member gets nothing");
    };
    // Leaves while it is asked for partitions: nobody waits for it.
    drop(first);
    let mut got = assigned(&mut second).await;
    while got.len() < 2 {
        got.extend(assigned(&mut second).await);
    }
    assert!(got.contains(&moving[0]));
}

#[tokio::test]
async fn who_is_thrown_out_is_told_that_all_is_lost() {
    let kafka = Kafka::new(1);
    let mut member = kafka.member(&["t"], quick()).await;
    let all = assigned(&mut member).await;
    start(&mut member, &all).await;
    kafka.mock.request_errors(
        RDKafkaApiKey::Heartbeat,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID],
    );
    let Delivery::Lost(lost) = next(&mut member).await else {
        panic!("it is not told");
    };
    assert_eq!(lost, all);
    // Where it is not ours, it is not started, and that is no error.
    assert_eq!(start_one(&mut member, &all[0], StartAt::Offset(0)).await.unwrap(), 0);
    let again = assigned(&mut member).await;
    kafka.write("t", 0, "a");
    start(&mut member, &again).await;
    assert_eq!(read(&mut member, 1).await[&0], texts(&["a"]));
}

#[tokio::test]
async fn nothing_is_read_before_the_start_and_nothing_old_after_another_one() {
    let kafka = Kafka::new(1);
    let mut member = kafka.member(&["t"], quick()).await;
    let all = assigned(&mut member).await;
    for value in ["a", "b", "c"] {
        kafka.write("t", 0, value);
    }
    let early = tokio::time::timeout(Duration::from_millis(300), member.next(1)).await;
    assert!(early.is_err(), "it was not started: {early:?}");
    assert_eq!(start_one(&mut member, &all[0], StartAt::Offset(2)).await.unwrap(), 2);
    assert_eq!(member.ends(), [(all[0].clone(), 3)]);
    assert_eq!(read(&mut member, 1).await[&0], texts(&["c"]));
    // Written and perhaps read ahead already, but not taken.
    kafka.write("t", 0, "d");
    start_one(&mut member, &all[0], StartAt::Offset(1)).await.unwrap();
    assert_eq!(read(&mut member, 3).await[&0], texts(&["b", "c", "d"]));
    let latest = StartAt::Unknown(StartOffset::Latest);
    assert_eq!(start_one(&mut member, &all[0], latest).await.unwrap(), 4);
    kafka.write("t", 0, "e");
    assert_eq!(read(&mut member, 1).await[&0], texts(&["e"]));
}

#[tokio::test]
async fn offsets_that_are_not_there_are_told_apart() {
    let kafka = Kafka::new(1);
    let mut member = kafka.member(&["t"], quick()).await;
    let all = assigned(&mut member).await;
    kafka.write("t", 0, "a");
    let error = start_one(&mut member, &all[0], StartAt::Offset(2)).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "topic_rewound"));
    assert!(error.to_string().contains("ends at offset 1"), "{error}");
    let error = start_one(&mut member, &all[0], StartAt::Offset(-1)).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "offset_out_of_range"));
    // Neither moved anything.
    start_one(&mut member, &all[0], StartAt::Offset(1)).await.unwrap();
    kafka.write("t", 0, "b");
    assert_eq!(read(&mut member, 1).await[&0], texts(&["b"]));
}

#[tokio::test]
async fn a_slow_reader_stays_a_member_and_loses_nothing() {
    let kafka = Kafka::new(4);
    let limit = serde_json::json!({
        "max.poll.interval.ms": 4000, "session.timeout.ms": 4000, "heartbeat.interval.ms": 100
    });
    let mut member = kafka.member(&["t"], limit).await;
    let all = assigned(&mut member).await;
    // More than may wait, so that librdkafka is told to stop; the cluster keeps 5 MB of a partition.
    let padding = "x".repeat(200_000);
    for number in 0..20 {
        for partition in 0..4 {
            kafka.write("t", partition, &format!("{number} {padding}"));
        }
    }
    start(&mut member, &all).await;
    assert!(member.ends().iter().all(|(_, end)| *end == 20), "{:?}", member.ends());
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    let since = Instant::now();
    while !member.membership.is_paused() {
        assert!(since.elapsed() < WAIT, "it reads on and on");
        looks.tick().await;
    }
    // For twice the interval it waits for room, and says nothing.
    let given_up = async {
        while member.membership.is_paused() {
            looks.tick().await;
        }
    };
    let given_up = tokio::time::timeout(Duration::from_secs(8), given_up).await;
    assert!(given_up.is_err());
    for values in read(&mut member, 80).await.into_values() {
        let numbers: Vec<_> = values.iter().map(|value| value.split(' ').next().unwrap()).collect();
        assert_eq!(numbers, (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_was_removed_before_it_was_read_is_named() {
    let kafka = Kafka::new(1);
    let mut member = kafka.member(&["t"], quick()).await;
    let all = assigned(&mut member).await;
    // The cluster keeps 5 MB of a partition.
    let padding = "x".repeat(500_000);
    for _ in 0..20 {
        kafka.write("t", 0, &padding);
    }
    let error = start_one(&mut member, &all[0], StartAt::Offset(3)).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "offset_out_of_range"));
    assert!(error.to_string().contains("the target is 3:"), "{error}");
    let earliest = StartAt::Unknown(StartOffset::Earliest);
    let first = start_one(&mut member, &all[0], earliest).await.unwrap();
    assert!((5..15).contains(&first), "{first}");
}

#[tokio::test]
async fn topics_that_come_later_are_read() {
    let kafka = Kafka::new(1);
    let mut member = kafka.member(&["orders.*", "later"], quick()).await;
    let early = tokio::time::timeout(Duration::from_millis(300), member.next(1)).await;
    assert!(early.is_err(), "neither is there: {early:?}");
    kafka.mock.create_topic("orders.lines", 1, 1).unwrap();
    let found = assigned(&mut member).await;
    assert_eq!(found, [TopicPartition::new("orders.lines", 0)]);
    start(&mut member, &found).await;
    kafka.mock.create_topic("later", 1, 1).unwrap();
    let later = assigned(&mut member).await;
    assert_eq!(later, [TopicPartition::new("later", 0)]);
    start(&mut member, &later).await;
    kafka.write("later", 0, "a");
    kafka.write("orders.lines", 0, "b");
    assert_eq!(read(&mut member, 2).await[&0].len(), 2);
}

#[tokio::test]
async fn the_group_is_told_how_far_the_target_is() {
    let kafka = Kafka::new(1);
    let mut member = kafka.member(&["t"], quick()).await;
    let all = assigned(&mut member).await;
    kafka.write("t", 0, "a");
    start(&mut member, &all).await;
    read(&mut member, 1).await;
    let elsewhere = TopicPartition::new("t", 7);
    member.commit(&[(all[0].clone(), 1), (elsewhere, 9)]).await.unwrap();
    let since = Instant::now();
    while kafka.stored(0) != Offset::Offset(1) {
        assert!(since.elapsed() < WAIT, "nothing is stored");
    }
}

#[test]
fn patterns_become_the_regular_expressions_that_say_the_same() {
    assert_eq!(subscribed("legacy.public.orders"), "legacy.public.orders");
    assert_eq!(subscribed("legacy.*"), "^legacy\\..*$");
    assert_eq!(subscribed("a?b-c_1+"), "^a.b-c_1\\+$");
}
