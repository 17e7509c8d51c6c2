//! The file stream from outside: what it keeps, what it cuts off, and what it refuses.

#![cfg(test)]

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tailrace_core::check::Severity;
use tailrace_core::error::Kind;
use tailrace_core::event::{EncodedBatch, EncodedRecord, StreamRecord};
use tailrace_core::ports::{Consumer, ConsumerSpec, EventStream, Producer, StartOffset, TopicSpec};
use tailrace_file::{FileStream, FileStreamConfig, FsyncPolicy};

/// Set in a child process of a test; holds the folder of the stream it writes to.
const CHILD: &str = "TAILRACE_FILE_TEST_CHILD";
/// Nothing here takes so long; a test that waits longer has found a lost wake-up.
const PATIENCE: Duration = Duration::from_secs(30);
const NOW: Duration = Duration::ZERO;

fn stream(path: &Path) -> FileStream {
    FileStream::new(FileStreamConfig::at(path)).unwrap()
}

fn small_segments(path: &Path) -> FileStream {
    FileStream::new(FileStreamConfig {
        segment_bytes: 4096,
        ..FileStreamConfig::at(path)
    })
    .unwrap()
}

/// One record per number, whose key is the number.
fn batch(topics: &[&str], numbers: std::ops::Range<u64>) -> EncodedBatch {
    let mut batch = EncodedBatch::default();
    for number in numbers {
        for name in topics {
            let topic = batch.topic_index(&Arc::from(*name));
            let mut put = |text: &str| {
                batch.buffer.extend_from_slice(text.as_bytes());
                batch.buffer.len() - text.len()..batch.buffer.len()
            };
            let key = Some(put(&number.to_string()));
            let value = (number % 7 != 3).then(|| put(&"value ".repeat(20)));
            let operation = put("c");
            batch.headers.push(("op".into(), operation));
            let headers = batch.headers.len() - 1..batch.headers.len();
            batch.records.push(EncodedRecord {
                topic,
                key,
                value,
                headers,
                timestamp_ms: 1000 + number.cast_signed(),
            });
        }
    }
    batch
}

fn number(record: &StreamRecord) -> u64 {
    std::str::from_utf8(record.key.as_ref().unwrap())
        .unwrap()
        .parse()
        .unwrap()
}

fn numbers(records: &[StreamRecord]) -> Vec<u64> {
    records.iter().map(number).collect()
}

fn offsets(records: &[StreamRecord]) -> Vec<i64> {
    records.iter().map(|record| record.offset).collect()
}

fn spec(topics: &[&str], group: Option<&str>) -> ConsumerSpec {
    ConsumerSpec {
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        group: group.map(str::to_owned),
        start: StartOffset::Earliest,
    }
}

async fn deliver(producer: &mut Box<dyn Producer>, topics: &[&str], range: std::ops::Range<u64>) {
    producer.deliver(batch(topics, range)).await.unwrap();
}

/// Everything that is there now.
async fn drain(consumer: &mut Box<dyn Consumer>) -> tailrace_core::Result<Vec<StreamRecord>> {
    let mut all = Vec::new();
    loop {
        let records = consumer.poll(1000, NOW).await?;
        if records.is_empty() {
            return Ok(all);
        }
        all.extend(records);
    }
}

async fn read_all(stream: &FileStream, topic: &str) -> tailrace_core::Result<Vec<StreamRecord>> {
    drain(&mut stream.consumer(spec(&[topic], None)).await?).await
}

