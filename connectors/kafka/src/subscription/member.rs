//! The thread that polls for a member, and what librdkafka calls on it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use serde::Deserialize;
use tailrace_core::ports::sink::SubscriptionSpec;
use tailrace_core::record_batch::TopicPartition;

use super::membership::{Incoming, Membership};
use super::{Client, RELEASE_PATIENCE, Unknown, bounds, list};
use crate::client::Complaints;
use crate::error::{Class, Cluster, Failure, code_of};
use crate::reader::POLL_WAIT;
use crate::topics::Shared;

/// A target that takes records at all takes some within this time. Shorter pauses are waited out, because telling librdkafka
/// to fetch nothing throws away what it has read ahead.
const ROOM_PATIENCE: Duration = Duration::from_secs(1);

/// No broker answers for so long: longer than a broker takes to restart.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(60);

/// A broker that is there answers within this time.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// What librdkafka calls back.
pub(super) struct GroupContext {
    complaints: Complaints,
    cluster: Cluster,
    spec: SubscriptionSpec,
    membership: Arc<Membership>,
    stopping: Arc<AtomicBool>,
    /// What was said with the newest error.
    said: Mutex<String>,
}

/// Polls librdkafka.
pub(super) struct Member {
    client: Arc<Client>,
    membership: Arc<Membership>,
    chores_done: Instant,
    is_paused: bool,
    /// Since when no broker was reachable, as far as is known.
    down_since: Option<Instant>,
}

/// Why partitions could not be taken or given back.
struct Refused {
    error: KafkaError,
    /// The partition that does not say where it ends.
    partition: Option<TopicPartition>,
}

/// What is looked at of librdkafka's statistics (STATISTICS.md).
#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    topics: HashMap<String, TopicStatistics>,
}

#[derive(Deserialize)]
struct TopicStatistics {
    #[serde(default)]
    partitions: HashMap<String, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    partition: i32,
    /// Behind the last record that readers of committed records may see.
    ls_offset: i64,
}

/// Answers a revocation: the partitions are not ours any more.
pub(super) fn give_back(client: &Client, partitions: &[TopicPartition]) -> KafkaResult<()> {
    client.incremental_unassign(&list(partitions, Offset::Invalid)?)
}

fn names(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let elements = list.elements();
    elements
        .iter()
        .map(|element| TopicPartition::new(element.topic(), element.partition()))
        .collect()
}

// === impl Refused ===

impl From<KafkaError> for Refused {
    fn from(error: KafkaError) -> Self {
        Self { error, partition: None }
    }
}

impl From<Unknown> for Refused {
    fn from(unknown: Unknown) -> Self {
        Self {
            error: unknown.error,
            partition: Some(unknown.partition),
        }
    }
}

impl Refused {
    /// The sentence; the group is joined again after it.
    fn sentence(&self, group: &str, servers: &str) -> String {
        let error = &self.error;
        match &self.partition {
            Some(TopicPartition { topic, partition }) => format!(
                "partition {partition} of topic {topic} on {servers} does not say where it ends ({error}), and until it does group \
                 {group} can take none of its partitions; see that the partition has a leader (kafka-topics --describe --topic {topic}), \
                 or leave the topic out; the group is joined again"
            ),
            None => format!(
                "the partitions of group {group} on {servers} could not be taken or given back ({error}); the group is joined again"
            ),
        }
    }
}

// === impl GroupContext ===

impl GroupContext {
    /// A context for one client.
    pub(super) fn new(
        shared: &Shared,
        spec: &SubscriptionSpec,
        membership: &Arc<Membership>,
        stopping: &Arc<AtomicBool>,
    ) -> Self {
        Self {
            complaints: shared.complaints(),
            cluster: shared.cluster.clone(),
            spec: spec.clone(),
            membership: Arc::clone(membership),
            stopping: Arc::clone(stopping),
            said: Mutex::default(),
        }
    }

    /// What the client complained about.
    pub(super) fn complaints(&self) -> &Complaints {
        &self.complaints
    }

