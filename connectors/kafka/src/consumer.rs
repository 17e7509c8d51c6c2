//! The consumer: reads topics back, with or without a group.
//!
//! A thread of its own polls librdkafka and fills a bounded channel, so that `poll` can be dropped at any moment
//! without losing a record.
//!
//! Where to start is decided by us for every partition, when it is assigned: the group's stored offset, else the
//! configured start. librdkafka's own `auto.offset.reset` is set to `error`, because it would also jump where a stored
//! offset is not in the log any more: then records were removed unread, and that must be seen.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tailrace_core::Result;
use tailrace_core::event::StreamRecord;
use tailrace_core::ports::{Consumer, ConsumerSpec, StartOffset};
use tokio::sync::mpsc;

use crate::client::Complaints;
use crate::error::{Class, Cluster, Failure, code_of};
use crate::properties;
use crate::reader::{POLL_WAIT, ReaderThread};
use crate::topics::{REQUEST_TIMEOUT, Shared};

/// Records that wait for `poll`: enough that the thread is not woken for each.
const BUFFERED_RECORDS: usize = 1024;

/// A group that is never joined and under which nothing is stored; librdkafka wants one to assign partitions.
const NO_GROUP: &str = "tailrace-without-group";

type Client = BaseConsumer<ReadContext>;

/// Reads records through librdkafka.
pub(crate) struct KafkaConsumer {
    client: Option<Arc<Client>>,
    cluster: Cluster,
    stores_offsets: bool,
    records: mpsc::Receiver<Result<StreamRecord, Failure>>,
    /// Behind the records of the last `poll`, to be told by the next.
    failed: Option<Failure>,
    /// Behind the last record handed out, per topic and partition, since the last commit.
    read: BTreeMap<(Arc<str>, i32), i64>,
    thread: ReaderThread,
}

/// What librdkafka calls back.
struct ReadContext {
    complaints: Complaints,
    cluster: Cluster,
    start: StartOffset,
    failed: Mutex<Option<Failure>>,
}

struct Reader {
    client: Arc<Client>,
    records: mpsc::Sender<Result<StreamRecord, Failure>>,
    /// The topic of the last record, which is most often that of the next.
    topic: Arc<str>,
}

// === impl KafkaConsumer ===

impl KafkaConsumer {
    /// Connects, joins the group or assigns every partition, and starts the thread.
    pub(crate) async fn connect(shared: &Arc<Shared>, spec: ConsumerSpec) -> Result<Self> {
        let stores_offsets = spec.group.is_some();
        let opening = Arc::clone(shared);
        let opened = tokio::task::spawn_blocking(move || open(&opening, &spec)).await;
        let client = match opened.unwrap_or_else(|_| Err(shared.cluster.abandoned("opening a consumer"))) {
            Ok(client) => Arc::new(client),
            Err(failure) => return Err(shared.explained(failure).await.into()),
        };
        let (sender, records) = mpsc::channel(BUFFERED_RECORDS);
        let mut reader = Reader {
            client: Arc::clone(&client),
            records: sender,
            topic: Arc::from(""),
        };
        let read = move |stopping: &AtomicBool| {
            reader.run(stopping);
            drop(reader);
        };
        let thread = ReaderThread::start(Arc::new(AtomicBool::new(false)), read)?;
        let (client, cluster) = (Some(client), shared.cluster.clone());
        let (failed, read) = (None, BTreeMap::new());
        Ok(Self {
            client,
            cluster,
            stores_offsets,
            records,
            failed,
            read,
            thread,
        })
    }

    fn hand_out(&mut self, found: &mut Vec<StreamRecord>, next: Result<StreamRecord, Failure>) {
        match next {
            Ok(record) => {
                if self.stores_offsets {
                    self.read
                        .insert((Arc::clone(&record.topic), record.partition), record.offset + 1);
                }
                found.push(record);
            }
            Err(failure) => self.failed = Some(failure),
        }
    }
}