fn segments(root: &Path, topic: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join(topic).join("00000")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[tokio::test]
async fn records_come_back_as_they_were_delivered() {
    let root = tempfile::tempdir().unwrap();
    let stream = stream(root.path());
    let mut producer = stream.producer().await.unwrap();
    let receipt = producer.deliver(batch(&["shop.orders"], 0..10)).await.unwrap();
    assert_eq!(receipt.records, 10);
    let records = read_all(&stream, "shop.orders").await.unwrap();
    assert_eq!(numbers(&records), (0..10).collect::<Vec<_>>());
    assert_eq!(offsets(&records), (0..10).collect::<Vec<_>>());
    assert_eq!(records[3].value, None);
    assert_eq!(records[4].value.as_deref(), Some("value ".repeat(20).as_bytes()));
    assert_eq!(
        (records[4].header("op"), records[4].timestamp_ms, records[4].partition),
        (Some("c"), 1004, 0)
    );
    assert_eq!(&*records[4].topic, "shop.orders");
}

#[tokio::test]
async fn many_batches_at_once_stay_in_order() {
    let root = tempfile::tempdir().unwrap();
    let stream = small_segments(root.path());
    let mut producer = stream.producer().await.unwrap();
    let outcomes: Vec<_> = (0..100)
        .map(|turn| producer.deliver(batch(&["a", "b"], turn * 10..turn * 10 + 10)))
        .collect();
    for outcome in outcomes {
        assert_eq!(outcome.await.unwrap().records, 20);
    }
    for topic in ["a", "b"] {
        let records = read_all(&stream, topic).await.unwrap();
        assert_eq!(numbers(&records), (0..1000).collect::<Vec<_>>());
        assert_eq!(offsets(&records), (0..1000).collect::<Vec<_>>());
    }
    assert_eq!(stream.topics().await.unwrap(), ["a", "b"]);
}

#[tokio::test]
async fn a_new_producer_goes_on_where_the_last_ended() {
    let root = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let stream = small_segments(root.path());
        let mut producer = stream.producer().await.unwrap();
        deliver(&mut producer, &["orders"], round * 30..round * 30 + 30).await;
    }
    let records = read_all(&stream(root.path()), "orders").await.unwrap();
    assert_eq!(offsets(&records), (0..120).collect::<Vec<_>>());
    assert_eq!(numbers(&records), (0..120).collect::<Vec<_>>());
    assert!(segments(root.path(), "orders").len() > 1);
}

