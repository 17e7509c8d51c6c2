//! What a sink sees of a real Kafka that the one in memory does not have.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use tailrace_core::error::Kind;
use tailrace_core::ports::EventStream as _;
use tailrace_core::ports::sink::{Delivery, StartAt, Subscription, SubscriptionSpec};
use tailrace_core::record_batch::TopicPartition;
use tailrace_kafka::KafkaStream;
use tailrace_tests::servers::shared_kafka;

/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Long enough for a record that is there to come.
const A_MOMENT: Duration = Duration::from_secs(1);

fn client() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", shared_kafka().unwrap().bootstrap());
    config
}

pub(crate) fn admin() -> AdminClient<DefaultClientContext> {
    client().create().unwrap()
}

pub(crate) fn producer(transactional_id: Option<&str>) -> BaseProducer {
    let mut config = client();
    config.set("message.max.bytes", "10000000");
    if let Some(id) = transactional_id {
        config.set("transactional.id", id);
    }
    let producer: BaseProducer = config.create().unwrap();
    if transactional_id.is_some() {
        producer.init_transactions(PATIENCE).unwrap();
    }
    producer
}

fn write(producer: &BaseProducer, topic: &str, partition: i32, value: &str) {
    let record = BaseRecord::<str, str>::to(topic).partition(partition).payload(value);
    producer.send(record).unwrap();
    producer.flush(PATIENCE).unwrap();
}

async fn subscribe(topics: &[&str], group: &str) -> Box<dyn Subscription> {
    let config = serde_json::json!({
        "bootstrap_servers": [shared_kafka().unwrap().bootstrap()],
        "properties": { "heartbeat.interval.ms": 100 }
    });
    let stream = KafkaStream::new(serde_json::from_value(config).unwrap()).unwrap();
    let spec = SubscriptionSpec {
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        group: group.to_owned(),
        connector: "mirror".to_owned(),
        offsets_table: "tailrace_offsets".to_owned(),
    };
    stream.subscribe(spec).await.unwrap()
}

async fn start_one(
    member: &mut Box<dyn Subscription>,
    partition: &TopicPartition,
    at: StartAt,
) -> tailrace_core::Result<i64> {
    Ok(member.start(&[(partition.clone(), at)]).await?.remove(0))
}

async fn next(member: &mut Box<dyn Subscription>) -> tailrace_core::Result<Delivery> {
    tokio::time::timeout(PATIENCE, member.next(1000)).await.unwrap()
}

/// What is told of partitions, in a word.
fn told(delivery: Delivery) -> (&'static str, Vec<TopicPartition>) {
    match delivery {
        Delivery::Assigned(partitions) => ("assigned", partitions),
        Delivery::Revoked(partitions) => ("revoked", partitions),
        Delivery::Lost(partitions) => ("lost", partitions),
        Delivery::Records(batch) => ("records", batch.partitions().to_vec()),
    }
}

async fn assigned(member: &mut Box<dyn Subscription>) -> Vec<TopicPartition> {
    let (word, partitions) = told(next(member).await.unwrap());
    assert_eq!(word, "assigned", "{partitions:?}");
    partitions
}

