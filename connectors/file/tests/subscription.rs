//! Membership in a group of readers of the file stream.

#![cfg(test)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tailrace_core::error::Kind;
use tailrace_core::event::{EncodedBatch, EncodedRecord};
use tailrace_core::ports::sink::{Delivery, StartAt, Subscription, SubscriptionSpec};
use tailrace_core::ports::{EventStream, Producer, StartOffset};
use tailrace_core::record_batch::{RecordBatch, TopicPartition};
use tailrace_file::{FileStream, FileStreamConfig};

/// Nothing here takes so long; a test that waits longer has found a lost wake-up.
const PATIENCE: Duration = Duration::from_secs(30);
const EARLIEST: StartAt = StartAt::Unknown(StartOffset::Earliest);

fn stream(path: &Path) -> FileStream {
    FileStream::new(FileStreamConfig {
        segment_bytes: 4096,
        ..FileStreamConfig::at(path)
    })
    .unwrap()
}

async fn subscribe(stream: &FileStream, topics: &[&str]) -> tailrace_core::Result<Box<dyn Subscription>> {
    let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let group = "mirror".to_owned();
    let spec = SubscriptionSpec {
        topics,
        group,
        connector: "mirror".to_owned(),
        offsets_table: "tailrace_offsets".to_owned(),
    };
    stream.subscribe(spec).await
}

async fn start_one(
    member: &mut Box<dyn Subscription>,
    partition: &TopicPartition,
    at: StartAt,
) -> tailrace_core::Result<i64> {
    Ok(member.start(&[(partition.clone(), at)]).await?.remove(0))
}

/// One record per number, whose key is the number; every third is a tombstone.
async fn write(producer: &mut Box<dyn Producer>, topic: &str, numbers: std::ops::Range<i64>) {
    let mut batch = EncodedBatch::default();
    let topic = batch.topic_index(&Arc::from(topic));
    for number in numbers {
        let mut put = |text: &str| {
            batch.buffer.extend_from_slice(text.as_bytes());
            batch.buffer.len() - text.len()..batch.buffer.len()
        };
        let key = Some(put(&number.to_string()));
        let value = (number % 3 != 0).then(|| put(&"value ".repeat(20)));
        let operation = put("c");
        batch.headers.push(("op".into(), operation));
        let headers = batch.headers.len() - 1..batch.headers.len();
        batch.records.push(EncodedRecord {
            topic,
            key,
            value,
            headers,
            timestamp_ms: 1000 + number,
        });
    }
    producer.deliver(batch).await.unwrap();
}

async fn next(member: &mut Box<dyn Subscription>) -> Delivery {
    tokio::time::timeout(PATIENCE, member.next(100))
        .await
        .expect("nothing came")
        .unwrap()
}

async fn assigned(member: &mut Box<dyn Subscription>) -> Vec<TopicPartition> {
    match next(member).await {
        Delivery::Assigned(partitions) => partitions,
        other => panic!("{other:?}"),
    }
}

async fn records(member: &mut Box<dyn Subscription>) -> RecordBatch {
    match next(member).await {
        Delivery::Records(batch) => batch,
        other => panic!("{other:?}"),
    }
}

async fn read(member: &mut Box<dyn Subscription>, count: usize) -> Vec<(String, i64)> {
    let mut found = Vec::new();
    while found.len() < count {
        let batch = records(member).await;
        assert!(batch.len() <= 100);
        found.extend(
            batch
                .iter()
                .map(|record| (record.partition().to_string(), record.offset())),
        );
    }
    found
}

fn expected(topic: &str, offsets: std::ops::Range<i64>) -> Vec<(String, i64)> {
    offsets.map(|offset| (format!("{topic}-0"), offset)).collect()
}

