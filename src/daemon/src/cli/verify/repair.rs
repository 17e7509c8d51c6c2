//! Repairs, in steps that are tried again where the sink was faster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tailrace_core::error::Kind;
use tailrace_core::record_batch::TopicPartition;
use tailrace_core::{Error, Result};
use tailrace_sql::sink::work::Offset;
use tailrace_sql::verify::pairing::Key;
use tailrace_sql::verify::repair::Place;
use tailrace_sql::verify::table::TableComparison;
use tailrace_sql::verify::told::{Told, ToldComparison};

use super::problem;
use super::settle::Settlement;
use super::stream::{Asked, Said, group_waits};

/// Keys of one transaction: few, because the sink waits meanwhile.
const KEYS_AT_A_TIME: usize = 200;
/// Keys of one reading of a topic: their rows are in memory.
const KEYS_OF_A_READING: usize = 10_000;
/// A sink under load writes every few milliseconds; between two of its transactions there is room for one of ours, now and then.
const ATTEMPTS: usize = 100;
/// What passes by itself, a deadlock with the sink, say, has passed by then.
const ATTEMPTS_AFTER_FAILURE: usize = 5;

/// The target refused these rows, and why.
pub(super) type RefusedRows = BTreeMap<Key, String>;

/// Keys that are to be repaired, some in each transaction.
struct Steps<'a> {
    open: Vec<Vec<Key>>,
    refused: &'a mut RefusedRows,
    /// How often the sink was faster, and how often something else failed, since a step was done.
    outrun: usize,
    failed: usize,
}

// === impl Steps ===

impl<'a> Steps<'a> {
    fn new(keys: &[Key], refused: &'a mut RefusedRows) -> Self {
        Self {
            // The last one is the next.
            open: keys.rchunks(KEYS_AT_A_TIME).map(<[Key]>::to_vec).collect(),
            refused,
            outrun: 0,
            failed: 0,
        }
    }

    fn next(&mut self) -> Option<Vec<Key>> {
        self.open.pop()
    }

    /// What became of a step. What may go well another time is tried again, as long as it is worth it; where a row is refused, the others are
    /// written without it.
    fn note(&mut self, mut keys: Vec<Key>, outcome: Result<()>, topic: &str) -> Result<()> {
        let Err(error) = outcome else {
            (self.outrun, self.failed) = (0, 0);
            return Ok(());
        };
        match error.kind() {
            Kind::Fenced if self.outrun < ATTEMPTS => self.outrun += 1,
            Kind::Fenced => return Err(outrun(topic, error)),
            Kind::Transient if self.failed < ATTEMPTS_AFTER_FAILURE => self.failed += 1,
            Kind::Poison if keys.len() > 1 => self.open.push(keys.split_off(keys.len() / 2)),
            Kind::Poison => {
                let why = problem(&error);
                self.refused.extend(keys.into_iter().map(|key| (key, why.clone())));
                return Ok(());
            }
            Kind::Transient | Kind::Definite => return Err(error),
        }
        self.open.push(keys);
        Ok(())
    }
}

fn outrun(topic: &str, error: Error) -> Error {
    let message = format!(
        "the sink wrote something of {topic} each time that a row was about to be repaired; repair when there is less to do, or while the sink \
         is stopped"
    );
    Error::transient("repair_outrun", message).with_source(error)
}

/// Whether the sink can be kept off every partition while a row is repaired: only what it has taken has a row that can be locked.
fn check_offsets(at_rest: &[Offset], partitions: &BTreeSet<TopicPartition>, topic: &str) -> Result<()> {
    let is_taken = |partition: &&TopicPartition| at_rest.iter().any(|offset| offset.partition == **partition);
    let open = partitions.iter().find(|partition| !is_taken(partition));
    if partitions.is_empty() {
        let message = format!(
            "the topic {topic} is not there, so that nobody can be kept from writing what comes through it while a row is repaired; start the \
             source's connector, which makes it, and the sink, and repair then"
        );
        return Err(Error::transient("topic_missing", message));
    }
    // One that is written and that nobody reads here says what is not known.
    if let Some(offset) = at_rest.iter().find(|offset| !partitions.contains(&offset.partition)) {
        return Err(group_waits(&format!("has not given partition {} to", offset.partition)));
    }
    let Some(partition) = open else { return Ok(()) };
    let message = format!(
        "the sink has not taken partition {partition} yet, so that it cannot be kept from writing of it while a row is repaired; start the sink, \
         and repair when it has"
    );
    Err(Error::transient("partition_not_taken", message))
}

