//! Lag or drift: what becomes of keys that differed at the first look.
//!
//! ```text
//!   both rows ─▶ the topic, to its end ─▶ the sink has written all of that ─▶ both rows again ─▶ equal: it was lag
//!                                       └ not in time: lag                                 └▶ the topic says what the origin has: drift
//!                                                                                          └▶ it says something else: not published yet, lag
//! ```
//!
//! A row that changes between the two looks is looked at again, until the time is over; then it is called changing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tailrace_core::Result;
use tailrace_sql::sink::SqlSink;
use tailrace_sql::verify::pairing::{Key, Values};
use tailrace_sql::verify::table::{Difference, Look, TableComparison};
use tokio::time::Instant;

use super::pairings::Pairings;
use super::stream::{Asked, Said, TopicReader};

/// How often is looked whether somebody has come further: sources and sinks are other processes, and neither a topic nor a table of offsets
/// tells a reader that it has changed. Soon enough for a person who waits, rarely enough for two databases in use.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What it takes to tell lag from drift.
pub(super) struct Settlement<'a> {
    /// The topic that the rows come through.
    pub(super) topic: &'a mut TopicReader,
    /// Which of its events are about the table.
    pub(super) pairings: &'a mut Pairings,
    /// The source publishes the rows that it had when it was first read.
    pub(super) has_snapshot: bool,
    /// A session of the target.
    pub(super) session: &'a mut SqlSink,
    /// How long others are waited for.
    pub(super) wait: Duration,
    /// Until when, once the topic was read for the first time: that may take longer.
    pub(super) deadline: Option<Instant>,
}

/// What became of the keys.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// They were equal at a later look.
    pub(super) caught_up: BTreeSet<Key>,
    /// The sink has not written them yet.
    pub(super) unwritten: BTreeMap<Key, Difference>,
    /// The source has not published them yet.
    pub(super) unpublished: BTreeMap<Key, Difference>,
    /// They were other ones at every look.
    pub(super) changing: BTreeMap<Key, Difference>,
    /// The target is not what it should be.
    pub(super) drift: BTreeMap<Key, (Difference, Look)>,
    /// Rows of the target of which the topic says nothing, having lost its beginning.
    pub(super) untold: BTreeSet<Key>,
    /// The topic was not read to its end, in one partition at least: what differs may be lag whatever else is known.
    pub(super) is_unread: bool,
}

/// What a key is at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Drift,
    /// The topic, which does not say everything, does not say that it is so: drift, unless it comes to say it in time.
    Unsaid,
    Unpublished,
    Changing,
}

// === impl Settled ===

impl Settled {
    /// The keys that drifted, those whose rows are to be deleted before all others: to the target two keys may be one, and what was deleted
    /// under one of them is then written under the other, and not the other way round.
    pub(super) fn in_order_of_repair(&self) -> Vec<Key> {
        let is_extra = |found: &(Difference, Look)| found.0 == Difference::Extra;
        let deleted = self.drift.iter().filter(|(_, found)| is_extra(found));
        let written = self.drift.iter().filter(|(_, found)| !is_extra(found));
        deleted.chain(written).map(|(key, _)| key.clone()).collect()
    }

    /// Takes over what became of drift that was to be repaired; gives what is equal now.
    pub(super) fn take_over(&mut self, after: Self) -> BTreeSet<Key> {
        let lagging = [
            (after.unwritten, &mut self.unwritten),
            (after.unpublished, &mut self.unpublished),
            (after.changing, &mut self.changing),
        ];
        for (found, known) in lagging {
            self.drift.retain(|key, _| !found.contains_key(key));
            known.extend(found);
        }
        self.drift.retain(|key, _| !after.untold.contains(key));
        self.untold.extend(after.untold);
        self.drift.extend(after.drift);
        self.is_unread |= after.is_unread;
        after.caught_up
    }
}

// === impl Settlement ===