#[tokio::test]
async fn records_come_back_as_they_were_delivered() {
    let root = tempfile::tempdir().unwrap();
    let stream = stream(root.path());
    let mut producer = stream.producer().await.unwrap();
    write(&mut producer, "shop.orders", 0..3).await;
    let mut member = subscribe(&stream, &["shop.orders"]).await.unwrap();
    let found = assigned(&mut member).await;
    assert_eq!(found, [TopicPartition::new("shop.orders", 0)]);
    assert_eq!(start_one(&mut member, &found[0], EARLIEST).await.unwrap(), 0);
    let batch = records(&mut member).await;
    assert_eq!(batch.len(), 3);
    let second = batch.get(1).unwrap();
    assert_eq!((second.key(), second.timestamp_ms()), (Some(&b"1"[..]), 1001));
    assert_eq!(second.value(), Some("value ".repeat(20).as_bytes()));
    assert_eq!(second.headers().collect::<Vec<_>>(), [("op", &b"c"[..])]);
    assert_eq!(batch.get(0).unwrap().value(), None);
    assert_eq!(member.ends(), [(found[0].clone(), 3)]);
}

#[tokio::test]
async fn topics_come_and_go_and_are_followed_while_they_are_there() {
    let root = tempfile::tempdir().unwrap();
    let stream = stream(root.path());
    let mut producer = stream.producer().await.unwrap();
    write(&mut producer, "shop.orders", 0..1).await;
    write(&mut producer, "other", 0..1).await;
    let mut member = subscribe(&stream, &["shop.*"]).await.unwrap();
    let orders = assigned(&mut member).await;
    assert_eq!(orders, [TopicPartition::new("shop.orders", 0)]);
    // Nothing is read before the start.
    let early = tokio::time::timeout(Duration::from_millis(100), member.next(10)).await;
    assert!(early.is_err(), "{early:?}");
    start_one(&mut member, &orders[0], EARLIEST).await.unwrap();
    assert_eq!(read(&mut member, 1).await, expected("shop.orders", 0..1));
    write(&mut producer, "shop.lines", 0..1).await;
    let lines = assigned(&mut member).await;
    assert_eq!(lines, [TopicPartition::new("shop.lines", 0)]);
    start_one(&mut member, &lines[0], EARLIEST).await.unwrap();
    write(&mut producer, "shop.orders", 1..300).await;
    let mut found = read(&mut member, 300).await;
    found.sort();
    let mut all = expected("shop.orders", 1..300);
    all.extend(expected("shop.lines", 0..1));
    all.sort();
    assert_eq!(found, all);
    std::fs::remove_dir_all(root.path().join("shop.lines")).unwrap();
    let Delivery::Lost(lost) = next(&mut member).await else {
        panic!("it is not told");
    };
    assert_eq!(lost, lines);
}

#[tokio::test]
async fn a_topic_that_was_deleted_and_made_anew_at_once_is_another_one() {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = stream(root.path());
    write(&mut first.producer().await.unwrap(), "orders", 0..5).await;
    let second = stream(other.path());
    write(&mut second.producer().await.unwrap(), "orders", 0..2).await;
    let mut member = subscribe(&first, &["orders"]).await.unwrap();
    let orders = assigned(&mut member).await;
    start_one(&mut member, &orders[0], EARLIEST).await.unwrap();
    assert_eq!(read(&mut member, 5).await, expected("orders", 0..5));
    std::fs::remove_dir_all(root.path().join("orders")).unwrap();
    std::fs::rename(other.path().join("orders"), root.path().join("orders")).unwrap();
    let Delivery::Lost(lost) = next(&mut member).await else {
        panic!("it is not told");
    };
    assert_eq!(lost, orders);
    assert_eq!(assigned(&mut member).await, orders);
    start_one(&mut member, &orders[0], EARLIEST).await.unwrap();
    assert_eq!(read(&mut member, 2).await, expected("orders", 0..2));
}