    /// Partitions stand still until the reader says where they begin: at their end, where there is nothing to read, and
    /// paused, so that nothing is read that comes.
    ///
    /// The end is looked up here. `Offset::End` would have librdkafka do it, and again when its first answer was late: a
    /// partition that was moved meanwhile would jump to the end once more.
    fn assign(&self, client: &Client, partitions: Vec<TopicPartition>) -> Result<(), Refused> {
        let mut list = TopicPartitionList::new();
        for (partition, bounds) in partitions.iter().zip(bounds(client, &partitions)?) {
            list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(bounds.end))?;
        }
        client.incremental_assign(&list)?;
        client.pause(&list)?;
        if !partitions.is_empty() {
            self.membership.assign(partitions);
        }
        Ok(())
    }

    fn revoke(&self, client: &Client, partitions: Vec<TopicPartition>) -> Result<(), Refused> {
        let is_lost = client.assignment_lost();
        if is_lost || partitions.is_empty() || self.stopping.load(Ordering::Acquire) {
            give_back(client, &partitions)?;
            self.membership.lose(partitions);
        } else {
            self.membership.revoke(partitions, Instant::now() + RELEASE_PATIENCE);
        }
        Ok(())
    }

    /// What is read, and where from.
    pub(super) fn about(&self) -> (&SubscriptionSpec, &str) {
        (&self.spec, &self.cluster.servers)
    }

    fn text(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.complaints.log(level, facility, line);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else {
            return; // The lag is told from the records then.
        };
        for (topic, partitions) in &statistics.topics {
            for known in partitions.partitions.values() {
                self.membership.note_end(topic, known.partition, known.ls_offset);
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        reason.clone_into(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner));
        self.complaints.error(error, reason);
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, client: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let partitions = names(partitions);
        let done = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(client, partitions),
            _ => self.revoke(client, partitions),
        };
        if let Err(refused) = done {
            let message = refused.sentence(&self.spec.group, &self.cluster.servers);
            self.membership.fail(Failure::transient("kafka_error", message));
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            // In the middle of a rebalance it is refused, and the next one comes soon.
            tracing::debug!(%error, group = self.spec.group, "the group was not told how far the target is");
        }
    }
}

// === impl Member ===

impl Member {
    /// Polls with a client that has subscribed.
    pub(super) fn new(client: Arc<Client>) -> Self {
        let membership = Arc::clone(&client.context().membership);
        Self {
            client,
            membership,
            chores_done: Instant::now(),
            is_paused: false,
            down_since: None,
        }
    }

    /// Polls until it shall stop; then leaves the group.
    pub(super) fn run(mut self, stopping: &AtomicBool) {
        while !stopping.load(Ordering::Acquire) {
            if let Err(failure) = self.step() {
                self.membership.fail(failure);
            }
        }
        // A revocation that is not answered would keep the client from closing.
        if let Some(all) = self.membership.overdue(Instant::now() + RELEASE_PATIENCE) {
            give_back(&self.client, &all).ok();
        }
    }

    fn step(&mut self) -> Result<(), Failure> {
        let client = Arc::clone(&self.client);
        self.membership.note_poll();
        match client.poll(POLL_WAIT) {
            Some(Ok(message)) => {
                self.down_since = None;
                if self.push(&message) && !self.is_paused {
                    self.make_room()?;
                }
            }
            Some(Err(error)) => self.judge(&error)?,
            None => {}
        }
        if self.chores_done.elapsed() >= POLL_WAIT {
            self.chores()?;
            self.chores_done = Instant::now();
        }
        Ok(())
    }