#[tokio::test]
async fn an_outcome_that_nobody_waits_for_is_written_all_the_same() {
    let root = tempfile::tempdir().unwrap();
    let stream = stream(root.path());
    let mut producer = stream.producer().await.unwrap();
    drop(producer.deliver(batch(&["orders"], 0..3)));
    deliver(&mut producer, &["orders"], 3..5).await;
    assert_eq!(numbers(&read_all(&stream, "orders").await.unwrap()), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn consumers_do_not_disturb_each_other_and_offsets_survive() {
    let root = tempfile::tempdir().unwrap();
    let stream = small_segments(root.path());
    let mut producer = stream.producer().await.unwrap();
    deliver(&mut producer, &["a", "b"], 0..100).await;
    let mut desk = stream.consumer(spec(&["a", "b"], Some("desk"))).await.unwrap();
    let mut audit = stream.consumer(spec(&["a"], Some("audit"))).await.unwrap();
    assert_eq!(desk.poll(30, NOW).await.unwrap().len(), 30);
    desk.commit().await.unwrap();
    assert_eq!(desk.poll(50, NOW).await.unwrap().len(), 50);
    assert_eq!(numbers(&audit.poll(5, NOW).await.unwrap()), [0, 1, 2, 3, 4]);
    audit.commit().await.unwrap();
    assert_eq!(
        stream.consumer(spec(&["a"], Some("desk"))).await.err().unwrap().code(),
        "stream_group_in_use"
    );
    drop((desk, audit));

    // What was polled after the last commit comes again; nothing is missing.
    let mut desk = stream.consumer(spec(&["a", "b"], Some("desk"))).await.unwrap();
    let rest = drain(&mut desk).await.unwrap();
    assert_eq!(rest.len(), 170);
    desk.commit().await.unwrap();
    drop(desk);
    // A topic that this consumer does not read keeps its offset.
    let mut only_a = stream.consumer(spec(&["a"], Some("desk"))).await.unwrap();
    only_a.commit().await.unwrap();
    drop(only_a);
    let mut desk = stream.consumer(spec(&["a", "b"], Some("desk"))).await.unwrap();
    assert_eq!(drain(&mut desk).await.unwrap(), []);
    let mut audit = stream.consumer(spec(&["a"], Some("audit"))).await.unwrap();
    assert_eq!(numbers(&drain(&mut audit).await.unwrap())[0], 5);
}

#[tokio::test]
async fn a_waiting_consumer_sees_what_comes() {
    let root = tempfile::tempdir().unwrap();
    let stream = stream(root.path());
    // The topic is not even there yet.
    let mut consumer = stream.consumer(spec(&["orders"], None)).await.unwrap();
    assert_eq!(consumer.poll(10, NOW).await.unwrap(), []);
    let mut producer = stream.producer().await.unwrap();
    let (polled, delivered) = tokio::join!(consumer.poll(10, PATIENCE), producer.deliver(batch(&["orders"], 0..2)));
    delivered.unwrap();
    assert_eq!(numbers(&polled.unwrap()), [0, 1]);
    let latest = ConsumerSpec {
        start: StartOffset::Latest,
        ..spec(&["orders"], None)
    };
    let mut latest = stream.consumer(latest).await.unwrap();
    assert_eq!(latest.poll(10, NOW).await.unwrap(), []);
    deliver(&mut producer, &["orders"], 2..4).await;
    assert_eq!(numbers(&latest.poll(10, PATIENCE).await.unwrap()), [2, 3]);
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_wherever_it_is_torn() {
    let root = tempfile::tempdir().unwrap();
    let written = stream(root.path());
    deliver(&mut written.producer().await.unwrap(), &["orders"], 0..3).await;
    drop(written);
    let segment = segments(root.path(), "orders").pop().unwrap();
    let whole = fs::read(&segment).unwrap();
    for (length, garbage) in (0..whole.len()).flat_map(|length| [(length, 0), (length, 40)]) {
        let mut torn = whole[..length].to_vec();
        torn.resize(length + garbage, 0);
        fs::write(&segment, &torn).unwrap();
        if length < 28 && garbage > 0 {
            continue;
        }
        let again = stream(root.path());
        // A reader waits at what is torn; it does not fail and it does not invent.
        let before = read_all(&again, "orders").await.unwrap();
        deliver(&mut again.producer().await.unwrap(), &["orders"], 100..102).await;
        let after = read_all(&again, "orders").await.unwrap();
        assert_eq!(before, after[..before.len()], "{length}");
        assert_eq!(numbers(&after)[before.len()..], [100, 101], "{length}");
        assert_eq!(
            offsets(&after),
            (0..i64::try_from(after.len()).unwrap()).collect::<Vec<_>>(),
            "{length}"
        );
    }
}

#[tokio::test]
async fn a_flipped_bit_is_never_read_and_never_skipped() {
    let root = tempfile::tempdir().unwrap();
    let written = stream(root.path());
    deliver(&mut written.producer().await.unwrap(), &["orders"], 0..4).await;
    let expected = read_all(&written, "orders").await.unwrap();
    drop(written);
    let segment = segments(root.path(), "orders").pop().unwrap();
    let whole = fs::read(&segment).unwrap();
    let mut refused = 0;
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&segment, &flipped).unwrap();
        let stream = stream(root.path());
        let read = match stream.consumer(spec(&["orders"], None)).await {
            Ok(mut consumer) => drain(&mut consumer).await,
            Err(error) => Err(error),
        };
        let mut producer = stream.producer().await.unwrap();
        match (read, producer.deliver(batch(&["orders"], 9..10)).await) {
            // The last record: nothing whole follows it, it may have been torn.
            (Ok(records), Ok(_)) => assert_eq!(records, expected[..3], "{at}"),
            (Err(reading), Err(writing)) => {
                for error in [&reading, &writing] {
                    assert_eq!(
                        (error.kind(), error.code()),
                        (Kind::Definite, "stream_corrupt"),
                        "{at}: {error}"
                    );
                    assert!(error.to_string().contains("00000000000000000000.log"), "{error}");
                }
                assert_eq!(fs::read(&segment).unwrap(), flipped);
                refused += 1;
            }
            (read, written) => panic!("byte {at}: {read:?} {written:?}"),
        }
    }
    assert!(refused > whole.len() / 2);
}

#[tokio::test]
async fn damage_in_a_sealed_segment_is_named() {
    let root = tempfile::tempdir().unwrap();
    let stream = small_segments(root.path());
    let mut producer = stream.producer().await.unwrap();
    for turn in 0..10 {
        deliver(&mut producer, &["orders"], turn * 10..turn * 10 + 10).await;
    }
    let sealed = segments(root.path(), "orders")[1].clone();
    let length = fs::metadata(&sealed).unwrap().len();
    // Even a cut at its very end: a sealed segment has no torn tail.
    for cut in [length - 1, length / 2] {
        OpenOptions::new()
            .write(true)
            .open(&sealed)
            .unwrap()
            .set_len(cut)
            .unwrap();
        let error = read_all(&stream, "orders").await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Definite, "stream_corrupt"));
        assert!(error.to_string().contains(sealed.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn a_missing_segment_is_a_gap_and_not_skipped() {
    let root = tempfile::tempdir().unwrap();
    let stream = small_segments(root.path());
    let mut producer = stream.producer().await.unwrap();
    for turn in 0..10 {
        deliver(&mut producer, &["orders"], turn * 10..turn * 10 + 10).await;
    }
    fs::remove_file(&segments(root.path(), "orders")[1]).unwrap();
    let mut consumer = stream.consumer(spec(&["orders"], None)).await.unwrap();
    let error = drain(&mut consumer).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "offset_out_of_range"));
}

#[tokio::test]
async fn retention_deletes_whole_segments_and_tells_who_needed_them() {
    let root = tempfile::tempdir().unwrap();
    let config = FileStreamConfig {
        retention_bytes: Some(10_000),
        ..FileStreamConfig::at(root.path())
    };
    let stream = FileStream::new(FileStreamConfig {
        segment_bytes: 4096,
        ..config
    })
    .unwrap();
    let mut producer = stream.producer().await.unwrap();
    deliver(&mut producer, &["orders"], 0..10).await;
    let mut slow = stream.consumer(spec(&["orders"], Some("slow"))).await.unwrap();
    slow.poll(5, NOW).await.unwrap();
    slow.commit().await.unwrap();
    drop(slow);
    for turn in 1..30 {
        deliver(&mut producer, &["orders"], turn * 10..turn * 10 + 10).await;
    }
    let bytes: u64 = segments(root.path(), "orders")
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert!((10_000..20_000).contains(&bytes), "{bytes}");
    let records = read_all(&stream, "orders").await.unwrap();
    let kept = numbers(&records);
    assert!(kept[0] > 5 && kept[0].is_multiple_of(10), "{}", kept[0]);
    assert_eq!(kept, (kept[0]..300).collect::<Vec<_>>());

    let mut slow = stream.consumer(spec(&["orders"], Some("slow"))).await.unwrap();
    let error = slow.poll(5, NOW).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "offset_out_of_range"));
    assert!(error.to_string().contains(&format!("offset {}", kept[0])), "{error}");
}