impl Settlement<'_> {
    /// Looks at keys until each is one thing or the other, or the time is over.
    ///
    /// # Errors
    /// What the databases and the stream answer.
    pub(super) async fn settle(&mut self, comparison: &mut TableComparison, keys: BTreeSet<Key>) -> Result<Settled> {
        let mut settled = Settled::default();
        let mut open = keys;
        loop {
            let first = self.still_different(comparison, &open, &mut settled).await?;
            open = first.keys().cloned().collect();
            if open.is_empty() {
                return Ok(settled);
            }
            let mut said = self
                .topic
                .read(
                    Asked::Keys(&open),
                    Said::default(),
                    (&mut *self.session, &mut *self.pairings),
                )
                .await?;
            said.is_partial |= !self.has_snapshot;
            settled.is_unread = !said.unread.is_empty();
            let has_passed = self.wait_for_sink(&said).await?;
            let second = self.still_different(comparison, &open, &mut settled).await?;
            let is_over = self.is_over();
            open.clear();
            for (key, look) in second {
                let Some(difference) = comparison.difference(&look) else {
                    continue;
                };
                let before = first.get(&key).cloned().unwrap_or_default();
                let verdict = judge(&key, (&before, &look), &difference, &said);
                match verdict {
                    _ if !has_passed => drop(settled.unwritten.insert(key, difference)),
                    Verdict::Drift => drop(settled.drift.insert(key, (difference, look))),
                    _ if !is_over => drop(open.insert(key)),
                    Verdict::Unsaid => drop(settled.drift.insert(key, (difference, look))),
                    Verdict::Unpublished => drop(settled.unpublished.insert(key, difference)),
                    Verdict::Changing => drop(settled.changing.insert(key, difference)),
                }
            }
            if !open.is_empty() {
                // The source's connector is another process, which tells nobody here that it has published something.
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        }
    }

    /// The keys that differ at this look; the others were lag.
    async fn still_different(
        &mut self,
        comparison: &mut TableComparison,
        keys: &BTreeSet<Key>,
        settled: &mut Settled,
    ) -> Result<BTreeMap<Key, Look>> {
        let mut looks = comparison.look(keys).await?;
        looks.retain(|key, look| {
            let differs = comparison.difference(look).is_some();
            if !differs {
                settled.caught_up.insert(key.clone());
            }
            differs
        });
        Ok(looks)
    }

    /// Nobody is waited for any longer.
    pub(super) fn is_over(&mut self) -> bool {
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + self.wait);
        Instant::now() >= deadline
    }

    /// True as soon as the sink has written all that the topic had.
    pub(super) async fn wait_for_sink(&mut self, said: &Said) -> Result<bool> {
        let Some(topic) = said.ends.keys().next().map(|partition| Arc::clone(&partition.topic)) else {
            return Ok(true);
        };
        loop {
            let written = self.session.written_of(&topic).await?;
            said.check_partitions(&written)?;
            let has = |(partition, end): (&_, &i64)| {
                let written = written.iter().find(|offset| offset.partition == *partition);
                written.and_then(|offset| offset.next_offset) >= Some(*end)
            };
            if said.ends.iter().all(has) {
                return Ok(true);
            }
            if self.is_over() {
                return Ok(false);
            }
            // The sink is another process, and its target tells nobody that its offsets have moved.
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// What a key is that differed at two looks, the topic having been read and written in between.
fn judge(key: &Key, (before, now): (&Look, &Look), difference: &Difference, said: &Said) -> Verdict {
    if before != now {
        return Verdict::Changing;
    }
    // What was not read may say why.
    if !said.unread.is_empty() {
        return Verdict::Unpublished;
    }
    match (said.last.get(key), difference) {
        (None, _) if !said.says_everything() => Verdict::Unsaid,
        // Whatever the row is to be, the target should have one; or should have none.
        (Some(Some(_)), Difference::Missing) | (Some(None) | None, Difference::Extra) => Verdict::Drift,
        (Some(Some(event)), Difference::Different(columns)) if is_published(columns, &event.values, &now.origin) => {
            Verdict::Drift
        }
        // What it says is older than what the source has, which it may never come to say.
        _ if !said.says_everything() => Verdict::Unsaid,
        _ => Verdict::Unpublished,
    }
}

/// The event says what one of these columns is, and the target has something else; or it says nothing of any. Other columns may have another
/// form in the events.
fn is_published(columns: &[usize], event: &Values, origin: &Option<Values>) -> bool {
    let Some(origin) = origin else { return false };
    let says = |column: &usize| event.get(column).map(|said| origin.get(column) == Some(said));
    let mut said = columns.iter().filter_map(says).peekable();
    said.peek().is_none() || said.any(|is_same| is_same)
}

#[cfg(test)]
mod tests {
    use tailrace_core::record_batch::TopicPartition;
    use tailrace_core::schema::{Column, TableKind, TableSchema};
    use tailrace_core::value::LogicalType;
    use tailrace_sql::sink::SinkRules;
    use tailrace_sql::sink::config::WriteConfig;
    use tailrace_sql::verify::pairing::Pairing;
    use tailrace_sql::verify::told::Told;

    use super::*;

    fn values(text: &str) -> Values {
        Values::from([(1, Some(text.to_owned()))])
    }

    fn look(origin: Option<&str>, target: Option<&str>) -> Look {
        Look {
            origin: origin.map(values),
            target: target.map(values),
        }
    }

    fn difference(look: &Look) -> Difference {
        match (&look.origin, &look.target) {
            (Some(_), None) => Difference::Missing,
            (None, _) => Difference::Extra,
            (Some(_), Some(_)) => Difference::Different(vec![1]),
        }
    }

    fn pairing() -> Arc<Pairing> {
        let column = |name: &str| Column {
            nullable: false,
            ..Column::new(name, LogicalType::Int64)
        };
        let schema = Arc::new(TableSchema {
            name: SinkRules::source_of_topic("shop.public.orders"),
            kind: TableKind::Table,
            columns: ["id", "note"].map(column).to_vec(),
            key: vec![0],
            documentation: None,
        });
        Arc::new(Pairing::new(&schema, &schema, &WriteConfig::default()).unwrap())
    }

    fn told(text: &str) -> Told {
        Told {
            pairing: pairing(),
            values: values(text),
            row: None,
        }
    }

    fn said(last: Option<Option<&str>>, is_cut: bool) -> Said {
        Said {
            last: last.map(|last| (key(), last.map(told))).into_iter().collect(),
            is_cut,
            ..Said::default()
        }
    }

    fn key() -> Key {
        vec!["7".to_owned()]
    }

    #[test]
    fn a_row_that_changed_in_between_is_no_drift() {
        let (before, now) = (look(Some("a"), Some("b")), look(Some("c"), Some("b")));
        let different = Difference::Different(vec![1]);
        let of = |now: &Look, last| judge(&key(), (&before, now), &different, &said(Some(Some(last)), false));
        assert_eq!(of(&now, "c"), Verdict::Changing);
        assert_eq!(of(&look(Some("a"), Some("d")), "a"), Verdict::Changing);
    }

    #[test]
    fn the_topic_tells_drift_from_what_is_not_published_yet() {
        let of = |look: Look, said: Said| judge(&key(), (&look, &look), &difference(&look), &said);
        let changed = || look(Some("new"), Some("old"));
        assert_eq!(of(changed(), said(Some(Some("new")), false)), Verdict::Drift);
        assert_eq!(of(changed(), said(Some(Some("old")), false)), Verdict::Unpublished);
        assert_eq!(of(changed(), said(None, false)), Verdict::Unpublished);
        assert_eq!(of(changed(), said(None, true)), Verdict::Unsaid);
        let extra = || look(None, Some("old"));
        assert_eq!(of(extra(), said(None, false)), Verdict::Drift);
        assert_eq!(of(extra(), said(None, true)), Verdict::Unsaid);
        assert_eq!(of(extra(), said(Some(None), false)), Verdict::Drift);
        assert_eq!(of(extra(), said(Some(Some("old")), false)), Verdict::Unpublished);
        let missing = || look(Some("new"), None);
        assert_eq!(of(missing(), said(Some(Some("new")), false)), Verdict::Drift);
        assert_eq!(
            of(missing(), said(Some(Some("old")), false)),
            Verdict::Drift,
            "whatever it is, it is not there"
        );
        assert_eq!(of(missing(), said(Some(None), false)), Verdict::Unpublished);
    }

    #[test]
    fn a_topic_that_does_not_say_everything_is_waited_for_and_not_believed() {
        let of = |look: Look, last: Option<Option<&str>>| {
            let partial = Said {
                is_partial: true,
                ..said(last, false)
            };
            judge(&key(), (&look, &look), &difference(&look), &partial)
        };
        let (changed, missing) = (|| look(Some("new"), Some("old")), look(Some("new"), None));
        assert_eq!(of(changed(), None), Verdict::Unsaid);
        assert_eq!(of(changed(), Some(Some("old"))), Verdict::Unsaid);
        assert_eq!(of(changed(), Some(Some("new"))), Verdict::Drift);
        assert_eq!(of(missing.clone(), None), Verdict::Unsaid);
        assert_eq!(of(missing, Some(None)), Verdict::Unsaid);
        let extra = || look(None, Some("old"));
        assert_eq!(of(extra(), None), Verdict::Unsaid, "the snapshot may be what it lacks");
        assert_eq!(of(extra(), Some(Some("old"))), Verdict::Unsaid, "or the truncate");
    }

    #[test]
    fn nothing_is_drift_while_the_topic_was_not_read_to_its_end() {
        let mut said = said(Some(Some("new")), false);
        let now = look(Some("new"), Some("old"));
        let judge = |said: &Said| judge(&key(), (&now, &now), &difference(&now), said);
        assert_eq!(judge(&said), Verdict::Drift);
        said.unread.insert(TopicPartition::new("orders", 1), 7);
        assert_eq!(judge(&said), Verdict::Unpublished);
    }

    #[test]
    fn rows_are_deleted_before_any_is_written() {
        let settled = Settled {
            drift: [
                ("A", Difference::Missing),
                ("a", Difference::Extra),
                ("b", Difference::Different(vec![1])),
                ("c", Difference::Extra),
            ]
            .into_iter()
            .map(|(key, difference)| (vec![key.to_owned()], (difference, Look::default())))
            .collect(),
            ..Settled::default()
        };
        assert_eq!(settled.in_order_of_repair().concat(), ["a", "c", "A", "b"]);
    }

    #[test]
    fn only_what_is_equal_after_a_repair_is_repaired() {
        let drift = |numbers: &[&str]| Settled {
            drift: numbers
                .iter()
                .map(|number| (vec![(*number).to_owned()], (Difference::Missing, Look::default())))
                .collect(),
            ..Settled::default()
        };
        let key = |number: &str| vec![number.to_owned()];
        let mut settled = drift(&["1", "2", "3"]);
        let after = Settled {
            caught_up: BTreeSet::from([key("1")]),
            unwritten: BTreeMap::from([(key("3"), Difference::Missing)]),
            ..drift(&["2"])
        };
        assert_eq!(settled.take_over(after), BTreeSet::from([key("1")]));
        let drifted: Vec<Key> = settled.drift.into_keys().collect();
        assert_eq!(drifted, [key("1"), key("2")], "the repaired and the stubborn one");
        assert!(settled.unwritten.contains_key(&key("3")), "lag by now");
    }

    #[test]
    fn an_event_is_believed_in_the_columns_that_differ() {
        let origin = Some(Values::from([
            (1, Some("a".to_owned())),
            (2, None),
            (3, Some("1.5".to_owned())),
        ]));
        let event = Values::from([(1, Some("a".to_owned())), (3, Some("1.50".to_owned()))]);
        let is_published = |columns: &[usize]| is_published(columns, &event, &origin);
        assert!(
            is_published(&[1]) && is_published(&[1, 3]),
            "another form in column 3 is nothing to column 1"
        );
        assert!(!is_published(&[3]));
        assert!(is_published(&[2]), "the event says nothing of it");
        assert!(!is_published(&[2, 3]));
    }
}
