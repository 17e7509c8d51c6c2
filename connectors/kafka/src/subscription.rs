//! Membership in a group that shares partitions: what a sink reads from.
//!
//! ```text
//!   librdkafka ── poll ─▶ member thread ─▶ Membership ─▶ next
//!        ▲                      │              ▲
//!        └─ assign, unassign ◀──┴── commands ──┴── start, pause, release, commit
//! ```
//!
//! *Where to begin* is never librdkafka's to say: a partition that is assigned stands still, at its end, until
//! [`Subscription::start`] moves it. `auto.offset.reset` is `error`, so that nothing jumps later either.
//!
//! *Members come and go* by the cooperative protocol: only partitions that move are given back. librdkafka asks for an
//! answer to a revocation, and hands out nothing of any partition until it has one; it gets it when the reader has released
//! what was revoked, or after [`RELEASE_PATIENCE`]. The thread polls on meanwhile, so that the member stays one.
//!
//! *A slow reader* fills the [`Membership`]; then the thread waits a moment, then it tells librdkafka to fetch nothing, and
//! polls on for the same reason.

mod member;
mod membership;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tailrace_core::Result;
use tailrace_core::ports::sink::{
    Delivery, OFFSET_OUT_OF_RANGE, StartAt, Subscription, SubscriptionSpec, TOPIC_REWOUND,
};
use tailrace_core::record_batch::TopicPartition;

use crate::client::{CONNECT_POLL, await_cluster};
use crate::error::{Class, Cluster, Failure};
use crate::properties;
use crate::reader::ReaderThread;
use crate::topics::{REQUEST_TIMEOUT, Shared};
use member::{GroupContext, Member};
use membership::{Membership, Place};

/// Partitions that were revoked are given back after this time, released or not. Longer than a target takes for one batch;
/// and others wait for the partitions meanwhile, so not much longer. Nothing depends on the reader's answer: whoever gets the
/// partitions next takes them in the target too, where what comes too late is fenced.
const RELEASE_PATIENCE: Duration = Duration::from_secs(30);

/// A partition that was just assigned cannot be moved for a moment: librdkafka is still stopping or starting others.
const SEEK_AGAIN: Duration = Duration::from_millis(10);

type Client = BaseConsumer<GroupContext>;

/// A member of a group of readers.
pub(crate) struct KafkaSubscription {
    client: Option<Arc<Client>>,
    membership: Arc<Membership>,
    cluster: Cluster,
    thread: ReaderThread,
}

/// The first offset that is there, and the one that the next record will have.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    first: i64,
    end: i64,
}

/// Where partitions end or begin is not known.
struct Unknown {
    error: KafkaError,
    /// The partition that does not say.
    partition: TopicPartition,
}

// === impl KafkaSubscription ===

impl KafkaSubscription {
    /// Connects and joins the group.
    pub(crate) async fn connect(shared: &Arc<Shared>, spec: SubscriptionSpec) -> Result<Self> {
        let membership = Arc::new(Membership::default());
        let stopping = Arc::new(AtomicBool::new(false));
        let context = GroupContext::new(shared, &spec, &membership, &stopping);
        let opening = Arc::clone(shared);
        let opened = tokio::task::spawn_blocking(move || open(&opening, &spec, context)).await;
        let client = match opened.unwrap_or_else(|_| Err(shared.cluster.abandoned("opening a member of a group"))) {
            Ok(client) => Arc::new(client),
            Err(failure) => return Err(shared.explained(failure).await.into()),
        };
        let member = Member::new(Arc::clone(&client));
        let thread = ReaderThread::start(stopping, move |stopping| member.run(stopping))?;
        Ok(Self {
            client: Some(client),
            membership,
            cluster: shared.cluster.clone(),
            thread,
        })
    }

    /// Does something with librdkafka that may wait.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Client, &Cluster) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let (client, cluster) = (self.client.clone(), self.cluster.clone());
        let asked = tokio::task::spawn_blocking(move || match client {
            Some(client) => question(&client, &cluster),
            None => Err(cluster.abandoned("the subscription")),
        });
        let answer = asked.await;
        Ok(answer.unwrap_or_else(|_| Err(self.cluster.abandoned("a request of a member of a group")))?)
    }
}

#[async_trait]
impl Subscription for KafkaSubscription {
    async fn next(&mut self, limit: usize) -> Result<Delivery> {
        self.membership.next(limit).await
    }

    async fn start(&mut self, partitions: &[(TopicPartition, StartAt)]) -> Result<Vec<i64>> {
        let (places, membership) = (partitions.to_vec(), Arc::clone(&self.membership));
        let start = move |client: &Client, cluster: &Cluster| {
            let places = places_of(client, cluster, &places)?;
            let begun = membership.begin_start(places.iter().map(|place| &place.partition));
            // Those that are not ours any more are told by `next`.
            let ours: Vec<Place> = places
                .iter()
                .filter(|place| begun.partitions.contains(&place.partition))
                .cloned()
                .collect();
            start_at(client, &membership, &ours, begun.flowed)
                .map_err(|error| standing_still(cluster, &begun.partitions, &error))?;
            Ok(places.iter().map(|place| place.offset).collect())
        };
        self.ask(start).await
    }