impl Settlement<'_> {
    /// Repairs keys with what the source has, in their order.
    ///
    /// # Errors
    /// Transient `repair_outrun` where the sink was faster every time; where it cannot be kept off; as of every write. What was done by then
    /// is done.
    pub(super) async fn repair(
        &mut self,
        comparison: &mut TableComparison,
        place: &Place,
        keys: &[Key],
        refused: &mut RefusedRows,
    ) -> Result<()> {
        let mut steps = Steps::new(keys, refused);
        while let Some(keys) = steps.next() {
            let at_rest = self.at_rest(&place.topic).await?;
            let asked = keys.iter().cloned().collect();
            let outcome = comparison.repair(self.session, place, &at_rest, &asked).await;
            steps.note(keys, outcome, &place.topic)?;
        }
        Ok(())
    }

    /// Repairs keys with what the topic says last of them, in their order.
    ///
    /// # Errors
    /// As of [`Self::repair`]; transient `topic_unread` where the topic is not read to its end.
    pub(super) async fn repair_told(
        &mut self,
        comparison: &mut ToldComparison,
        place: &Place,
        keys: &[Key],
        refused: &mut RefusedRows,
    ) -> Result<()> {
        for keys in keys.chunks(KEYS_OF_A_READING) {
            let asked: BTreeSet<Key> = keys.iter().cloned().collect();
            let with = (&mut *self.session, &mut *self.pairings);
            let mut said = self.topic.read(Asked::Keys(&asked), Said::with_rows(), with).await?;
            let mut steps = Steps::new(keys, refused);
            while let Some(keys) = steps.next() {
                let at_rest = self.at_rest(&place.topic).await?;
                self.catch_up(&mut said, &at_rest, &asked).await?;
                let rows = sayable(&keys, &said);
                let outcome = comparison.repair(self.session, place, &at_rest, &rows).await;
                steps.note(keys, outcome, &place.topic)?;
            }
        }
        Ok(())
    }

    async fn at_rest(&mut self, topic: &Arc<str>) -> Result<Vec<Offset>> {
        let at_rest = self.session.written_of(topic).await?;
        check_offsets(&at_rest, self.topic.partitions(), topic)?;
        Ok(at_rest)
    }

    /// What is written must not be older than what the target has: reads on where the sink was faster.
    async fn catch_up(&mut self, said: &mut Said, at_rest: &[Offset], asked: &BTreeSet<Key>) -> Result<()> {
        if unread(said, at_rest).is_some() {
            let with = (&mut *self.session, &mut *self.pairings);
            self.topic.read_on(Asked::Keys(asked), said, with).await?;
        }
        self.topic.check_records()?;
        match unread(said, at_rest) {
            None => Ok(()),
            Some(partition) => {
                let message = format!(
                    "partition {partition} gave nothing any more before its end, or ends before what the sink has written of it, so that what it \
                     says last is not known; is the stream slow? try again"
                );
                Err(Error::transient("topic_unread", message))
            }
        }
    }
}

/// A partition that is not read to its end, or not as far as it is written.
fn unread<'a>(said: &'a Said, at_rest: &'a [Offset]) -> Option<&'a TopicPartition> {
    let is_open = |offset: &&Offset| {
        let next = offset.next_offset;
        next.is_some_and(|next| !said.reaches(&offset.partition, next))
    };
    let behind = at_rest.iter().find(is_open).map(|offset| &offset.partition);
    behind.or_else(|| said.unread.keys().next())
}

