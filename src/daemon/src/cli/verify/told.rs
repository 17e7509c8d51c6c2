//! Comparing a target with what its topics say, where the sources are not at hand.
//!
//! ```text
//!   the topic, to its end, a slice of its keys at a time ─▶ the target's rows of these keys ─▶ keys that differ
//!   the topic ─▶ the sink has written all of that ─▶ the target's rows ─▶ the topic, on from there ─▶ nothing new of the key: drift
//! ```
//!
//! What the sink writes between two looks it has from the topic, so that a row that differs, and of which the topic says nothing new behind
//! the look, is one that the sink did not write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tailrace_core::ports::StartOffset;
use tailrace_core::ports::sink::TOPIC_REWOUND;
use tailrace_core::record_batch::TopicPartition;
use tailrace_core::schema::SharedSchema;
use tailrace_core::{Error, Result};
use tailrace_sql::sink::work::Offset;
use tailrace_sql::verify::pairing::{Key, Pairing};
use tailrace_sql::verify::reader::{Side, TableReader};
use tailrace_sql::verify::repair::Place;
use tailrace_sql::verify::table::{Difference, Look, Reach, Tally, TargetRows};
use tailrace_sql::verify::told::ToldComparison;

use super::compared::Compared;
use super::pairings::Pairings;
use super::report::TableReport;
use super::settle::{LOOK_INTERVAL, Settled, Settlement};
use super::slice::Slice;
use super::stream::{Asked, Said, TopicReader};
use super::{Sides, VerifyArguments, problem, table_missing};

const MEGABYTE: usize = 1024 * 1024;
/// Rows of the target that are held at a time; of those that differ, what is compared is kept.
const ROWS_AT_A_TIME: usize = 1_000;

