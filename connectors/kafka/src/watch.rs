//! Notices that a topic is not what it was: partitions were added, or it was deleted and created again.
//!
//! Neither stops anything: where keys go after that and what became of the old events is the operator's to know, so
//! each change is said once, loudly. Both looks are cheap: one metadata request a second while records flow, whatever
//! the number of topics, and one comparison of offsets a batch.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::client::Client;

use crate::producer::DeliveryContext;
use crate::topics::{Shared, TopicFacts};

/// One topic is looked at so often, in turn.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A broker that acknowledges records answers this question within milliseconds; otherwise it is asked another time.
const LOOK_TIMEOUT: Duration = Duration::from_millis(500);

/// Topics that records were sent to, looked at in turn.
#[derive(Debug)]
pub(crate) struct PartitionWatch {
    known: HashSet<Arc<str>>,
    turn: Vec<Arc<str>>,
    next: usize,
    looked: Instant,
    acknowledged: u64,
}

/// The newest offset of each partition, sampled.
#[derive(Debug, Default)]
pub(crate) struct OffsetWatch {
    newest: HashMap<String, HashMap<i32, i64>>,
}

// === impl PartitionWatch ===

impl PartitionWatch {
    /// Nothing is watched yet.
    pub(crate) fn new() -> Self {
        Self {
            known: HashSet::new(),
            turn: Vec::new(),
            next: 0,
            looked: Instant::now(),
            acknowledged: 0,
        }
    }

    /// Records go to these topics.
    pub(crate) fn add(&mut self, topics: &[Arc<str>]) {
        for topic in topics {
            if self.known.insert(Arc::clone(topic)) {
                self.turn.push(Arc::clone(topic));
            }
        }
    }

    /// Looks at the next topic, if it is time and records were acknowledged since the last look.
    pub(crate) fn look(&mut self, shared: &Shared, client: &Client<DeliveryContext>, acknowledged: u64) {
        if acknowledged == self.acknowledged || self.looked.elapsed() < LOOK_EVERY || self.turn.is_empty() {
            return;
        }
        self.acknowledged = acknowledged;
        self.looked = Instant::now();
        self.next = (self.next + 1) % self.turn.len();
        let Some(topic) = self.turn.get(self.next) else {
            return;
        };
        let (Some(before), Ok(metadata)) = (shared.facts(topic), client.fetch_metadata(Some(topic), LOOK_TIMEOUT))
        else {
            return;
        };
        let Some(listed) = metadata.topics().first().filter(|listed| listed.error().is_none()) else {
            return; // Delivery itself will say that the topic is gone.
        };
        let partitions = listed.partitions().len();
        if partitions != before.partitions {
            tracing::warn!(
                topic = &**topic,
                code = "partition_count_changed",
                "topic {topic} has {partitions} partitions and had {}: from here on keys go to other partitions, so that \
                 older and newer events of one key are in no order to each other",
                before.partitions
            );
            shared.learn(topic, TopicFacts { partitions, ..before });
        }
    }
}

// === impl OffsetWatch ===

impl OffsetWatch {
    /// Takes note of an acknowledged offset. `Some` with the newest one known where it went backwards, which only a
    /// topic that was created again, or a log that lost its end, can do.
    pub(crate) fn note(&mut self, topic: &str, partition: i32, offset: i64) -> Option<i64> {
        let Some(partitions) = self.newest.get_mut(topic) else {
            self.newest
                .insert(topic.to_owned(), HashMap::from([(partition, offset)]));
            return None;
        };
        partitions.insert(partition, offset).filter(|newest| *newest > offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_offsets_that_go_backwards_are_told() {
        let mut watch = OffsetWatch::default();
        assert_eq!(watch.note("t", 0, 10), None);
        assert_eq!(watch.note("t", 1, 5), None);
        assert_eq!(watch.note("u", 0, 1), None);
        assert_eq!(watch.note("t", 0, 11), None);
        assert_eq!(watch.note("t", 0, 0), Some(11));
        assert_eq!(watch.note("t", 0, 1), None);
    }

    #[test]
    fn topics_are_watched_once() {
        let mut watch = PartitionWatch::new();
        let topics = [Arc::from("t"), Arc::from("u")];
        watch.add(&topics);
        watch.add(&topics);
        assert_eq!(watch.turn, topics);
    }
}
