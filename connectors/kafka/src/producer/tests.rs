use std::collections::HashMap;
use std::time::Instant;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Headers as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};
use tailrace_core::error::Kind;
use tailrace_core::event::EncodedRecord;

use super::*;
use crate::topics::TopicFacts;

type Cluster = MockCluster<'static, DefaultProducerContext>;

const QUICK: Limits = Limits {
    warn: Duration::from_millis(50),
    authentication: Duration::from_millis(300),
    unreachable: Duration::from_millis(300),
    silence: Duration::from_millis(600),
};

fn cluster(topic: &str, partitions: i32) -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(topic, partitions, 1).unwrap();
    cluster
}

fn shared(servers: &str) -> Arc<Shared> {
    let text = serde_json::json!({ "bootstrap_servers": servers.split(',').collect::<Vec<_>>() }).to_string();
    Arc::new(Shared::new(serde_json::from_str(&text).unwrap()))
}

async fn producer_with(shared: &Arc<Shared>, properties: &[(&str, &str)], limits: Limits) -> KafkaProducer {
    let mut native = properties::producer_config(&shared.config, 100_000).unwrap();
    for (name, value) in properties {
        native.set(*name, *value);
    }
    KafkaProducer::start(shared, native, 100_000, limits).await.unwrap()
}

async fn producer(cluster: &Cluster) -> KafkaProducer {
    KafkaProducer::connect(&shared(&cluster.bootstrap_servers()))
        .await
        .unwrap()
}

fn batch(topic: &str, records: &[(Option<&str>, Option<&str>)]) -> EncodedBatch {
    let mut batch = EncodedBatch::default();
    let topic = batch.topic_index(&Arc::from(topic));
    let put = |batch: &mut EncodedBatch, text: &str| {
        let start = batch.buffer.len();
        batch.buffer.extend_from_slice(text.as_bytes());
        start..batch.buffer.len()
    };
    for (index, (key, value)) in records.iter().enumerate() {
        let key = key.map(|key| put(&mut batch, key));
        let value = value.map(|value| put(&mut batch, value));
        let first = batch.headers.len();
        let op = put(&mut batch, "c");
        batch.headers.push(("op".into(), op));
        let empty = put(&mut batch, "");
        batch.headers.push(("txn".into(), empty));
        let timestamp_ms = 1_700_000_000_000 + i64::try_from(index).unwrap();
        batch.records.push(EncodedRecord {
            topic,
            key,
            value,
            headers: first..first + 2,
            timestamp_ms,
        });
    }
    batch
}

fn numbers(topic: &str, range: std::ops::Range<usize>) -> EncodedBatch {
    let texts: Vec<String> = range.map(|number| number.to_string()).collect();
    let records: Vec<_> = texts.iter().map(|text| (Some("k"), Some(text.as_str()))).collect();
    batch(topic, &records)
}

struct Read {
    partition: i32,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp_ms: i64,
    headers: Vec<(String, Vec<u8>)>,
}

/// Everything that is in a topic now.
fn read(cluster: &Cluster, topic: &str) -> Vec<Read> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10)).unwrap();
    let mut list = TopicPartitionList::new();
    let mut expected = 0;
    for partition in metadata.topics()[0].partitions() {
        let marks = consumer
            .fetch_watermarks(topic, partition.id(), Duration::from_secs(10))
            .unwrap();
        expected += usize::try_from(marks.1 - marks.0).unwrap();
        list.add_partition_offset(topic, partition.id(), Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&list).unwrap();
    let mut found = Vec::new();
    while found.len() < expected {
        let message = consumer.poll(Duration::from_secs(10)).expect("within 10 s").unwrap();
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        found.push(Read {
            partition: message.partition(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            timestamp_ms: message.timestamp().to_millis().unwrap(),
            headers: headers
                .map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec()))
                .collect(),
        });
    }
    found
}

fn values(cluster: &Cluster, topic: &str) -> Vec<usize> {
    let texts = read(cluster, topic)
        .into_iter()
        .map(|read| String::from_utf8(read.value.unwrap()).unwrap());
    texts.map(|text| text.parse().unwrap()).collect()
}