impl Sides<'_> {
    /// Compares the tables that a topic is written into. A topic that is not about rows is none of ours.
    pub(super) async fn compare_topic(&mut self, topic: &Arc<str>, arguments: &VerifyArguments) -> Vec<TableReport> {
        let mut reports = Vec::new();
        if let Err(error) = self.try_topic(topic, arguments, &mut reports).await {
            let mut report = TableReport::of_topic(topic);
            report.problem = Some(problem(&error));
            reports.push(report);
        }
        reports
    }

    async fn try_topic(
        &mut self,
        topic: &Arc<str>,
        arguments: &VerifyArguments,
        reports: &mut Vec<TableReport>,
    ) -> Result<()> {
        if self.sink.start == StartOffset::Latest {
            let message = format!(
                "`{}` begins a topic at its end (`start: latest`), so that the target does not have what the topic said before; compare with the \
                 source: put its connector into the same file, and leave out --stream",
                self.sink.name
            );
            return Err(Error::definite("topic_not_written", message));
        }
        let mut reader = self.topic(topic).await?;
        let mut found: Vec<SharedSchema> = reader.first(&mut self.session).await?.into_iter().collect();
        reader.check_records()?;
        let written = self.target.rules().table_of_topic(topic);
        if found.is_empty() && self.session.named_table(&written).await?.is_some() {
            let message = format!(
                "the topic {topic} says nothing of any row, and table {written} of the target cannot be compared with nothing; has the \
                 source's connector published its rows?"
            );
            return Err(Error::definite("topic_silent", message));
        }
        let mut compared = BTreeSet::new();
        while let Some(schema) = found.pop() {
            let written = self.target.rules().table_of_events(topic, &schema.name);
            if !compared.insert(written.clone()) {
                continue;
            }
            let mut report = TableReport::of_topic(topic);
            let mut pairings = self.pairings_of_topic(topic, (&schema, &written));
            let table = ToldTable {
                topic,
                schema: &schema,
                written: &written,
            };
            let outcome = self
                .try_table(&table, (&mut reader, &mut pairings), arguments, &mut report)
                .await;
            if let Err(error) = outcome {
                report.problem = Some(problem(&error));
            }
            reports.push(report);
            found.append(&mut pairings.others);
        }
        Ok(())
    }

    fn pairings_of_topic(&self, topic: &Arc<str>, (schema, written): (&SharedSchema, &str)) -> Pairings {
        let rules = Arc::clone(self.target.rules());
        let (topic, written) = (Arc::clone(topic), written.to_owned());
        let is_written_there = move |name: &_| rules.table_of_events(&topic, name) == written;
        let mut pairings = Pairings::new(Arc::clone(schema), self.target.rules().config(), is_written_there);
        pairings.as_written = true;
        pairings
    }

    async fn try_table(
        &mut self,
        table: &ToldTable<'_>,
        (reader, pairings): (&mut TopicReader, &mut Pairings),
        arguments: &VerifyArguments,
        report: &mut TableReport,
    ) -> Result<()> {
        let mut comparison = self.told_comparison(table, &mut *pairings, arguments, report).await?;
        let tally = self
            .walk_told(&mut comparison, (&mut *reader, &mut *pairings), arguments)
            .await?;
        report.count(&tally);
        report.left_out = pairings.left_out();
        if tally.suspects.is_empty() {
            return Ok(());
        }
        let place = Place {
            topic: Arc::clone(table.topic),
            source: table.schema.name.clone(),
        };
        let mut settlement = self.settlement((reader, pairings), arguments);
        let mut compared = Compared::Topic(&mut comparison);
        compared
            .conclude(&mut settlement, tally.suspects, (&place, arguments), report)
            .await
    }

    async fn told_comparison(
        &mut self,
        table: &ToldTable<'_>,
        pairings: &mut Pairings,
        arguments: &VerifyArguments,
        report: &mut TableReport,
    ) -> Result<ToldComparison> {
        let config = self.target.rules().config().clone();
        let name = self.session.table_name(table.written);
        let found = self.session.named_table(table.written).await?;
        let found = found.ok_or_else(|| table_missing(&name.qualified(), table.topic))?;
        let reach = Reach {
            chunk_rows: arguments.chunk_rows,
            is_shared: self.is_shared(table.topic, &name),
        };
        report.target = found.name().qualified();
        report.is_shared = reach.is_shared;
        let reader =
            TableReader::open(self.target.read(found.name()).await?, &found.name().table, Side::Target).await?;
        let target = TargetRows::new(reader, &config);
        let pairing = Arc::new(Pairing::new(table.schema, target.schema(), &config)?);
        pairings.target = SharedSchema::clone(target.schema());
        pairings.known = Some(Arc::clone(&pairing));
        Ok(ToldComparison::new(target, pairing, &config, reach))
    }

    /// Reads the topic as often as what it says needs memory, and the target as often.
    async fn walk_told(
        &mut self,
        comparison: &mut ToldComparison,
        (reader, pairings): (&mut TopicReader, &mut Pairings),
        arguments: &VerifyArguments,
    ) -> Result<Tally> {
        let bytes = arguments.memory_mb.max(1).saturating_mul(MEGABYTE);
        let mut tally = Tally::default();
        let mut next = Some(Slice::default());
        while let Some(mut slice) = next {
            let with = (&mut self.session, &mut *pairings);
            let said = reader
                .read(Asked::Slice(&mut slice, bytes), Said::default(), with)
                .await?;
            reader.check_records()?;
            pairings.check()?;
            let is_told_of = said.is_told_of_all();
            comparison
                .walk(said.last, |key| slice.has(key), is_told_of, &mut tally)
                .await?;
            next = slice.next();
        }
        Ok(tally)
    }
}

/// A table that a topic is written into.
struct ToldTable<'a> {
    topic: &'a Arc<str>,
    /// Of one of its events.
    schema: &'a SharedSchema,
    /// Its name in the target, as the configuration would have it.
    written: &'a str,
}