/// What is to be written of keys: nothing where the topic has lost what it said of them.
fn sayable<'a>(keys: &'a [Key], said: &'a Said) -> BTreeMap<&'a Key, Option<&'a Told>> {
    let known = keys
        .iter()
        .filter(|key| said.is_told_of_all() || said.last.contains_key(*key));
    known
        .map(|key| (key, said.last.get(key).and_then(Option::as_ref)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(count: i32) -> BTreeSet<TopicPartition> {
        (0..count).map(|number| TopicPartition::new("orders", number)).collect()
    }

    fn offset(partition: i32, next_offset: Option<i64>) -> Offset {
        Offset {
            partition: TopicPartition::new("orders", partition),
            next_offset,
            last_record: None,
            epoch: 1,
        }
    }

    #[test]
    fn a_partition_that_cannot_be_locked_keeps_from_repairs() {
        let check = |at_rest: &[Offset], count| check_offsets(at_rest, &partitions(count), "orders");
        check(&[offset(0, Some(5)), offset(1, None)], 2).unwrap();
        let refused = check(&[offset(0, Some(5))], 2).unwrap_err();
        assert_eq!(
            (refused.code(), refused.kind()),
            ("partition_not_taken", Kind::Transient)
        );
        assert!(refused.report().contains("partition orders-1"), "{}", refused.report());
        assert_eq!(check(&[], 0).unwrap_err().code(), "topic_missing");
        let other = check(&[offset(0, Some(5)), offset(1, Some(5))], 1).unwrap_err();
        assert_eq!((other.code(), other.kind()), ("group_waits", Kind::Transient));
    }

    #[test]
    fn a_topic_must_be_read_as_far_as_it_is_written() {
        let partition = TopicPartition::new("orders", 0);
        let mut said = Said::default();
        said.ends.insert(partition.clone(), 5);
        said.known_ends.insert(partition.clone(), 5);
        let is_read = |said: &Said, next| unread(said, &[offset(0, next)]).is_none();
        assert!(is_read(&said, Some(5)) && is_read(&said, None));
        assert!(!is_read(&said, Some(6)));
        said.known_ends.insert(partition.clone(), 9);
        assert!(
            is_read(&said, Some(9)),
            "nothing is there between what was read and the end"
        );
        said.unread.insert(partition, 9);
        assert!(!is_read(&said, Some(5)) && !is_read(&said, None));
        assert!(
            unread(&Said::default(), &[offset(1, Some(1))]).is_some(),
            "a partition that nobody reads"
        );
    }

    #[test]
    fn what_the_topic_has_lost_is_not_written() {
        let keys = vec![vec!["1".to_owned()], vec!["2".to_owned()]];
        let mut said = Said {
            is_cut: true,
            ..Said::default()
        };
        said.last.insert(vec!["1".to_owned()], None);
        let written: Vec<_> = sayable(&keys, &said).into_keys().cloned().collect();
        assert_eq!(written, [vec!["1".to_owned()]], "the other one is not known to be gone");
        said.is_cut = false;
        assert_eq!(sayable(&keys, &said).len(), 2);
    }

    fn keys(count: usize) -> Vec<Key> {
        (0..count).map(|number| vec![format!("{number:04}")]).collect()
    }

    #[test]
    fn a_step_is_tried_again_as_often_as_it_is_worth() {
        for (kind, attempts, code) in [
            (Kind::Fenced, ATTEMPTS, "repair_outrun"),
            (Kind::Transient, ATTEMPTS_AFTER_FAILURE, "moved_on"),
        ] {
            let failure = || match kind {
                Kind::Fenced => Error::fenced("moved_on", "the sink wrote"),
                _ => Error::transient("moved_on", "the sink wrote"),
            };
            let mut refused = RefusedRows::new();
            let mut steps = Steps::new(&keys(3), &mut refused);
            for _ in 0..attempts {
                let step = steps.next().unwrap();
                steps.note(step, Err(failure()), "orders").unwrap();
            }
            let step = steps.next().unwrap();
            let given_up = steps.note(step, Err(failure()), "orders");
            assert_eq!(given_up.unwrap_err().code(), code);
        }
    }

    #[test]
    fn a_row_that_is_refused_keeps_no_other_from_being_written() {
        let mut refused = RefusedRows::new();
        let mut steps = Steps::new(&keys(500), &mut refused);
        let bad = vec!["0217".to_owned()];
        let mut written = BTreeSet::new();
        while let Some(step) = steps.next() {
            let outcome = if step.contains(&bad) {
                Err(Error::poison("row_refused", "it is too long"))
            } else {
                written.extend(step.iter().cloned());
                Ok(())
            };
            steps.note(step, outcome, "orders").unwrap();
        }
        assert_eq!(written.len(), 499);
        assert_eq!(refused.into_keys().collect::<Vec<_>>(), [bad]);
    }
}
