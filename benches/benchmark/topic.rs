//! Looking at topics from outside, as any consumer could: how far they are, and what is in them.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tailrace_tests::servers::{Result, ServerError};

use crate::failed;
use crate::measurement::Found;

/// How often the end of a topic is asked for until there is a first record: the error of "time to first event".
const FIRST_INTERVAL: Duration = Duration::from_millis(10);

/// And afterwards, where it only is the error of a duration of seconds.
const INTERVAL: Duration = Duration::from_millis(50);

/// Nothing for so long means that nothing will come: decoding of one transaction of millions of rows takes some seconds.
const IDLE: Duration = Duration::from_secs(120);

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A topic that is read to its end has this long to give its next record.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// When records came to be in a topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrivals {
    pub(crate) first: Option<Instant>,
    /// Records that were there when the first were noticed.
    pub(crate) first_count: u64,
    pub(crate) last: Instant,
    pub(crate) count: u64,
}

/// When a topic has been watched for long enough.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until {
    /// As soon as it holds so many records.
    pub(crate) records: u64,
    /// So long after the first, however many there are.
    pub(crate) after_first: Duration,
    /// When nothing at all came in so long, which is an error.
    pub(crate) idle: Duration,
}

/// Keys that were seen, of a range that begins at 1.
pub(crate) struct Seen {
    bits: Vec<u64>,
    expected: u64,
    pub(crate) found: Found,
}

// === impl Arrivals ===

impl Arrivals {
    pub(crate) fn none() -> Arrivals {
        Arrivals {
            first: None,
            first_count: 0,
            last: Instant::now(),
            count: 0,
        }
    }

    /// So many are there now.
    pub(crate) fn notice(&mut self, count: u64, now: Instant) {
        if count <= self.count {
            return;
        }
        if self.first.is_none() {
            (self.first, self.first_count) = (Some(now), count);
        }
        (self.count, self.last) = (count, now);
    }
}

// === impl Until ===

impl Until {
    /// All of so many records.
    pub(crate) fn all(records: u64) -> Until {
        Until {
            records,
            after_first: Duration::MAX,
            idle: IDLE,
        }
    }
}

/// Watches a topic of one partition from a thread of its own, so that nothing that the caller does delays a look.
pub(crate) fn watch(bootstrap: &str, topic: &str, until: Until) -> Result<mpsc::Receiver<Result<Arrivals>>> {
    let (sender, receiver) = mpsc::channel();
    let (consumer, topic) = (consumer(bootstrap)?, topic.to_owned());
    std::thread::spawn(move || {
        // Nobody listens any more when the measurement was given up.
        drop(sender.send(arrivals(&consumer, &topic, until)));
    });
    Ok(receiver)
}

fn arrivals(consumer: &BaseConsumer, topic: &str, until: Until) -> Result<Arrivals> {
    let mut seen = Arrivals::none();
    loop {
        let count = end_of(consumer, topic)?;
        let now = Instant::now();
        seen.notice(count, now);
        let long_enough = seen
            .first
            .is_some_and(|first| now.duration_since(first) >= until.after_first);
        if seen.count >= until.records || long_enough {
            return Ok(seen);
        }
        if now.duration_since(seen.last) >= until.idle {
            return Err(ServerError::new(format!(
                "{topic} holds {} of {} records and none came for {:?}",
                seen.count, until.records, until.idle
            )));
        }
        std::thread::sleep(if seen.first.is_none() { FIRST_INTERVAL } else { INTERVAL });
    }
}

/// Records in a topic of one partition, from which nothing was deleted.
pub(crate) fn end_of(consumer: &BaseConsumer, topic: &str) -> Result<u64> {
    let (_, end) = consumer
        .fetch_watermarks(topic, 0, REQUEST_TIMEOUT)
        .map_err(failed(format!("asking for the end of {topic}")))?;
    Ok(u64::try_from(end).unwrap_or(0))
}