#[tokio::test]
async fn offsets_that_a_group_has_stored_are_never_given_again() {
    let root = tempfile::tempdir().unwrap();
    let lost = stream(root.path());
    deliver(&mut lost.producer().await.unwrap(), &["orders"], 0..10).await;
    let mut consumer = lost.consumer(spec(&["orders"], Some("desk"))).await.unwrap();
    assert_eq!(drain(&mut consumer).await.unwrap().len(), 10);
    consumer.commit().await.unwrap();
    drop((lost, consumer));
    // A power cut took the end of the log, which was not synced, and left the stored offsets.
    let segment = segments(root.path(), "orders").pop().unwrap();
    OpenOptions::new()
        .write(true)
        .open(&segment)
        .unwrap()
        .set_len(700)
        .unwrap();

    let again = stream(root.path());
    deliver(&mut again.producer().await.unwrap(), &["orders"], 5..12).await;
    let mut consumer = again.consumer(spec(&["orders"], Some("desk"))).await.unwrap();
    let seen = drain(&mut consumer).await.unwrap();
    assert_eq!(numbers(&seen), [5, 6, 7, 8, 9, 10, 11]);
    assert_eq!(offsets(&seen), [10, 11, 12, 13, 14, 15, 16]);
    // Whoever begins at the beginning crosses the gap.
    let all = read_all(&again, "orders").await.unwrap();
    assert_eq!(numbers(&all).last(), Some(&11));
}

#[tokio::test]
async fn a_second_writer_is_told_who_writes() {
    let root = tempfile::tempdir().unwrap();
    let first = stream(root.path());
    let producer = first.producer().await.unwrap();
    // Another producer of the same stream shares the lock.
    first.producer().await.unwrap();
    let second = stream(root.path());
    let error = second.producer().await.err().unwrap();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "stream_locked"));
    assert!(error.to_string().contains("this process"), "{error}");
    drop((producer, first));
    second.producer().await.unwrap();
}