#[tokio::test]
async fn records_arrive_in_order_with_key_headers_and_timestamp() {
    let cluster = cluster("t", 1);
    let mut producer = producer(&cluster).await;
    let first = producer.deliver(batch(
        "t",
        &[(Some("a"), Some("1")), (Some("a"), None), (None, Some(""))],
    ));
    let second = producer.deliver(batch("t", &[(Some(""), Some("2"))]));
    // key, value, the header op=c with 3 bytes and txn with 3
    assert_eq!(
        first.await.unwrap(),
        Receipt {
            records: 3,
            bytes: 3 + 3 * 6
        }
    );
    assert_eq!(second.await.unwrap().records, 1);
    let found = read(&cluster, "t");
    let parts: Vec<_> = found
        .iter()
        .map(|read| (read.key.as_deref(), read.value.as_deref()))
        .collect();
    assert_eq!(
        parts,
        [
            (Some(b"a".as_slice()), Some(b"1".as_slice())),
            (Some(b"a".as_slice()), None),
            (None, Some(b"".as_slice())),
            (Some(b"".as_slice()), Some(b"2".as_slice())),
        ]
    );
    assert_eq!(found[1].timestamp_ms, 1_700_000_000_001);
    assert_eq!(
        found[0].headers,
        [("op".to_owned(), b"c".to_vec()), ("txn".to_owned(), b"".to_vec())]
    );
}

#[tokio::test]
async fn keys_go_where_java_clients_send_them() {
    // Hashes from Kafka's own UtilsTest.testMurmur2; the partition is the hash without its sign, modulo.
    let hashes: [(&str, i32); 6] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ];
    let cluster = cluster("t", 97);
    let mut producer = producer(&cluster).await;
    let records: Vec<_> = hashes.iter().map(|(key, _)| (Some(*key), Some("x"))).collect();
    producer.deliver(batch("t", &records)).await.unwrap();
    let found: HashMap<_, _> = read(&cluster, "t")
        .into_iter()
        .map(|read| (read.key.unwrap(), read.partition))
        .collect();
    for (key, hash) in hashes {
        assert_eq!(found[key.as_bytes()], (hash & 0x7fff_ffff) % 97, "{key}");
    }
}

#[tokio::test]
async fn records_without_a_key_share_one_partition() {
    let cluster = cluster("t", 8);
    let mut producer = producer(&cluster).await;
    let records = vec![(None, Some("x")); 200];
    producer.deliver(batch("t", &records)).await.unwrap();
    assert!(read(&cluster, "t").iter().all(|read| read.partition == 0));
}

