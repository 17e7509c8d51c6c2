//! What the topic says last of keys: the witness between two databases that differ, and what a target is compared with whose source is not
//! at hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tailrace_codec::EventDecoder;
use tailrace_core::batch::{BeforeImage, ChangeBatch, ChangeView, Operation};
use tailrace_core::ports::sink::{Decoder, Delivery, StartAt, Subscription, SubscriptionSpec};
use tailrace_core::ports::{EventStream, StartOffset};
use tailrace_core::record_batch::{RecordBatch, TopicPartition};
use tailrace_core::registry::SchemaRegistry;
use tailrace_core::schema::SharedSchema;
use tailrace_core::transform::{TargetsBefore, Transform};
use tailrace_core::{Error, Result};
use tailrace_sql::sink::SqlSink;
use tailrace_sql::sink::work::Offset;
use tailrace_sql::verify::event_row::EventRow;
use tailrace_sql::verify::pairing::{Key, Pairing};
use tailrace_sql::verify::told::{LastOfKeys, Told};
use tokio::time::{Instant, timeout};

use super::pairings::Pairings;
use super::slice::Slice;
use crate::config::plan::SinkPlan;

/// A cluster needs some seconds to make somebody the member of a group.
const ASSIGNED_WITHIN: Duration = Duration::from_secs(30);
/// A stream without a record for so long is asked no longer. It may be at its end, where the last records of a topic were removed or are none
/// that readers see; or it may be slow. Nobody says which.
const SILENCE: Duration = Duration::from_secs(3);
const RECORDS: usize = 4_096;

/// Reads one topic, as often as it is asked.
pub(super) struct TopicReader {
    subscription: Box<dyn Subscription>,
    partitions: BTreeSet<TopicPartition>,
    decoder: EventDecoder,
    transform: Transform,
    /// Records that are no events that can be read, since the topic was last begun, and why the first of them is none.
    refused: Option<(usize, String)>,
}

/// Which keys are asked for.
pub(super) enum Asked<'a> {
    /// These.
    Keys(&'a BTreeSet<Key>),
    /// All of a slice, as long as what is said of them takes no more than so many bytes; then the slice becomes smaller.
    Slice(&'a mut Slice, usize),
}

/// What a topic says.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The last of each key that was asked for and that it says anything of; `None` where that is a deletion.
    pub(super) last: LastOfKeys,
    /// For each partition that has anything to read, the offset behind the last record that was read.
    pub(super) ends: BTreeMap<TopicPartition, i64>,
    /// Where every partition ended when it was last begun to be read.
    pub(super) known_ends: BTreeMap<TopicPartition, i64>,
    /// Partitions that were not read to the end that they had: nothing came any more. The offset of that end.
    pub(super) unread: BTreeMap<TopicPartition, i64>,
    /// Records were removed from the beginning: rows may be there that it says nothing of.
    pub(super) is_cut: bool,
    /// There is something else that it does not say of the table's rows, or not in an order that means anything.
    pub(super) is_partial: bool,
    /// The table was emptied in between: what is not said since is not there.
    pub(super) is_emptied: bool,
    /// Keys of which something was said since it was read on.
    pub(super) touched: BTreeSet<Key>,
    /// It is read on by now.
    pub(super) is_read_on: bool,
    /// About what `last` takes.
    pub(super) bytes: usize,
    /// Rows are kept as they are.
    pub(super) keeps_rows: bool,
}

// === impl Asked ===

impl Asked<'_> {
    fn has(&self, key: &Key) -> bool {
        match self {
            Self::Keys(keys) => keys.contains(key),
            Self::Slice(slice, _) => slice.has(key),
        }
    }
}

// === impl Said ===

impl Said {
    /// Rows are kept as they are, to be written again.
    pub(super) fn with_rows() -> Self {
        Self {
            keeps_rows: true,
            ..Self::default()
        }
    }

    /// Whether a key that nothing is said of is one that is not there.
    pub(super) fn is_told_of_all(&self) -> bool {
        !self.is_cut || self.is_emptied
    }

    /// Whether it comes to say of every row what the source has.
    pub(super) fn says_everything(&self) -> bool {
        !self.is_cut && !self.is_partial
    }

    /// A partition was read as far as this.
    pub(super) fn reaches(&self, partition: &TopicPartition, offset: i64) -> bool {
        // One that is read to its end may have had nothing to read there.
        let end = self
            .known_ends
            .get(partition)
            .filter(|_| !self.unread.contains_key(partition));
        end.max(self.ends.get(partition)).is_some_and(|end| *end >= offset)
    }

