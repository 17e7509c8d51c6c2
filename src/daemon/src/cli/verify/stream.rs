//! What the topic says last of keys: the witness between two databases that differ.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tailrace_codec::{DecoderSettings, EventDecoder};
use tailrace_core::batch::{ChangeView, Operation};
use tailrace_core::ports::sink::{Decoder, Delivery, StartAt, Subscription, SubscriptionSpec};
use tailrace_core::ports::{EventStream, StartOffset};
use tailrace_core::record_batch::{RecordBatch, TopicPartition};
use tailrace_core::registry::SchemaRegistry;
use tailrace_core::schema::SharedSchema;
use tailrace_core::transform::Transform;
use tailrace_core::{Error, Result};
use tailrace_sql::sink::SqlSink;
use tailrace_sql::sink::config::WriteConfig;
use tailrace_sql::verify::pairing::{Key, Pairing, Values};
use tokio::time::{Instant, timeout};

use crate::config::plan::SinkPlan;

/// A cluster needs some seconds to make somebody the member of a group.
const ASSIGNED_WITHIN: Duration = Duration::from_secs(30);
/// A stream without a record for so long is at its end: compacted topics have none at their last offsets.
const SILENCE: Duration = Duration::from_secs(3);
const RECORDS: usize = 4_096;

/// Reads one topic from its beginning, as often as it is asked.
pub(super) struct TopicReader {
    subscription: Box<dyn Subscription>,
    partitions: BTreeSet<TopicPartition>,
    decoder: EventDecoder,
    transform: Transform,
    target: SharedSchema,
    pairings: Vec<(SharedSchema, Option<Pairing>)>,
}

/// What a topic says.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The last of each wanted key that it says anything of; `None` where that is a deletion.
    pub(super) last: BTreeMap<Key, Option<Values>>,
    /// For each partition, the offset behind the last record that there was.
    pub(super) ends: BTreeMap<TopicPartition, i64>,
    /// Records were removed since.
    pub(super) is_cut: bool,
}

// === impl TopicReader ===

impl TopicReader {
    /// Becomes the one member of a group of its own.
    ///
    /// # Errors
    /// Transient `group_waits` where the stream gives nothing to read; what the stream answers.
    pub(super) async fn open(
        stream: &dyn EventStream,
        sink: &SinkPlan,
        (topic, target): (&str, SharedSchema),
        registry: Option<Arc<dyn SchemaRegistry>>,
    ) -> Result<Self> {
        let spec = SubscriptionSpec {
            topics: vec![topic.to_owned()],
            group: format!("{}-verify", sink.subscription.group),
        };
        let decoder = EventDecoder::new(DecoderSettings {
            connector: sink.name.clone(),
            envelope: sink.format.envelope,
            format: sink.format.as_written(),
            registry,
            contract: sink.contract.clone(),
        })?;
        let is_there = stream.topics().await?.iter().any(|known| known == topic);
        let mut reader = Self {
            subscription: stream.subscribe(spec).await?,
            partitions: BTreeSet::new(),
            decoder,
            transform: Transform::new(&sink.transforms, None)?,
            target,
            pairings: Vec::new(),
        };
        if is_there {
            reader.wait_for_partitions(topic).await?;
        }
        Ok(reader)
    }

    async fn wait_for_partitions(&mut self, topic: &str) -> Result<()> {
        let deadline = Instant::now() + ASSIGNED_WITHIN;
        while self.partitions.is_empty() {
            match tokio::time::timeout_at(deadline, self.subscription.next(0)).await {
                Ok(delivery) => drop(self.note(delivery?).await?),
                Err(_) => {
                    let message = format!(
                        "the stream has not given the topic {topic} to the group of this comparison; is another one of the same sink under \
                         way? try again when it has ended"
                    );
                    return Err(Error::transient("group_waits", message));
                }
            }
        }
        Ok(())
    }