impl Settlement<'_> {
    /// Looks at keys until each is one thing or the other, or the time is over.
    ///
    /// # Errors
    /// What the target and the stream answer.
    pub(super) async fn settle_told(
        &mut self,
        comparison: &mut ToldComparison,
        keys: BTreeSet<Key>,
    ) -> Result<Settled> {
        let mut settled = Settled::default();
        let mut open = keys;
        loop {
            let with = (&mut *self.session, &mut *self.pairings);
            let mut said = self.topic.read(Asked::Keys(&open), Said::default(), with).await?;
            let has_passed = self.wait_for_sink(&said).await?;
            let differing = differing(comparison, &open, &said, &mut settled).await?;
            let written = match self.topic.partitions().first() {
                Some(partition) => self.session.written_of(&partition.topic).await?,
                None => Vec::new(),
            };
            // What is said meanwhile may be what the target has by now.
            let with = (&mut *self.session, &mut *self.pairings);
            self.topic.read_on(Asked::Keys(&open), &mut said, with).await?;
            self.topic.check_records()?;
            self.pairings.check()?;
            said.check_partitions(&written)?;
            check_ends(&written, &said.known_ends)?;
            settled.is_unread = !said.unread.is_empty();
            let is_over = self.is_over();
            open.clear();
            for (key, (difference, look)) in differing {
                let has_changed = said.touched.contains(&key);
                match (has_passed, has_changed || settled.is_unread) {
                    (false, _) => drop(settled.unwritten.insert(key, difference)),
                    (true, false) => drop(settled.drift.insert(key, (difference, look))),
                    (true, true) if !is_over => drop(open.insert(key)),
                    (true, true) if has_changed => drop(settled.changing.insert(key, difference)),
                    (true, true) => drop(settled.unpublished.insert(key, difference)),
                }
            }
            if open.is_empty() {
                return Ok(settled);
            }
            // Whoever publishes is another process, and tells nobody here when it has done so.
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// Whether the target is of this very topic: one that ends before what was written of it is another one.
fn check_ends(written: &[Offset], ends: &BTreeMap<TopicPartition, i64>) -> Result<()> {
    let is_beyond = |offset: &&Offset| {
        let end = ends.get(&offset.partition);
        end.is_some_and(|end| offset.next_offset > Some(*end))
    };
    let Some(beyond) = written.iter().find(is_beyond) else {
        return Ok(());
    };
    let message = format!(
        "partition {} ends before what the sink has written of it: the topic was deleted and created again, or lost its end; what the target has is \
         of the topic before, and cannot be compared with this one",
        beyond.partition
    );
    Err(Error::definite(TOPIC_REWOUND, message))
}

/// The keys that differ at this look; the others were lag, or are not told of.
async fn differing(
    comparison: &mut ToldComparison,
    keys: &BTreeSet<Key>,
    said: &Said,
    settled: &mut Settled,
) -> Result<BTreeMap<Key, (Difference, Look)>> {
    let wanted: Vec<&Key> = keys.iter().collect();
    let mut differing = BTreeMap::new();
    for wanted in wanted.chunks(ROWS_AT_A_TIME) {
        let batches = comparison.rows(wanted).await?;
        let rows = comparison.by_key(&batches);
        for key in wanted.iter().copied() {
            let told = said.last.get(key);
            let row = rows.get(key).copied();
            match comparison.difference(told.and_then(Option::as_ref), row) {
                None => drop(settled.caught_up.insert(key.clone())),
                Some(_) if told.is_none() && !said.is_told_of_all() => drop(settled.untold.insert(key.clone())),
                Some(found) => drop(differing.insert(key.clone(), found)),
            }
        }
    }
    Ok(differing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_ends_before_what_was_written_is_another_one() {
        let partition = TopicPartition::new("orders", 0);
        let written = |next_offset| Offset {
            partition: partition.clone(),
            next_offset,
            last_record: None,
            epoch: 1,
        };
        let check = |next_offset, end| check_ends(&[written(next_offset)], &BTreeMap::from([(partition.clone(), end)]));
        check(Some(5), 5).unwrap();
        check(Some(4), 5).unwrap();
        check(None, 0).unwrap();
        assert_eq!(check(Some(6), 5).unwrap_err().code(), TOPIC_REWOUND);
    }
}