    /// Whether all partitions were read that the target has something of: a key of another one would seem to be none that the topic knows.
    ///
    /// # Errors
    /// Transient `group_waits`.
    pub(super) fn check_partitions(&self, written: &[Offset]) -> Result<()> {
        match missing(written, |partition| self.known_ends.contains_key(partition)) {
            None => Ok(()),
            Some(missing) => Err(group_waits(&format!("has not given partition {missing} to"))),
        }
    }

    fn put(&mut self, change: ChangeView<'_>, (schema, pairing): (&SharedSchema, &Arc<Pairing>), asked: &Asked<'_>) {
        if change.operation() == Operation::Delete {
            let key = change.before().and_then(|row| pairing.event_key_of(row));
            self.delete(key, asked);
            return;
        }
        let Some(after) = change.after() else { return };
        let Some((key, values)) = pairing.event_row(after) else {
            return;
        };
        // A key of the configuration's own may change with the row: then the sink deletes the row of the old key.
        if change.change().before_image == BeforeImage::Full {
            let old = change.before().and_then(|row| pairing.event_key_of(row));
            self.delete(old.filter(|old| *old != key), asked);
        }
        if !asked.has(&key) {
            return;
        }
        let before = self.last.remove(&key).flatten();
        self.bytes -= before.as_ref().map_or(0, weight).min(self.bytes);
        let row = self.keeps_rows.then(|| {
            let before = before.as_ref().and_then(|before| before.row.as_ref());
            EventRow::new(schema, after, before)
        });
        // What did not change is what it was.
        let mut whole = before.map(|before| before.values).unwrap_or_default();
        // What a column had that was dropped since is nothing that the sink would write.
        whole.retain(|column, _| pairing.compares(*column));
        whole.extend(values);
        let told = Told {
            pairing: Arc::clone(pairing),
            values: whole,
            row,
        };
        self.bytes += weight(&told);
        self.touch(&key);
        self.last.insert(key, Some(told));
    }

    fn delete(&mut self, key: Option<Key>, asked: &Asked<'_>) {
        let Some(key) = key.filter(|key| asked.has(key)) else {
            return;
        };
        self.touch(&key);
        let before = self.last.insert(key, None).flatten();
        self.bytes -= before.as_ref().map_or(0, weight).min(self.bytes);
    }

    fn touch(&mut self, key: &Key) {
        if self.is_read_on {
            self.touched.insert(key.clone());
        }
    }

    /// The table was emptied. Records of several partitions have no order between them; where the source is at hand, it knows what is left.
    fn truncate(&mut self, partitions: usize, pairings: &Pairings) -> Result<()> {
        if partitions < 2 {
            self.empty();
            return Ok(());
        }
        if !pairings.as_written {
            self.is_partial = true;
            return Ok(());
        }
        let message = "the source's table was truncated, and the topic has several partitions, which do not say what was before that and what \
                       is behind it; compare with the source: put its connector into the same file";
        Err(Error::definite("truncate_unordered", message))
    }

    fn empty(&mut self) {
        if self.is_read_on {
            self.touched.extend(self.last.keys().cloned());
        }
        self.last.values_mut().for_each(|last| *last = None);
        self.bytes = 0;
        self.is_emptied = true;
    }

    /// Makes the slice smaller until what is said of its keys fits.
    fn fit(&mut self, asked: &mut Asked<'_>) {
        let Asked::Slice(slice, bytes) = asked else {
            return;
        };
        let size = |said: &Self| said.bytes + said.last.len() * KEY_BYTES;
        while size(&*self) > *bytes && slice.halve() {
            self.last.retain(|key, _| slice.has(key));
            self.bytes = self.last.values().flatten().map(weight).sum();
        }
    }
}

/// About what a key takes that nothing more is known of.
const KEY_BYTES: usize = 160;
/// About what a value takes beside its characters.
const VALUE_BYTES: usize = 56;

fn weight(told: &Told) -> usize {
    let values = told.values.values();
    values
        .map(|value| VALUE_BYTES + value.as_ref().map_or(0, String::len))
        .sum()
}

// === impl TopicReader ===

impl TopicReader {
    /// Becomes the one member of a group of its own. `written` is what the target has of the topic: it is not told of without those
    /// partitions.
    ///
    /// # Errors
    /// Transient `group_waits` where the stream does not give all of them to read; what the stream answers.
    pub(super) async fn open(
        stream: &dyn EventStream,
        sink: &SinkPlan,
        (topic, written): (&str, &[Offset]),
        registry: Option<Arc<dyn SchemaRegistry>>,
    ) -> Result<Self> {
        let spec = SubscriptionSpec {
            topics: vec![topic.to_owned()],
            group: format!("{}-verify", sink.subscription.group),
            ..sink.subscription.clone()
        };
        let is_there = stream.topics().await?.iter().any(|known| known == topic);
        let mut reader = Self {
            subscription: stream.subscribe(spec).await?,
            partitions: BTreeSet::new(),
            decoder: sink.decoder(registry)?,
            transform: Transform::new(&sink.transforms, None)?,
            refused: None,
        };
        if is_there {
            reader.wait_for_partitions(topic, written).await?;
        }
        Ok(reader)
    }