#[async_trait]
impl Consumer for KafkaConsumer {
    async fn poll(&mut self, limit: usize, wait: Duration) -> Result<Vec<StreamRecord>> {
        if let Some(failure) = &self.failed {
            return Err(failure.clone().into());
        }
        let mut found = Vec::new();
        // The one place that waits. Behind it nothing is given up before it is returned.
        match tokio::time::timeout(wait, self.records.recv()).await {
            Err(_) => return Ok(found),
            Ok(None) => return Err(self.cluster.abandoned("the thread of a consumer").into()),
            Ok(Some(first)) => self.hand_out(&mut found, first),
        }
        while found.len() < limit && self.failed.is_none() {
            match self.records.try_recv() {
                Ok(next) => self.hand_out(&mut found, next),
                Err(_) => break,
            }
        }
        match &self.failed {
            Some(failure) if found.is_empty() => Err(failure.clone().into()),
            Some(_) | None => Ok(found),
        }
    }

    async fn commit(&mut self) -> Result<()> {
        let Some(client) = self.client.clone().filter(|_| !self.read.is_empty()) else {
            return Ok(());
        };
        let read = self.read.clone();
        let committed = tokio::task::spawn_blocking(move || store(&client, &read)).await;
        match committed.unwrap_or(Err(KafkaError::Canceled)) {
            Ok(()) => {
                self.read.clear();
                Ok(())
            }
            Err(error) => Err(self.cluster.failure_of(&error, None, "").into()),
        }
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        // The thread may wait for room in the channel; and it is the thread that shall leave the group.
        self.records.close();
        self.client = None;
        self.thread.stop();
    }
}

/// Stores offsets of partitions that are still ours: those of others may be further already.
fn store(client: &Client, read: &BTreeMap<(Arc<str>, i32), i64>) -> KafkaResult<()> {
    let assigned = client.assignment()?;
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in read {
        if assigned.find_partition(topic, *partition).is_some() {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
    }
    if list.count() == 0 {
        return Ok(());
    }
    client.commit(&list, CommitMode::Sync)
}

fn open(shared: &Shared, spec: &ConsumerSpec) -> Result<Client, Failure> {
    let group = spec.group.as_deref().unwrap_or(NO_GROUP);
    let native = properties::consumer_config(&shared.config, group)
        .map_err(|error| Failure::definite("invalid_config", error.to_string()))?;
    let context = ReadContext {
        complaints: shared.complaints(),
        cluster: shared.cluster.clone(),
        start: spec.start,
        failed: Mutex::default(),
    };
    let failure = |error: &KafkaError| {
        shared
            .cluster
            .failure_of(error, spec.topics.first().map(String::as_str), "")
    };
    let client: Client = native.create_with_context(context).map_err(|error| failure(&error))?;
    let mut list = TopicPartitionList::new();
    for topic in &spec.topics {
        for partition in partitions(shared, &client, topic)? {
            list.add_partition(topic, partition);
        }
    }
    if spec.group.is_some() {
        let topics: Vec<&str> = spec.topics.iter().map(String::as_str).collect();
        client.subscribe(&topics).map_err(|error| failure(&error))?;
    } else {
        let start = client
            .context()
            .starts(&client, &list)
            .map_err(|error| failure(&error))?;
        client.assign(&start).map_err(|error| failure(&error))?;
    }
    Ok(client)
}

fn partitions(shared: &Shared, client: &Client, topic: &str) -> Result<Vec<i32>, Failure> {
    let metadata = client.fetch_metadata(Some(topic), REQUEST_TIMEOUT);
    let metadata = metadata.map_err(|error| shared.cluster.failure_of(&error, Some(topic), ""))?;
    let Some(listed) = metadata.topics().first() else {
        return Err(shared.cluster.failure(RDKafkaErrorCode::UnknownTopic, Some(topic), ""));
    };
    match listed.error() {
        Some(code) => Err(shared.cluster.failure(code.into(), Some(topic), "")),
        None => Ok(listed.partitions().iter().map(|partition| partition.id()).collect()),
    }
}

// === impl ReadContext ===

impl ReadContext {
    /// Where to start in each of these partitions when nothing is stored. `Latest` is looked up now, so that records
    /// that come after this call are read, whenever fetching begins.
    fn starts(&self, client: &Client, partitions: &TopicPartitionList) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for element in partitions.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            let offset = match (element.offset(), self.start) {
                (Offset::Offset(stored), _) => Offset::Offset(stored),
                (_, StartOffset::Earliest) => Offset::Beginning,
                (_, StartOffset::Latest) => {
                    let (_, end) = client.fetch_watermarks(topic, partition, REQUEST_TIMEOUT)?;
                    Offset::Offset(end)
                }
            };
            list.add_partition_offset(topic, partition, offset)?;
        }
        Ok(list)
    }

    fn assign(&self, client: &Client, partitions: &TopicPartitionList) -> KafkaResult<()> {
        let stored = client.committed_offsets(partitions.clone(), REQUEST_TIMEOUT)?;
        client.assign(&self.starts(client, &stored)?)
    }

    fn take_failure(&self) -> Option<Failure> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for ReadContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.complaints.log(level, facility, line);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.complaints.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.error(error, reason);
    }
}