/// Reads so many records, or to the first error.
async fn read(member: &mut Box<dyn Subscription>, count: usize) -> tailrace_core::Result<Vec<String>> {
    let mut found = Vec::new();
    let text = |value: &[u8]| String::from_utf8_lossy(value.get(..10).unwrap_or(value)).into_owned();
    while found.len() < count {
        match next(member).await? {
            Delivery::Records(batch) => found.extend(batch.iter().filter_map(|record| record.value().map(text))),
            other => assert_eq!(told(other), ("records", Vec::new())),
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_committed_is_read() {
    let topic = "subscriptions.committed";
    shared_kafka().unwrap().create_topic(topic, 1, &[]).await.unwrap();
    let transactions = producer(Some("subscriptions"));
    transactions.begin_transaction().unwrap();
    write(&transactions, topic, 0, "aborted");
    transactions.abort_transaction(PATIENCE).unwrap();
    transactions.begin_transaction().unwrap();
    write(&transactions, topic, 0, "committed");
    transactions.commit_transaction(PATIENCE).unwrap();
    transactions.begin_transaction().unwrap();
    write(&transactions, topic, 0, "open");
    let mut member = subscribe(&[topic], "subscriptions.committed").await;
    let all = assigned(&mut member).await;
    start_one(&mut member, &all[0], StartAt::Offset(0)).await.unwrap();
    assert_eq!(read(&mut member, 1).await.unwrap(), ["committed"]);
    let early = tokio::time::timeout(A_MOMENT, member.next(10)).await;
    assert!(early.is_err(), "{early:?}");
    // Each transaction but the open one has taken a place for its end, too.
    assert_eq!(member.ends(), [(all[0].clone(), 4)]);
    transactions.commit_transaction(PATIENCE).unwrap();
    assert_eq!(read(&mut member, 1).await.unwrap(), ["open"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_is_noticed() {
    let topic = "subscriptions.anew";
    let kafka = shared_kafka().unwrap();
    kafka.create_topic(topic, 1, &[]).await.unwrap();
    let plain = producer(None);
    for value in ["a", "b", "c"] {
        write(&plain, topic, 0, value);
    }
    let mut member = subscribe(&[topic], "subscriptions.anew").await;
    let all = assigned(&mut member).await;
    start_one(&mut member, &all[0], StartAt::Offset(0)).await.unwrap();
    assert_eq!(read(&mut member, 3).await.unwrap(), ["a", "b", "c"]);
    kafka.delete_topic(topic).await.unwrap();
    let (word, gone) = told(next(&mut member).await.unwrap());
    assert!(matches!(word, "revoked" | "lost") && gone == all, "{word} {gone:?}");
    member.release(&gone).await.unwrap();
    kafka.create_topic(topic, 1, &[]).await.unwrap();
    write(&producer(None), topic, 0, "d");
    let again = assigned(&mut member).await;
    let error = start_one(&mut member, &again[0], StartAt::Offset(3)).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "topic_rewound"));
    start_one(&mut member, &again[0], StartAt::Offset(0)).await.unwrap();
    assert_eq!(read(&mut member, 1).await.unwrap(), ["d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_removed_under_a_slow_reader_are_missed() {
    let topic = "subscriptions.removed";
    shared_kafka().unwrap().create_topic(topic, 1, &[]).await.unwrap();
    let plain = producer(None);
    // More than waits for the reader and is read ahead together.
    let padding = "x".repeat(500_000);
    for number in 0..80 {
        write(&plain, topic, 0, &format!("{number:02} {padding}"));
    }
    let mut member = subscribe(&[topic], "subscriptions.removed").await;
    let all = assigned(&mut member).await;
    start_one(&mut member, &all[0], StartAt::Offset(0)).await.unwrap();
    read(&mut member, 1).await.unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(79)).unwrap();
    admin().delete_records(&list, &AdminOptions::new()).await.unwrap();
    let error = read(&mut member, 80).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "offset_out_of_range"));
    let message = error.to_string();
    assert!(
        message.contains(topic) && message.contains("begins at offset 79"),
        "{message}"
    );
    // Nothing goes on by itself.
    assert_eq!(next(&mut member).await.unwrap_err().code(), "offset_out_of_range");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_come_and_go_and_each_record_has_one_reader_at_a_time() {
    let topics = ["subscriptions.shared.a", "subscriptions.shared.b"];
    for topic in topics {
        shared_kafka().unwrap().create_topic(topic, 2, &[]).await.unwrap();
    }
    let plain = producer(None);
    let write_all = |value: &str| {
        topics
            .iter()
            .for_each(|topic| (0..2).for_each(|partition| write(&plain, topic, partition, value)))
    };
    write_all("before");
    let mut first = subscribe(&["subscriptions.shared.*"], "subscriptions.shared").await;
    let all = assigned(&mut first).await;
    assert_eq!(all.len(), 4);
    for partition in &all {
        start_one(&mut first, partition, StartAt::Offset(0)).await.unwrap();
    }
    assert_eq!(read(&mut first, 4).await.unwrap().len(), 4);
    let mut second = subscribe(&["subscriptions.shared.*"], "subscriptions.shared").await;
    let (word, moving) = told(next(&mut first).await.unwrap());
    assert_eq!(word, "revoked");
    assert_eq!(moving.len(), 2);
    first.release(&moving).await.unwrap();
    let moved = assigned(&mut second).await;
    for partition in &moved {
        start_one(&mut second, partition, StartAt::Offset(1)).await.unwrap();
    }
    write_all("after");
    assert_eq!(read(&mut first, 2).await.unwrap(), ["after", "after"]);
    assert_eq!(read(&mut second, 2).await.unwrap(), ["after", "after"]);
    drop(second);
    let back = assigned(&mut first).await;
    assert_eq!(back.len(), 2);
    for partition in &back {
        start_one(&mut first, partition, StartAt::Offset(2)).await.unwrap();
    }
    write_all("alone");
    assert_eq!(read(&mut first, 4).await.unwrap(), ["alone"; 4]);
}