#[tokio::test]
async fn damage_in_one_topic_stops_only_who_writes_to_it() {
    let root = tempfile::tempdir().unwrap();
    let broken = stream(root.path());
    deliver(&mut broken.producer().await.unwrap(), &["bad"], 0..4).await;
    drop(broken);
    let segment = segments(root.path(), "bad").pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[60] ^= 1;
    fs::write(&segment, bytes).unwrap();

    let stream = stream(root.path());
    let (mut bad, mut good) = (stream.producer().await.unwrap(), stream.producer().await.unwrap());
    let mut outcomes = Vec::new();
    for turn in 0..20 {
        outcomes.push((
            bad.deliver(batch(&["good", "bad"], turn..turn + 1)),
            good.deliver(batch(&["good"], turn..turn + 1)),
        ));
    }
    let mut codes = Vec::new();
    for (bad, good) in outcomes {
        codes.push(bad.await.unwrap_err().code());
        good.await.unwrap();
    }
    assert_eq!(codes[0], "stream_corrupt");
    assert!(codes[1..].iter().all(|code| *code == "stream_unwritable"));
    assert_eq!(
        numbers(&read_all(&stream, "good").await.unwrap()),
        (0..20).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn every_fsync_policy_delivers() {
    for fsync in [FsyncPolicy::Always, FsyncPolicy::Interval, FsyncPolicy::Never] {
        let root = tempfile::tempdir().unwrap();
        let config = FileStreamConfig {
            fsync,
            fsync_interval_ms: 1,
            segment_bytes: 4096,
            ..FileStreamConfig::at(root.path())
        };
        let stream = FileStream::new(config).unwrap();
        let mut producer = stream.producer().await.unwrap();
        for turn in 0..20 {
            deliver(&mut producer, &["orders"], turn * 5..turn * 5 + 5).await;
        }
        assert_eq!(
            numbers(&read_all(&stream, "orders").await.unwrap()),
            (0..100).collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn names_of_topics_may_be_anything() {
    let root = tempfile::tempdir().unwrap();
    let stream = stream(root.path());
    let names = ["../escape", "consumers", "größe", "a b", "a%20b", "Orders", "orders"];
    let mut producer = stream.producer().await.unwrap();
    for (index, name) in (0..).zip(names) {
        stream
            .ensure_topic(&TopicSpec {
                name: name.into(),
                keyed: true,
            })
            .await
            .unwrap();
        deliver(&mut producer, &[name], index..index + 1).await;
    }
    for (index, name) in (0..).zip(names) {
        assert_eq!(numbers(&read_all(&stream, name).await.unwrap()), [index], "{name}");
    }
    let mut sorted = names.map(str::to_owned);
    sorted.sort();
    assert_eq!(stream.topics().await.unwrap(), sorted);
    assert!(!root.path().parent().unwrap().join("escape").exists());
    let too_long = TopicSpec {
        name: "x".repeat(300).into(),
        keyed: true,
    };
    assert_eq!(
        stream.ensure_topic(&too_long).await.unwrap_err().code(),
        "topic_name_invalid"
    );
}

#[tokio::test]
async fn preflight_finds_everything_and_creates_nothing() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("not/yet/there");
    assert_eq!(stream(&path).check(&[]).await, []);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);

    let file = root.path().join("file");
    fs::write(&file, b"x").unwrap();
    let too_long = TopicSpec {
        name: "x".repeat(300).into(),
        keyed: true,
    };
    let huge = FileStreamConfig {
        segment_bytes: 1 << 60,
        ..FileStreamConfig::at(file.join("stream"))
    };
    let findings = FileStream::new(huge).unwrap().check(&[too_long]).await;
    let codes: Vec<_> = findings
        .iter()
        .map(|finding| (finding.severity, finding.code))
        .collect();
    let expected = [
        (Severity::Blocks, "topic_name_invalid"),
        (Severity::Blocks, "stream_unwritable"),
        (Severity::Warning, "stream_disk_low"),
    ];
    assert_eq!(codes, expected);
    let error = stream(&file.join("stream")).producer().await.err().unwrap();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "stream_unwritable"));

    // Our own writer does not stand in our way.
    let running = stream(&path);
    let _producer = running.producer().await.unwrap();
    assert_eq!(running.check(&[]).await, []);
    assert_eq!(running.held_by(), None);
}

/// Delivers batches until it is killed, and prints how many records are durable.
async fn write_until_killed(root: &Path) {
    let stream = small_segments(root);
    let mut producer = stream.producer().await.unwrap();
    for turn in 0.. {
        deliver(&mut producer, &["orders", "customers"], turn * 7..turn * 7 + 7).await;
        let mut output = std::io::stdout();
        writeln!(output, "durable {}", turn * 7 + 7).unwrap();
        output.flush().unwrap();
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_was_durable() {
    if let Ok(root) = std::env::var(CHILD) {
        return write_until_killed(Path::new(&root)).await;
    }
    let root = tempfile::tempdir().unwrap();
    let reading = stream(root.path());
    for round in 1..=5_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child
            .args([
                "--exact",
                "a_killed_process_loses_nothing_that_was_durable",
                "--nocapture",
            ])
            .env(CHILD, root.path());
        let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
        // Held until the end: a closed pipe would end the child before it is killed.
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let told = lines
            .by_ref()
            .filter_map(|line| line.strip_prefix("durable ")?.parse::<u64>().ok());
        let durable = told.take(usize::try_from(round * 3).unwrap()).last().unwrap();
        // While it is written by another process, nothing but whole records is seen.
        let alive = read_all(&reading, "orders").await.unwrap();
        let refused = reading.producer().await.err().unwrap();
        assert!(
            refused.to_string().contains(&format!("process {}", child.id())),
            "{refused}"
        );
        child.kill().unwrap();
        child.wait().unwrap();
        drop(lines);
        for topic in ["orders", "customers"] {
            let records = read_all(&reading, topic).await.unwrap();
            let own = numbers(&records);
            let last_round = own.iter().rposition(|number| *number == 0).unwrap();
            let kept = &own[last_round..];
            assert_eq!(kept, (0..u64::try_from(kept.len()).unwrap()).collect::<Vec<_>>());
            assert!(
                kept.len() >= usize::try_from(durable).unwrap(),
                "{} {durable}",
                kept.len()
            );
            assert_eq!(
                offsets(&records),
                (0..i64::try_from(records.len()).unwrap()).collect::<Vec<_>>()
            );
            if topic == "orders" {
                assert_eq!(alive, records[..alive.len()]);
            }
        }
    }
}

/// Delivers until a write fails, under a limit on the size of files, and then again with a new producer.
async fn write_until_full(root: &Path) {
    let stream = stream(root);
    let mut delivered = Vec::new();
    for attempt in 0..3 {
        let mut producer = stream.producer().await.unwrap();
        let mut outcomes = Vec::new();
        for turn in 0..200 {
            let first = attempt * 10_000 + turn * 10;
            outcomes.push((first, producer.deliver(batch(&["other", "orders"], first..first + 10))));
        }
        let mut failed = false;
        for (first, outcome) in outcomes {
            match outcome.await {
                Ok(_) => {
                    assert!(!failed, "{first} overtook a batch that failed");
                    delivered.extend(first..first + 10);
                }
                Err(error) => {
                    assert_eq!((error.kind(), error.code()), (Kind::Transient, "stream_unwritable"));
                    failed = true;
                }
            }
        }
        assert!(failed, "the limit was never met");
    }
    let text: Vec<String> = delivered.iter().map(u64::to_string).collect();
    fs::write(root.join("delivered"), text.join("\n")).unwrap();
}

#[tokio::test]
async fn a_full_disk_leaves_whole_batches_and_nothing_overtakes() {
    if let Ok(root) = std::env::var(CHILD) {
        return write_until_full(Path::new(&root)).await;
    }
    let root = tempfile::tempdir().unwrap();
    // A write beyond the limit is cut short and then fails, as on a full disk.
    let limited =
        "trap '' XFSZ; ulimit -f 100; exec \"$0\" --exact a_full_disk_leaves_whole_batches_and_nothing_overtakes";
    let mut child = Command::new("sh");
    let output = child
        .args(["-c", limited])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, root.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let delivered: Vec<u64> = fs::read_to_string(root.path().join("delivered"))
        .unwrap()
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    let again = stream(root.path());
    deliver(
        &mut again.producer().await.unwrap(),
        &["other", "orders"],
        90_000..90_001,
    )
    .await;
    for topic in ["other", "orders"] {
        let records = read_all(&again, topic).await.unwrap();
        let mut expected = delivered.clone();
        expected.push(90_000);
        assert_eq!(numbers(&records), expected, "{topic}");
        // Offsets of what was taken back are gone.
        let offsets = offsets(&records);
        assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(
            offsets.last()
                > offsets
                    .len()
                    .checked_sub(1)
                    .map(|last| i64::try_from(last).unwrap())
                    .as_ref()
        );
    }
}