impl ConsumerContext for ReadContext {
    fn rebalance(&self, client: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let assigning = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let done = if assigning {
            self.assign(client, partitions)
        } else {
            client.unassign()
        };
        if let Err(error) = done {
            let failure = self
                .cluster
                .failure_of(&error, None, "offsets of the group could not be read");
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        }
    }
}

// === impl Reader ===

impl Reader {
    fn run(&mut self, stopping: &AtomicBool) {
        while !stopping.load(Ordering::Acquire) {
            let client = Arc::clone(&self.client);
            let next = match client.poll(POLL_WAIT) {
                Some(Ok(message)) => Some(Ok(self.record(&message))),
                Some(Err(error)) => self.failure(&error).map(Err),
                None => None,
            };
            let next = client.context().take_failure().map(Err).or(next);
            let last = matches!(next, Some(Err(_)));
            if let Some(next) = next
                && (self.records.blocking_send(next).is_err() || last)
            {
                return;
            }
        }
    }

    /// What must be told: librdkafka reconnects and finds new leaders by itself.
    fn failure(&self, error: &KafkaError) -> Option<Failure> {
        let code = code_of(error).unwrap_or(RDKafkaErrorCode::Fail);
        match Class::of(code) {
            Class::Unreachable | Class::Moving | Class::Busy => None,
            // Without a group, whether we may use one does not matter.
            Class::Unauthorized if code == RDKafkaErrorCode::GroupAuthorizationFailed && self.has_no_group() => None,
            _ => {
                let context = self.client.context();
                Some(context.cluster.failure(code, None, &context.complaints.text()))
            }
        }
    }

    fn has_no_group(&self) -> bool {
        self.client.subscription().is_ok_and(|topics| topics.count() == 0)
    }