    /// Takes note of what there is to say about partitions; records are given back.
    async fn note(&mut self, delivery: Delivery) -> Result<Option<RecordBatch>> {
        match delivery {
            Delivery::Assigned(partitions) => self.partitions.extend(partitions),
            Delivery::Revoked(partitions) => {
                self.subscription.release(&partitions).await?;
                self.partitions.retain(|known| !partitions.contains(known));
            }
            Delivery::Lost(partitions) => self.partitions.retain(|known| !partitions.contains(known)),
            Delivery::Records(records) => return Ok(Some(records)),
        }
        Ok(None)
    }

    /// Reads the topic from its beginning to the end that it has now, for these keys.
    ///
    /// # Errors
    /// What the stream answers, and records whose schemas cannot be had.
    pub(super) async fn read(&mut self, wanted: &BTreeSet<Key>, with: (&mut SqlSink, &WriteConfig)) -> Result<Said> {
        let (session, config) = with;
        let mut said = Said::default();
        let mut open: BTreeMap<TopicPartition, i64> = BTreeMap::new();
        for partition in self.partitions.clone() {
            let end = self.start(&partition, StartOffset::Latest).await?;
            let begin = self.start(&partition, StartOffset::Earliest).await?;
            said.is_cut |= begin > 0;
            said.ends.insert(partition.clone(), begin);
            if begin < end {
                open.insert(partition, end);
            }
        }
        while !open.is_empty() {
            let Ok(delivery) = timeout(SILENCE, self.subscription.next(RECORDS)).await else {
                break;
            };
            let Some(records) = self.note(delivery?).await? else {
                continue;
            };
            for record in records.iter() {
                let behind = record.offset().saturating_add(1);
                if open.get(record.partition()).is_some_and(|end| behind >= *end) {
                    open.remove(record.partition());
                }
                said.ends.insert(record.partition().clone(), behind);
            }
            self.take(&records, wanted, (&mut *session, config), &mut said).await?;
        }
        Ok(said)
    }

    async fn start(&mut self, partition: &TopicPartition, at: StartOffset) -> Result<i64> {
        self.subscription.start(partition, StartAt::Unknown(at)).await
    }

    async fn take(
        &mut self,
        records: &RecordBatch,
        wanted: &BTreeSet<Key>,
        (session, config): (&mut SqlSink, &WriteConfig),
        said: &mut Said,
    ) -> Result<()> {
        self.decoder.prepare(records, session).await?;
        let mut events = self.decoder.decode(records, 0..records.len())?;
        self.transform.apply(&mut events.changes)?;
        for change in events.changes.views() {
            let Some(schema) = change.table() else {
                continue;
            };
            if change.operation() == Operation::Truncate {
                said.last.values_mut().for_each(|last| *last = None);
            } else if let Some(pairing) = self.pairing(schema, config) {
                put(change, pairing, wanted, &mut said.last);
            }
        }
        Ok(())
    }

    /// How events of a schema are compared; `None` where they cannot be.
    fn pairing(&mut self, schema: &SharedSchema, config: &WriteConfig) -> Option<&Pairing> {
        let known = self.pairings.iter().position(|(known, _)| Arc::ptr_eq(known, schema));
        let place = known.unwrap_or_else(|| {
            let pairing = Pairing::new(schema, &self.target, config).ok();
            self.pairings.push((Arc::clone(schema), pairing));
            self.pairings.len() - 1
        });
        self.pairings.get(place)?.1.as_ref()
    }
}

fn put(change: ChangeView<'_>, pairing: &Pairing, wanted: &BTreeSet<Key>, last: &mut BTreeMap<Key, Option<Values>>) {
    if change.operation() == Operation::Delete {
        let key = change.before().and_then(|row| pairing.event_key_of(row));
        if let Some(key) = key.filter(|key| wanted.contains(key)) {
            last.insert(key, None);
        }
        return;
    }
    let row = change.after().and_then(|row| pairing.event_row(row));
    if let Some((key, values)) = row.filter(|(key, _)| wanted.contains(key)) {
        // What did not change is what it was.
        let mut whole = last.remove(&key).flatten().unwrap_or_default();
        whole.extend(values);
        last.insert(key, Some(whole));
    }
}