    fn push(&self, message: &BorrowedMessage<'_>) -> bool {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        let record = Incoming {
            partition: (message.topic(), message.partition()),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or_default(),
            key_value: (message.key(), message.payload()),
        };
        let headers = headers.map(|header| (header.key, header.value.unwrap_or_default()));
        self.membership.push(&record, headers)
    }

    fn make_room(&mut self) -> Result<(), Failure> {
        if self.membership.wait_for_room(ROOM_PATIENCE) {
            return Ok(());
        }
        self.is_paused = true;
        let paused = self
            .membership
            .pause(|started| self.client.pause(&list(started, Offset::Invalid)?));
        paused.map_err(|error| self.failure(&error))
    }

    fn chores(&mut self) -> Result<(), Failure> {
        if let Some(all) = self.membership.overdue(Instant::now()) {
            tracing::warn!(
                "{} partitions were not released within {RELEASE_PATIENCE:?} and are given back; what the target \
                 still writes of them is fenced once somebody else has them",
                all.len()
            );
            give_back(&self.client, &all).map_err(|error| self.failure(&error))?;
        }
        if self.is_paused {
            let resume = |started: &[TopicPartition]| {
                self.client.resume(&list(started, Offset::Invalid)?)?;
                Ok(())
            };
            let resumed = self.membership.resume_where_there_is_room(resume);
            self.is_paused = !resumed.map_err(|error: KafkaError| self.failure(&error))?;
        }
        self.look_for_brokers()
    }

    /// librdkafka reconnects without end. When it has not succeeded for long, the reader is to know.
    fn look_for_brokers(&mut self) -> Result<(), Failure> {
        if self.down_since.is_none_or(|since| since.elapsed() < UNREACHABLE_AFTER) {
            return Ok(());
        }
        self.down_since = None;
        let answer = self.client.fetch_metadata(None, LOOK_TIMEOUT);
        answer.map(drop).map_err(|error| self.failure(&error))
    }

    /// What must be told: librdkafka reconnects, finds new leaders, and joins the group again by itself.
    fn judge(&mut self, error: &KafkaError) -> Result<(), Failure> {
        let code = code_of(error).unwrap_or(RDKafkaErrorCode::Fail);
        let context = self.client.context();
        let said = context.text();
        match Class::of(code) {
            Class::Unreachable => {
                self.down_since.get_or_insert_with(Instant::now);
                Ok(())
            }
            Class::Moving | Class::Busy => Ok(()),
            Class::TopicMissing => {
                tracing::warn!("a topic is not there, and is waited for: {said}");
                Ok(())
            }
            Class::Unauthorized => {
                let topics = context.spec.topics.join(", ");
                Err(context.cluster.may_not_read(&topics, &context.spec.group, &said))
            }
            Class::OffsetLost => Err(self.offset_lost(code, &said)),
            Class::Other if code == RDKafkaErrorCode::PollExceeded => {
                tracing::warn!("the group has thrown this member out, because it did not poll in time; it joins again");
                Ok(())
            }
            _ => Err(context.cluster.failure(code, None, &said)),
        }
    }

    /// librdkafka does not say of which partition; their bounds do.
    fn offset_lost(&self, code: RDKafkaErrorCode, said: &str) -> Failure {
        let cluster = &self.client.context().cluster;
        let (names, positions): (Vec<_>, Vec<_>) = self.membership.started().into_iter().unzip();
        let bounds = bounds(&self.client, &names).unwrap_or_default();
        let outside = bounds.iter().zip(names.iter().zip(positions));
        let outside = outside
            .filter_map(|(bounds, (partition, position))| {
                bounds.check(&self.client, partition, (position, position)).err()
            })
            .next();
        outside.unwrap_or_else(|| cluster.failure(code, None, said))
    }

    fn failure(&self, error: &KafkaError) -> Failure {
        let context = self.client.context();
        match code_of(error) {
            Some(code) => context.cluster.failure(code, None, &context.complaints.text()),
            None => {
                let servers = &context.cluster.servers;
                Failure::transient("kafka_error", format!("the Kafka client for {servers} failed: {error}"))
            }
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Behind a panic the reader would wait for ever.
        let context = self.client.context();
        let what = format!("the thread of a member of group {}", context.spec.group);
        self.membership.fail(context.cluster.abandoned(&what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_keeps_the_group_waiting_is_named() {
        let refused = Refused {
            error: KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable),
            partition: Some(TopicPartition::new("shop.orders", 3)),
        };
        let sentence = refused.sentence("mirror", "broker:9092");
        for part in [
            "partition 3 of topic shop.orders on broker:9092",
            "group mirror",
            "--describe --topic shop.orders",
        ] {
            assert!(sentence.contains(part), "{sentence}");
        }
        let sentence = Refused::from(KafkaError::Canceled).sentence("mirror", "broker:9092");
        assert!(
            sentence.contains("the partitions of group mirror on broker:9092"),
            "{sentence}"
        );
    }
}