    async fn wait_for_partitions(&mut self, topic: &str, written: &[Offset]) -> Result<()> {
        let deadline = Instant::now() + ASSIGNED_WITHIN;
        loop {
            let missing = missing(written, |partition| self.partitions.contains(partition));
            if missing.is_none() && !self.partitions.is_empty() {
                return Ok(());
            }
            match tokio::time::timeout_at(deadline, self.subscription.next(0)).await {
                Ok(delivery) => drop(self.note(delivery?)?),
                Err(_) => {
                    let what = missing.map_or_else(
                        || format!("the topic {topic}"),
                        |missing| format!("partition {missing}"),
                    );
                    return Err(group_waits(&format!("has not given {what} to")));
                }
            }
        }
    }

    /// Takes note of partitions that are given; records are given back.
    ///
    /// # Errors
    /// Transient `group_waits` where partitions are taken away: what they say is not known any more. The group gets them as the reader ends.
    fn note(&mut self, delivery: Delivery) -> Result<Option<RecordBatch>> {
        match delivery {
            Delivery::Assigned(partitions) => self.partitions.extend(partitions),
            Delivery::Revoked(partitions) | Delivery::Lost(partitions) => {
                if let Some(taken) = partitions.iter().find(|taken| self.partitions.contains(*taken)) {
                    return Err(group_waits(&format!("has taken partition {taken} from")));
                }
            }
            Delivery::Records(records) => return Ok(Some(records)),
        }
        Ok(None)
    }

    /// The partitions of the topic.
    pub(super) fn partitions(&self) -> &BTreeSet<TopicPartition> {
        &self.partitions
    }

    /// Reads the topic from its beginning to the end that it has now.
    ///
    /// # Errors
    /// What the stream answers, and records whose schemas cannot be had.
    pub(super) async fn read(
        &mut self,
        mut asked: Asked<'_>,
        mut said: Said,
        with: (&mut SqlSink, &mut Pairings),
    ) -> Result<Said> {
        let bounds = self.begin(&BTreeMap::new()).await?;
        said.is_cut |= bounds.values().any(|(begin, _)| *begin > 0);
        self.read_to(bounds, &mut asked, &mut said, with).await?;
        Ok(said)
    }