/// A consumer that is told where to read, and reads whatever is there at once.
pub(crate) fn consumer(bootstrap: &str) -> Result<BaseConsumer> {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "benchmark")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "100")
        .set("socket.nagle.disable", "true")
        .create()
        .map_err(failed("making a consumer"))
}

/// Reads a topic of one partition from its beginning.
pub(crate) fn read_from_beginning(consumer: &BaseConsumer, topic: &str) -> Result<()> {
    let mut assignment = TopicPartitionList::new();
    assignment
        .add_partition_offset(topic, 0, Offset::Beginning)
        .map_err(failed("preparing to read"))?;
    consumer.assign(&assignment).map_err(failed("preparing to read"))
}

/// Reads `records` records and tells which of the keys 1 to `expected` are among them.
pub(crate) fn find(bootstrap: &str, topic: &str, records: u64, expected: u64) -> Result<Found> {
    let consumer = consumer(bootstrap)?;
    read_from_beginning(&consumer, topic)?;
    let mut seen = Seen::new(expected);
    while seen.found.records < records {
        let message = consumer
            .poll(READ_TIMEOUT)
            .ok_or_else(|| ServerError::new(format!("{topic} gave {} of {records} records", seen.found.records)))?;
        let message = message.map_err(failed(format!("reading {topic}")))?;
        seen.add_message(&message);
    }
    Ok(seen.finish())
}

/// Bytes of key, value and headers.
fn record_bytes(message: &BorrowedMessage<'_>) -> usize {
    let headers = message.headers().map_or(0, |headers| {
        let sizes = headers
            .iter()
            .map(|header| header.key.len() + header.value.map_or(0, <[u8]>::len));
        sizes.sum::<usize>()
    });
    message.key().map_or(0, <[u8]>::len) + message.payload().map_or(0, <[u8]>::len) + headers
}

/// Produces records of the usual size, with the keys 1 to `records`.
pub(crate) fn fill(bootstrap: &str, topic: &str, records: u64) -> Result<()> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .create()
        .map_err(failed("making a producer"))?;
    for number in 1..=records {
        let key = format!("{{\"id\":{number}}}");
        let value = format!("{number:0250}");
        let mut record = BaseRecord::to(topic).key(&key).payload(&value);
        while let Err((error, back)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(failed("warming the broker up")(error));
            }
            record = back;
            producer.poll(INTERVAL);
        }
    }
    producer.flush(READ_TIMEOUT).map_err(failed("warming the broker up"))
}

/// The digits of `{"id":123}`.
pub(crate) fn number_in(key: &[u8]) -> u64 {
    let digits = key
        .iter()
        .skip_while(|byte| !byte.is_ascii_digit())
        .take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: u64, digit| {
        number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
    })
}

// === impl Seen ===

impl Seen {
    pub(crate) fn new(expected: u64) -> Seen {
        let words = usize::try_from(expected / 64 + 1).unwrap_or(usize::MAX);
        Seen {
            bits: vec![0; words],
            expected,
            found: Found::default(),
        }
    }

    /// Notes a record of Kafka, as [`Seen::add`] does.
    pub(crate) fn add_message(&mut self, message: &BorrowedMessage<'_>) -> bool {
        self.add(number_in(message.key().unwrap_or_default()), record_bytes(message))
    }

    /// Notes a record; tells whether its key is new.
    pub(crate) fn add(&mut self, number: u64, bytes: usize) -> bool {
        self.found.records += 1;
        self.found.bytes += bytes as u64;
        let word = usize::try_from(number / 64)
            .ok()
            .and_then(|index| self.bits.get_mut(index));
        let bit = 1_u64 << (number % 64);
        match word {
            Some(word) if *word & bit == 0 && (1..=self.expected).contains(&number) => {
                *word |= bit;
                self.found.distinct += 1;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn finish(mut self) -> Found {
        self.found.missing = self.expected - self.found.distinct;
        self.found
    }
}