    async fn pause(&mut self, partition: &TopicPartition) -> Result<()> {
        if self.membership.begin_start([partition]).partitions.is_empty() {
            return Ok(());
        }
        let partition = partition.clone();
        let pause = move |client: &Client, cluster: &Cluster| {
            let paused = list(std::slice::from_ref(&partition), Offset::Invalid).and_then(|list| client.pause(&list));
            paused.map_err(|error| cluster.failure_of(&error, Some(&partition.topic), ""))
        };
        self.ask(pause).await
    }

    async fn release(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let Some(all) = self.membership.release(partitions) else {
            return Ok(());
        };
        let give_back = move |client: &Client, cluster: &Cluster| {
            member::give_back(client, &all).map_err(|error| cluster.failure_of(&error, None, ""))
        };
        self.ask(give_back).await
    }

    async fn commit(&mut self, offsets: &[(TopicPartition, i64)]) -> Result<()> {
        let Some(client) = &self.client else { return Ok(()) };
        let started = self.membership.started();
        let ours = |partition: &TopicPartition| started.iter().any(|(known, _)| known == partition);
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets.iter().filter(|(partition, _)| ours(partition)) {
            let added = list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*offset));
            added.map_err(|error| self.cluster.failure_of(&error, Some(&partition.topic), ""))?;
        }
        if list.count() > 0
            && let Err(error) = client.commit(&list, CommitMode::Async)
        {
            tracing::debug!(%error, "the group was not told how far the target is");
        }
        Ok(())
    }

    fn ends(&self) -> Vec<(TopicPartition, i64)> {
        self.membership.ends()
    }
}

impl Drop for KafkaSubscription {
    fn drop(&mut self) {
        // It is the thread that shall leave the group.
        self.client = None;
        self.thread.stop();
    }
}

fn open(shared: &Shared, spec: &SubscriptionSpec, context: GroupContext) -> Result<Client, Failure> {
    let mut native = properties::member_config(&shared.config, &spec.group)
        .map_err(|error| Failure::definite("invalid_config", error.to_string()))?;
    if !spec.topics.iter().any(|topic| topic.starts_with("__")) {
        // `*` does not mean what brokers keep for themselves.
        native.set("topic.blacklist", "^__");
    }
    let client: Client = native
        .create_with_context(context)
        .map_err(|error| shared.cluster.failure_of(&error, None, ""))?;
    let ask = || {
        drop(client.poll(Duration::ZERO));
        client.client().fetch_cluster_id(CONNECT_POLL).is_some()
    };
    await_cluster(
        &shared.cluster,
        client.context().complaints(),
        ask,
        &AtomicBool::new(false),
    )?;
    for topic in spec.topics.iter().filter(|topic| !is_pattern(topic)) {
        look_at(shared, &client, topic, &spec.group)?;
    }
    let topics: Vec<String> = spec.topics.iter().map(|topic| subscribed(topic)).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let failure = |error: &KafkaError| shared.cluster.failure_of(error, None, "");
    client.subscribe(&topics).map_err(|error| failure(&error))?;
    Ok(client)
}

/// A topic that is named in full must be readable; that it does not exist yet is worth a word.
fn look_at(shared: &Shared, client: &Client, topic: &str, group: &str) -> Result<(), Failure> {
    let cluster = &shared.cluster;
    let metadata = client.fetch_metadata(Some(topic), REQUEST_TIMEOUT);
    let metadata = metadata.map_err(|error| cluster.failure_of(&error, Some(topic), ""))?;
    let code: Option<RDKafkaErrorCode> = metadata
        .topics()
        .first()
        .and_then(|listed| listed.error())
        .map(Into::into);
    match code.map(|code| (Class::of(code), code)) {
        None => Ok(()),
        Some((Class::TopicMissing, _)) => {
            tracing::info!(
                topic,
                "topic {topic} does not exist yet; it is read from its beginning once it does"
            );
            Ok(())
        }
        Some((Class::Unauthorized, code)) => Err(cluster.may_not_read(topic, group, &code.to_string())),
        Some((_, code)) => Err(cluster.failure(code, Some(topic), "")),
    }
}

fn is_pattern(topic: &str) -> bool {
    topic.contains(['*', '?'])
}

/// A topic as librdkafka subscribes to it: patterns are regular expressions that begin with `^`.
fn subscribed(topic: &str) -> String {
    if !is_pattern(topic) {
        return topic.to_owned();
    }
    let mut expression = String::from("^");
    for character in topic.chars() {
        match character {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            plain if plain.is_ascii_alphanumeric() || matches!(plain, '_' | '-') => expression.push(plain),
            other => expression.extend(['\\', other]),
        }
    }
    expression.push('$');
    expression
}