    fn record(&mut self, message: &BorrowedMessage<'_>) -> StreamRecord {
        if *self.topic != *message.topic() {
            self.topic = Arc::from(message.topic());
        }
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        StreamRecord {
            topic: Arc::clone(&self.topic),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or_default(),
            key: message.key().map(Bytes::copy_from_slice),
            value: message.payload().map(Bytes::copy_from_slice),
            headers: headers
                .map(|header| {
                    (
                        header.key.to_owned(),
                        header.value.map_or_else(Bytes::new, Bytes::copy_from_slice),
                    )
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};

    use super::*;

    const WAIT: Duration = Duration::from_secs(10);

    struct Cluster {
        mock: MockCluster<'static, DefaultProducerContext>,
        producer: BaseProducer,
    }

    impl Cluster {
        fn new() -> Self {
            let mock = MockCluster::new(1).unwrap();
            mock.create_topic("t", 2, 1).unwrap();
            let producer = ClientConfig::new()
                .set("bootstrap.servers", mock.bootstrap_servers())
                .create()
                .unwrap();
            Self { mock, producer }
        }

        fn write(&self, partition: i32, values: &[&str]) {
            for value in values {
                let record = BaseRecord::<str, str>::to("t")
                    .partition(partition)
                    .payload(*value)
                    .timestamp(5);
                self.producer.send(record).unwrap();
            }
            self.producer.flush(WAIT).unwrap();
        }

        /// Stores an offset on behalf of nobody, where one is given, and looks at what is stored.
        fn stored(&self, store: Option<(i32, i64)>, group: &str) -> Vec<Offset> {
            let client: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", self.mock.bootstrap_servers())
                .set("group.id", group)
                .create()
                .unwrap();
            if let Some((partition, offset)) = store {
                let mut list = TopicPartitionList::new();
                list.add_partition_offset("t", partition, Offset::Offset(offset))
                    .unwrap();
                client.commit(&list, CommitMode::Sync).unwrap();
            }
            let mut list = TopicPartitionList::new();
            list.add_partition_range("t", 0, 1);
            let found = client.committed_offsets(list, WAIT).unwrap();
            found.elements().iter().map(|element| element.offset()).collect()
        }

        async fn reader(&self, group: Option<&str>, start: StartOffset) -> KafkaConsumer {
            let text = serde_json::json!({ "bootstrap_servers": [self.mock.bootstrap_servers()] }).to_string();
            let shared = Arc::new(Shared::new(serde_json::from_str(&text).unwrap()));
            let spec = ConsumerSpec {
                topics: vec!["t".to_owned()],
                group: group.map(str::to_owned),
                start,
            };
            KafkaConsumer::connect(&shared, spec).await.unwrap()
        }
    }

    async fn take(consumer: &mut KafkaConsumer, count: usize) -> Vec<String> {
        let mut found = Vec::new();
        while found.len() < count {
            let records = consumer.poll(count - found.len(), WAIT).await.unwrap();
            assert!(!records.is_empty(), "nothing came; so far {found:?}");
            found.extend(
                records
                    .into_iter()
                    .map(|r| String::from_utf8(r.value.unwrap().to_vec()).unwrap()),
            );
        }
        found
    }

    #[tokio::test]
    async fn without_a_group_all_partitions_are_read_from_the_start() {
        let cluster = Cluster::new();
        cluster.write(0, &["a", "b"]);
        cluster.write(1, &["c"]);
        let mut consumer = cluster.reader(None, StartOffset::Earliest).await;
        let mut found = take(&mut consumer, 3).await;
        found.sort();
        assert_eq!(found, ["a", "b", "c"]);
        consumer.commit().await.unwrap();
        cluster.write(0, &["d"]);
        let records = consumer.poll(10, WAIT).await.unwrap();
        assert_eq!(
            (records[0].partition, records[0].offset, records[0].timestamp_ms),
            (0, 2, 5)
        );
        assert_eq!(records[0].key, None);
    }

    #[tokio::test]
    async fn latest_means_from_the_moment_of_opening() {
        let cluster = Cluster::new();
        cluster.write(0, &["before"]);
        let mut consumer = cluster.reader(None, StartOffset::Latest).await;
        cluster.write(0, &["after"]);
        assert_eq!(take(&mut consumer, 1).await, ["after"]);
        assert!(consumer.poll(1, Duration::from_millis(1)).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_group_goes_on_at_its_stored_offset_and_stores_what_was_handed_out() {
        let cluster = Cluster::new();
        cluster.write(0, &["a", "b", "c", "d"]);
        cluster.write(1, &["e"]);
        cluster.stored(Some((0, 1)), "g");
        // Partition 1 has no stored offset, so there the start counts.
        let mut consumer = cluster.reader(Some("g"), StartOffset::Latest).await;
        assert_eq!(take(&mut consumer, 2).await, ["b", "c"]);
        consumer.commit().await.unwrap();
        assert_eq!(cluster.stored(None, "g"), [Offset::Offset(3), Offset::Invalid]);
        assert_eq!(take(&mut consumer, 1).await, ["d"]);
        cluster.write(1, &["f"]);
        assert_eq!(take(&mut consumer, 1).await, ["f"]);
    }

    #[tokio::test]
    async fn a_dropped_poll_loses_nothing() {
        let cluster = Cluster::new();
        let mut consumer = cluster.reader(None, StartOffset::Earliest).await;
        let dropped = tokio::time::timeout(Duration::from_millis(1), consumer.poll(10, WAIT)).await;
        assert!(dropped.is_err());
        cluster.write(0, &["a", "b"]);
        assert_eq!(take(&mut consumer, 2).await, ["a", "b"]);
    }

    #[tokio::test]
    async fn a_missing_topic_is_named() {
        let cluster = Cluster::new();
        cluster
            .mock
            .topic_error("t", RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
            .unwrap();
        let text = serde_json::json!({ "bootstrap_servers": [cluster.mock.bootstrap_servers()] }).to_string();
        let shared = Arc::new(Shared::new(serde_json::from_str(&text).unwrap()));
        let spec = ConsumerSpec {
            topics: vec!["t".to_owned()],
            group: None,
            start: StartOffset::Earliest,
        };
        let error = KafkaConsumer::connect(&shared, spec).await.err().unwrap();
        assert_eq!(error.code(), "topic_missing");
        assert!(error.to_string().contains("topic t "), "{error}");
    }
}