    /// Reads on where it has come to, to the end that the topic has now.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) async fn read_on(
        &mut self,
        mut asked: Asked<'_>,
        said: &mut Said,
        with: (&mut SqlSink, &mut Pairings),
    ) -> Result<()> {
        said.touched.clear();
        said.is_read_on = true;
        let bounds = self.begin(&said.ends).await?;
        self.read_to(bounds, &mut asked, said, with).await
    }

    /// Begins to read each partition at its place, or else at its beginning. Gives where that is, and where the partition ends.
    async fn begin(&mut self, places: &BTreeMap<TopicPartition, i64>) -> Result<BTreeMap<TopicPartition, (i64, i64)>> {
        if places.is_empty() {
            self.refused = None;
        }
        let all = |at: &dyn Fn(&TopicPartition) -> StartAt| -> Vec<(TopicPartition, StartAt)> {
            self.partitions
                .iter()
                .map(|partition| (partition.clone(), at(partition)))
                .collect()
        };
        let at_ends = all(&|_| StartAt::Unknown(StartOffset::Latest));
        let at_places = all(&|partition| match places.get(partition) {
            Some(place) => StartAt::Offset(*place),
            None => StartAt::Unknown(StartOffset::Earliest),
        });
        let ends = self.subscription.start(&at_ends).await?;
        let begins = self.subscription.start(&at_places).await?;
        let bounds = self.partitions.iter().cloned().zip(begins.into_iter().zip(ends));
        Ok(bounds.collect())
    }

    async fn read_to(
        &mut self,
        bounds: BTreeMap<TopicPartition, (i64, i64)>,
        asked: &mut Asked<'_>,
        said: &mut Said,
        (session, pairings): (&mut SqlSink, &mut Pairings),
    ) -> Result<()> {
        let mut open = with_records(&bounds);
        said.known_ends = bounds
            .iter()
            .map(|(partition, (_, end))| (partition.clone(), *end))
            .collect();
        for partition in open.keys() {
            let begin = bounds.get(partition).map_or(0, |(begin, _)| *begin);
            said.ends.entry(partition.clone()).or_insert(begin);
        }
        while !open.is_empty() {
            let Ok(delivery) = timeout(SILENCE, self.subscription.next(RECORDS)).await else {
                break;
            };
            let Some(records) = self.note(delivery?)? else {
                continue;
            };
            for record in records.iter() {
                said.ends
                    .insert(record.partition().clone(), record.offset().saturating_add(1));
            }
            close(&mut open, &records);
            let events = self.decode(&records, session).await?;
            self.take(&events, asked, said, pairings)?;
            said.fit(asked);
        }
        said.unread = open;
        said.is_partial |= self.refused.is_some() || pairings.is_unpaired();
        Ok(())
    }

    fn take(&self, events: &ChangeBatch, asked: &Asked<'_>, said: &mut Said, pairings: &mut Pairings) -> Result<()> {
        for change in events.views() {
            let Some(schema) = change.table() else {
                continue;
            };
            if change.operation() == Operation::Truncate {
                if (pairings.is_written_there)(&schema.name) && !pairings.ignores_truncates() {
                    said.truncate(self.partitions.len(), pairings)?;
                }
            } else if change.after().or(change.before()).is_some()
                && let Some(pairing) = pairings.of(schema)
            {
                said.put(change, (schema, &pairing), asked);
            }
        }
        Ok(())
    }

    /// What the first event of the topic is like that has a row; `None` where it has none.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) async fn first(&mut self, session: &mut SqlSink) -> Result<Option<SharedSchema>> {
        let mut open = with_records(&self.begin(&BTreeMap::new()).await?);
        while !open.is_empty() {
            let Ok(delivery) = timeout(SILENCE, self.subscription.next(RECORDS)).await else {
                break;
            };
            let Some(records) = self.note(delivery?)? else {
                continue;
            };
            let events = self.decode(&records, session).await?;
            let mut rows = events.views().filter(|change| change.after().is_some());
            if let Some(schema) = rows.find_map(|change| change.table()) {
                return Ok(Some(Arc::clone(schema)));
            }
            close(&mut open, &records);
        }
        Ok(None)
    }

    async fn decode(&mut self, records: &RecordBatch, session: &mut SqlSink) -> Result<ChangeBatch> {
        let mut targets = TargetsBefore {
            transform: &self.transform,
            targets: session,
        };
        self.decoder.prepare(records, &mut targets).await?;
        let mut events = self.decoder.decode(records, 0..records.len())?;
        if let Some(first) = events.refused.first() {
            let (count, _) = self.refused.get_or_insert_with(|| (0, first.refusal.reason.clone()));
            *count += events.refused.len();
        }
        self.transform.apply(&mut events.changes)?;
        events.changes.check_carried()?;
        Ok(events.changes)
    }

    /// Whether all of the topic's records are events that can be read: without them it does not say what a row is.
    ///
    /// # Errors
    /// Definite `topic_unreadable`.
    pub(super) fn check_records(&self) -> Result<()> {
        let Some((count, reason)) = &self.refused else {
            return Ok(());
        };
        let message = format!(
            "{count} records of the topic cannot be read as events ({reason}), so that what it says last of their rows is not known; compare \
             with the source: put its connector into the same file"
        );
        Err(Error::definite("topic_unreadable", message))
    }
}

/// A partition that the target has something of and that is not known.
fn missing(written: &[Offset], is_known: impl Fn(&TopicPartition) -> bool) -> Option<&TopicPartition> {
    let mut written = written.iter().map(|offset| &offset.partition);
    written.find(|partition| !is_known(partition))
}

/// Why a comparison cannot go on without some of the topic; `what` is the stream's.
pub(super) fn group_waits(what: &str) -> Error {
    let message = format!(
        "the stream {what} the group of this comparison, which is to read the whole topic; is another comparison of the same sink under way, or \
         was the topic made anew with fewer partitions? try again when the other one has ended"
    );
    Error::transient("group_waits", message)
}

/// The partitions that have something to read, and where they end.
fn with_records(bounds: &BTreeMap<TopicPartition, (i64, i64)>) -> BTreeMap<TopicPartition, i64> {
    let open = bounds.iter().filter(|(_, (begin, end))| begin < end);
    open.map(|(partition, (_, end))| (partition.clone(), *end)).collect()
}

/// Takes out the partitions whose end these records have come to.
fn close(open: &mut BTreeMap<TopicPartition, i64>, records: &RecordBatch) {
    for record in records.iter() {
        let behind = record.offset().saturating_add(1);
        if open.get(record.partition()).is_some_and(|end| behind >= *end) {
            open.remove(record.partition());
        }
    }
}

#[cfg(test)]
mod tests;