#[tokio::test]
async fn a_partition_can_be_started_anywhere_that_is_there() {
    let root = tempfile::tempdir().unwrap();
    let stream = stream(root.path());
    let mut producer = stream.producer().await.unwrap();
    for first in (0..200).step_by(20) {
        write(&mut producer, "orders", first..first + 20).await;
    }
    let mut member = subscribe(&stream, &["orders"]).await.unwrap();
    let orders = assigned(&mut member).await.remove(0);
    for at in [150, 0, 77, 150] {
        assert_eq!(start_one(&mut member, &orders, StartAt::Offset(at)).await.unwrap(), at);
        let first = member.next(1).await.unwrap();
        let Delivery::Records(batch) = first else {
            panic!("{first:?}")
        };
        assert_eq!(batch.iter().map(|record| record.offset()).collect::<Vec<_>>(), [at]);
    }
    let latest = StartAt::Unknown(StartOffset::Latest);
    assert_eq!(start_one(&mut member, &orders, latest).await.unwrap(), 200);
    assert_eq!(
        start_one(&mut member, &orders, StartAt::Offset(200)).await.unwrap(),
        200
    );
    let error = start_one(&mut member, &orders, StartAt::Offset(201)).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "topic_rewound"));
    assert!(error.to_string().contains("ends at offset 200"), "{error}");
    // What was refused moved nothing.
    write(&mut producer, "orders", 200..201).await;
    assert_eq!(read(&mut member, 1).await, expected("orders", 200..201));

    let folder = root.path().join("orders").join("00000");
    let mut segments: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    segments.sort();
    assert!(segments.len() > 2, "{segments:?}");
    std::fs::remove_file(&segments[0]).unwrap();
    let error = start_one(&mut member, &orders, StartAt::Offset(0)).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "offset_out_of_range"));
    let first: i64 = segments[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    assert!(
        error.to_string().contains(&format!("begins at offset {first}")),
        "{error}"
    );
    let remedy = format!(
        "UPDATE tailrace_offsets SET next_offset = {first} WHERE connector = 'mirror' AND topic = 'orders' AND topic_partition = 0"
    );
    assert!(error.to_string().ends_with(&remedy), "{error}");
    // The record before the next one may be gone; not the next one.
    for (next, at) in [(first, first), (first + 1, first)] {
        assert_eq!(
            start_one(&mut member, &orders, StartAt::Before(next)).await.unwrap(),
            at
        );
    }
    let error = start_one(&mut member, &orders, StartAt::Before(first - 1))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "offset_out_of_range");
    assert_eq!(start_one(&mut member, &orders, EARLIEST).await.unwrap(), first);
}

/// Whoever is behind the damage is not told that the topic was made anew, and to give up what it knows: nothing is lost yet.
#[tokio::test]
async fn damage_is_not_the_end_of_a_topic_and_a_torn_tail_is() {
    let root = tempfile::tempdir().unwrap();
    let stream = stream(root.path());
    write(&mut stream.producer().await.unwrap(), "orders", 0..10).await;
    let mut member = subscribe(&stream, &["orders"]).await.unwrap();
    let orders = assigned(&mut member).await.remove(0);
    let segment = root.path().join("orders/00000/00000000000000000000.log");
    let whole = std::fs::read(&segment).unwrap();
    let header_bytes = 28;
    for at in [20, header_bytes + 5, header_bytes + (whole.len() - header_bytes) / 2] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        std::fs::write(&segment, &flipped).unwrap();
        for start in [StartAt::Offset(9), StartAt::Unknown(StartOffset::Latest)] {
            let error = start_one(&mut member, &orders, start).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.code()),
                (Kind::Definite, "stream_corrupt"),
                "{at}: {error}"
            );
            assert!(error.to_string().contains(segment.to_str().unwrap()), "{error}");
        }
    }
    std::fs::write(&segment, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(start_one(&mut member, &orders, StartAt::Offset(9)).await.unwrap(), 9);
    let error = start_one(&mut member, &orders, StartAt::Offset(10)).await.unwrap_err();
    assert_eq!(error.code(), "topic_rewound");
    assert!(error.to_string().contains("ends at offset 9"), "{error}");
}

#[tokio::test]
async fn a_group_has_one_member_and_keeps_its_offsets() {
    let root = tempfile::tempdir().unwrap();
    let stream = stream(root.path());
    let mut producer = stream.producer().await.unwrap();
    write(&mut producer, "orders", 0..5).await;
    let mut member = subscribe(&stream, &["orders"]).await.unwrap();
    let error = subscribe(&stream, &["orders"]).await.map(drop).unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "stream_group_in_use"));
    member.commit(&[(TopicPartition::new("orders", 0), 4)]).await.unwrap();
    drop(member);
    let stored = std::fs::read_to_string(root.path().join("consumers").join("mirror.json")).unwrap();
    assert!(stored.contains("\"orders\":4"), "{stored}");
    subscribe(&stream, &["orders"]).await.unwrap();
}