#[tokio::test]
async fn a_full_queue_delays_and_does_not_reorder() {
    let cluster = cluster("t", 1);
    let shared = shared(&cluster.bootstrap_servers());
    let mut producer = producer_with(&shared, &[("queue.buffering.max.messages", "7")], LIMITS).await;
    let first = producer.deliver(numbers("t", 0..300));
    let second = producer.deliver(numbers("t", 300..1000));
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(values(&cluster, "t"), (0..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn passing_errors_are_retried_once_and_in_order() {
    use RDKafkaRespErr as Code;
    for codes in [
        [Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 2],
        [Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 2],
        [Code::RD_KAFKA_RESP_ERR__TRANSPORT; 2],
        [Code::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR; 2],
    ] {
        let cluster = cluster("t", 1);
        let mut producer = producer(&cluster).await;
        producer.deliver(numbers("t", 0..10)).await.unwrap();
        cluster.request_errors(RDKafkaApiKey::Produce, &codes);
        let second = producer.deliver(numbers("t", 10..20));
        let third = producer.deliver(numbers("t", 20..30));
        second.await.unwrap();
        third.await.unwrap();
        assert_eq!(values(&cluster, "t"), (0..30).collect::<Vec<_>>(), "{codes:?}");
    }
}

#[tokio::test]
async fn a_lost_record_ends_the_producer_and_nothing_later_arrives() {
    use RDKafkaRespErr as Code;
    for (code, kind, name) in [
        (
            Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
            Kind::Definite,
            "message_too_large",
        ),
        (
            Code::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
            Kind::Definite,
            "invalid_timestamp",
        ),
        (
            Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            Kind::Transient,
            "kafka_unauthorized",
        ),
        (
            Code::RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
            Kind::Definite,
            "kafka_refused",
        ),
        (Code::RD_KAFKA_RESP_ERR_INVALID_RECORD, Kind::Definite, "kafka_refused"),
        (
            Code::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
            Kind::Transient,
            "kafka_producer_state",
        ),
        (
            Code::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
            Kind::Transient,
            "kafka_producer_state",
        ),
    ] {
        let cluster = cluster("t", 1);
        let mut producer = producer(&cluster).await;
        producer.deliver(numbers("t", 0..10)).await.unwrap();
        cluster.request_errors(RDKafkaApiKey::Produce, &[code]);
        let second = producer.deliver(numbers("t", 10..20)).await.unwrap_err();
        assert_eq!((second.kind(), second.code()), (kind, name), "{second}");
        assert!(
            second.to_string().contains("127.0.0.1") || second.to_string().contains("topic t"),
            "{second}"
        );
        let third = producer.deliver(numbers("t", 20..30)).await.unwrap_err();
        assert_eq!((third.code(), third.to_string()), (name, second.to_string()));
        drop(producer);
        assert_eq!(values(&cluster, "t"), (0..10).collect::<Vec<_>>(), "{name}");
    }
}

#[tokio::test]
async fn a_record_over_the_topics_limit_fails_before_anything_of_its_batch_is_sent() {
    let cluster = cluster("t", 1);
    let shared = shared(&cluster.bootstrap_servers());
    shared.learn(
        "t",
        TopicFacts {
            partitions: 1,
            max_message_bytes: Some(1000),
        },
    );
    let mut producer = KafkaProducer::connect(&shared).await.unwrap();
    let fits = producer.deliver(numbers("t", 0..500));
    let large = "x".repeat(1000);
    let oversize = producer.deliver(batch("t", &[(Some("k"), Some("7")), (Some("k"), Some(&large))]));
    let later = producer.deliver(numbers("t", 500..600));
    assert_eq!(fits.await.unwrap().records, 500);
    let error = oversize.await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "message_too_large"));
    // 1 key, 1000 value, op and txn with 6 bytes, 68 around the record and 4 around the headers
    assert!(
        error
            .to_string()
            .contains("a record of 1079 bytes, max.message.bytes is 1000"),
        "{error}"
    );
    assert!(
        error.to_string().contains("topic t") && error.to_string().contains("kafka-configs.sh"),
        "{error}"
    );
    assert_eq!(later.await.unwrap_err().code(), "message_too_large");
    assert_eq!(values(&cluster, "t"), (0..500).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_topic_with_a_smaller_limit_gets_smaller_batches() {
    let cluster = cluster("t", 1);
    cluster.create_topic("small", 1, 1).unwrap();
    let shared = shared(&cluster.bootstrap_servers());
    shared.learn(
        "t",
        TopicFacts {
            partitions: 1,
            max_message_bytes: Some(1_000_000),
        },
    );
    let mut producer = KafkaProducer::connect(&shared).await.unwrap();
    let before = producer.deliver(numbers("t", 0..1000));
    shared.learn(
        "small",
        TopicFacts {
            partitions: 1,
            max_message_bytes: Some(2000),
        },
    );
    let small = producer.deliver(numbers("small", 0..1000));
    let after = producer.deliver(numbers("t", 1000..2000));
    before.await.unwrap();
    small.await.unwrap();
    after.await.unwrap();
    assert_eq!(values(&cluster, "t"), (0..2000).collect::<Vec<_>>());
    assert_eq!(values(&cluster, "small"), (0..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_outage_becomes_an_error_with_its_reason() {
    let cluster = cluster("t", 1);
    let shared = shared(&cluster.bootstrap_servers());
    let mut producer = producer_with(&shared, &[("reconnect.backoff.max.ms", "100")], QUICK).await;
    producer.deliver(numbers("t", 0..10)).await.unwrap();
    cluster.broker_down(-1).unwrap();
    let error = producer.deliver(numbers("t", 10..20)).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Transient, "kafka_unreachable"));
    assert!(error.to_string().contains("no acknowledgement for"), "{error}");
    cluster.broker_up(-1).unwrap();
    let mut fresh = KafkaProducer::connect(&shared).await.unwrap();
    fresh.deliver(numbers("t", 10..20)).await.unwrap();
    assert_eq!(values(&cluster, "t"), (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_short_outage_costs_nothing() {
    let cluster = cluster("t", 1);
    let mut producer = producer(&cluster).await;
    producer.deliver(numbers("t", 0..10)).await.unwrap();
    cluster.broker_down(-1).unwrap();
    let second = producer.deliver(numbers("t", 10..20));
    let third = producer.deliver(numbers("t", 20..30));
    cluster.broker_up(-1).unwrap();
    second.await.unwrap();
    third.await.unwrap();
    assert_eq!(values(&cluster, "t"), (0..30).collect::<Vec<_>>());
}

#[tokio::test]
async fn dropping_ends_soon_even_when_no_broker_is_there() {
    let cluster = cluster("t", 1);
    let mut producer = producer(&cluster).await;
    producer.deliver(numbers("t", 0..10)).await.unwrap();
    cluster.broker_down(-1).unwrap();
    let open = producer.deliver(numbers("t", 10..20_000));
    let since = Instant::now();
    drop(producer);
    assert!(since.elapsed() < DROP_TIMEOUT, "{:?}", since.elapsed());
    assert_eq!(open.await.unwrap_err().kind(), Kind::Transient);
    cluster.broker_up(-1).unwrap();
    assert_eq!(values(&cluster, "t"), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_wrong_address_is_told_with_its_reason() {
    // Bound and closed again: nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let shared = shared(&address.to_string());
    let error = KafkaProducer::connect(&shared).await.err().unwrap();
    assert_eq!((error.kind(), error.code()), (Kind::Transient, "kafka_unreachable"));
    assert!(error.to_string().contains("Connection refused"), "{error}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}