/// Where each partition is to begin.
fn places_of(client: &Client, cluster: &Cluster, wanted: &[(TopicPartition, StartAt)]) -> Result<Vec<Place>, Failure> {
    let names: Vec<TopicPartition> = wanted.iter().map(|(partition, _)| partition.clone()).collect();
    let bounds = bounds(client, &names)
        .map_err(|unknown| cluster.failure_of(&unknown.error, Some(&unknown.partition.topic), ""))?;
    let placed = wanted.iter().zip(bounds).map(|((partition, at), bounds)| {
        let offset = at.offset(bounds.first, bounds.end);
        bounds.check(client, partition, (offset, at.wanted(offset)))?;
        Ok(Place {
            partition: partition.clone(),
            offset,
            end: bounds.end,
        })
    });
    placed.collect()
}

/// Asks all at once; one after another only where that fails, to know which it is that does not answer.
fn bounds(client: &Client, partitions: &[TopicPartition]) -> Result<Vec<Bounds>, Unknown> {
    let at_once = |of: Offset| offsets(client, partitions, of);
    if let (Some(firsts), Some(ends)) = (at_once(Offset::Beginning), at_once(Offset::End)) {
        let pairs = firsts.into_iter().zip(ends);
        return Ok(pairs.map(|(first, end)| Bounds { first, end }).collect());
    }
    let each = partitions.iter().map(|partition| {
        let asked = client.fetch_watermarks(&partition.topic, partition.partition, REQUEST_TIMEOUT);
        let unknown = |error| Unknown {
            error,
            partition: partition.clone(),
        };
        asked.map(|(first, end)| Bounds { first, end }).map_err(unknown)
    });
    each.collect()
}

/// A request for times is one for all partitions of a broker; the first and the last offset have times of their own
/// (ListOffsets: -2 and -1).
fn offsets(client: &Client, partitions: &[TopicPartition], of: Offset) -> Option<Vec<i64>> {
    let found = client
        .offsets_for_times(list(partitions, of).ok()?, REQUEST_TIMEOUT)
        .ok()?;
    let offset_of = |partition: &TopicPartition| {
        let element = found.find_partition(&partition.topic, partition.partition)?;
        match (element.error(), element.offset()) {
            (Ok(()), Offset::Offset(offset)) => Some(offset),
            _ => None,
        }
    };
    partitions.iter().map(offset_of).collect()
}

/// Moves partitions that stand still or flow, and lets them flow from there.
///
/// What librdkafka has handed out before may be in the hands of the thread that polls. It is let go before records count again: else one of
/// those would stand in front of the first.
fn start_at(client: &Client, membership: &Membership, places: &[Place], flowed: bool) -> KafkaResult<()> {
    if places.is_empty() {
        return Ok(());
    }
    move_to(client, places)?;
    if flowed {
        let polls = membership.polls();
        let since = Instant::now();
        while membership.polls() == polls {
            if since.elapsed() > REQUEST_TIMEOUT {
                return Err(KafkaError::Seek("the thread that polls stands still".to_owned()));
            }
            // The count is raised for every record: waking somebody each time would cost more than a wait that is this rare and short.
            std::thread::sleep(SEEK_AGAIN);
        }
    }
    membership.finish_start(places, |resumed| client.resume(&list(resumed, Offset::Invalid)?))
}

/// Lets partitions go on at their places, as soon as they are resumed. Nothing from before is handed out by librdkafka behind this.
fn move_to(client: &Client, places: &[Place]) -> KafkaResult<()> {
    let mut list = TopicPartitionList::new();
    for Place { partition, offset, .. } in places {
        list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(*offset))?;
    }
    client.pause(&list)?;
    let since = Instant::now();
    loop {
        let moved = client.seek_partitions(list.clone(), REQUEST_TIMEOUT)?;
        let failed = moved.elements().iter().find_map(|element| element.error().err());
        match failed {
            // librdkafka does not tell when it has started or stopped the others; only the next attempt does.
            Some(_) if since.elapsed() < REQUEST_TIMEOUT => std::thread::sleep(SEEK_AGAIN),
            Some(error) => return Err(error),
            None => return Ok(()),
        }
    }
}

fn standing_still(cluster: &Cluster, partitions: &[TopicPartition], error: &KafkaError) -> Failure {
    let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
    let message = format!(
        "partitions {} on {} could not be moved to where the target is ({error}); it is tried again",
        names.join(", "),
        cluster.servers
    );
    Failure::transient("kafka_busy", message)
}

fn list(partitions: &[TopicPartition], offset: Offset) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition_offset(&partition.topic, partition.partition, offset)?;
    }
    Ok(list)
}

// === impl Bounds ===

impl Bounds {
    /// Whether an offset can be read from here, or will be the next to be written.
    fn check(self, client: &Client, partition: &TopicPartition, (offset, wanted): (i64, i64)) -> Result<(), Failure> {
        let (spec, servers) = client.context().about();
        if offset < self.first {
            let message = spec.offset_out_of_range(partition, servers, wanted, self.first);
            return Err(Failure::definite(OFFSET_OUT_OF_RANGE, message));
        }
        if offset > self.end {
            let message = spec.topic_rewound(partition, servers, wanted, self.end);
            return Err(Failure::definite(TOPIC_REWOUND, message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
