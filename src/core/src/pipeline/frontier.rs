//! The in-flight window, kept in order: what was handed to the stream and is not yet known to be durable.
//!
//! Batches settle in the order in which they were handed over, whatever the order of the acknowledgements, so that the
//! frontier is always the end of an unbroken run. Nothing here compares positions.

use std::collections::VecDeque;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt};

use crate::error::Result;
use crate::ports::Receipt;
use crate::position::Progress;
use crate::trace::Journey;

/// What a batch takes in the window however little is in it. A heartbeat, and a batch that filters left empty, would
/// otherwise weigh nothing: behind an answer that does not come, a source that goes on saying so would fill the memory.
const OVERHEAD_PER_BATCH_BYTES: usize = 512;

/// When the changes of a batch were committed, microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The first.
    pub oldest_us: i64,
    /// The last.
    pub newest_us: i64,
    /// They are rows of a snapshot, which were committed at some time before it.
    pub is_snapshot: bool,
}

/// A batch that is handed to the stream.
#[derive(Debug)]
pub struct Handed {
    /// The frontier when it is durable.
    pub progress: Progress,
    /// `None` for a heartbeat.
    pub committed: Option<Committed>,
    /// Its records.
    pub records: usize,
    /// What it takes in the window, bytes.
    pub weight_bytes: usize,
    /// Its spans, where somebody wants them.
    pub journey: Option<Box<Journey>>,
}

/// A batch that became durable, and every batch before it.
#[derive(Debug)]
pub struct Settled {
    /// The new frontier.
    pub progress: Progress,
    /// What the stream wrote.
    pub receipt: Receipt,
    /// `None` for a heartbeat.
    pub committed: Option<Committed>,
}

/// What is in flight.
#[derive(Default)]
pub struct Frontier {
    window: FuturesOrdered<BoxFuture<'static, Result<Settled>>>,
    /// What is known of each batch in the window, in its order.
    known: VecDeque<Known>,
    in_flight_bytes: usize,
    in_flight_records: usize,
}

/// A batch in flight, from outside.
struct Known {
    oldest_commit_us: Option<i64>,
    records: usize,
    weight_bytes: usize,
}

// === impl Frontier ===

impl Frontier {
    /// Adds a batch behind all others. `durable` resolves when every record of it is durable.
    pub fn push(&mut self, handed: Handed, durable: BoxFuture<'static, Result<Receipt>>) {
        let Handed {
            progress,
            committed,
            records,
            weight_bytes,
            journey,
        } = handed;
        let weight_bytes = weight_bytes + OVERHEAD_PER_BATCH_BYTES;
        self.in_flight_bytes += weight_bytes;
        self.in_flight_records += records;
        self.known.push_back(Known {
            oldest_commit_us: committed.map(|committed| committed.oldest_us),
            records,
            weight_bytes,
        });
        self.window.push_back(Box::pin(async move {
            let receipt = durable.await?;
            if let Some(journey) = journey {
                journey.arrive();
            }
            Ok(Settled {
                progress,
                receipt,
                committed,
            })
        }));
    }

    /// The oldest batch in flight, when it has settled; pending for ever where nothing is in flight. Cancel-safe.
    pub async fn next_settled(&mut self) -> Result<Settled> {
        let Some(settled) = self.window.next().await else {
            return std::future::pending().await;
        };
        let settled = settled?;
        if let Some(known) = self.known.pop_front() {
            self.in_flight_bytes = self.in_flight_bytes.saturating_sub(known.weight_bytes);
            self.in_flight_records = self.in_flight_records.saturating_sub(known.records);
        }
        Ok(settled)
    }

    /// Nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.window.is_empty()
    }

    /// Batches in flight.
    pub fn batches(&self) -> usize {
        self.window.len()
    }

    /// Bytes in flight, the batches' own included.
    pub fn bytes(&self) -> usize {
        self.in_flight_bytes
    }

    /// Records in flight.
    pub fn records(&self) -> usize {
        self.in_flight_records
    }

    /// When the oldest change in flight was committed, microseconds since 1970; heartbeats have none.
    pub fn oldest_commit_us(&self) -> Option<i64> {
        self.known.iter().find_map(|known| known.oldest_commit_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Position;
    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    fn handed(name: &str, weight_bytes: usize, committed_us: Option<i64>) -> Handed {
        Handed {
            progress: progress(name),
            committed: committed_us.map(|at_us| Committed {
                oldest_us: at_us,
                newest_us: at_us + 1,
                is_snapshot: false,
            }),
            records: weight_bytes / 10,
            weight_bytes,
            journey: None,
        }
    }

    fn progress(name: &str) -> Progress {
        Progress::at(Position::new(name))
    }

    #[tokio::test]
    async fn a_later_acknowledgement_waits_for_the_earlier_one() {
        let mut frontier = Frontier::default();
        let (first_done, first) = oneshot::channel::<Receipt>();
        frontier.push(handed("0", 0, None), Box::pin(async { Ok(Receipt::default()) }));
        frontier.push(handed("1", 10, Some(100)), Box::pin(async { Ok(first.await.unwrap()) }));
        frontier.push(handed("2", 20, Some(200)), Box::pin(async { Ok(Receipt::default()) }));
        assert_eq!(frontier.next_settled().await.unwrap().progress, progress("0"));
        assert!(frontier.next_settled().now_or_never().is_none());
        assert_eq!(
            (frontier.batches(), frontier.records(), frontier.bytes()),
            (2, 3, 30 + 2 * OVERHEAD_PER_BATCH_BYTES)
        );
        assert_eq!(frontier.oldest_commit_us(), Some(100));
        first_done.send(Receipt::default()).unwrap();
        assert_eq!(frontier.next_settled().await.unwrap().progress, progress("1"));
        assert_eq!(frontier.oldest_commit_us(), Some(200));
        assert_eq!(frontier.next_settled().await.unwrap().progress, progress("2"));
        assert!(frontier.is_empty());
        assert_eq!((frontier.records(), frontier.bytes()), (0, 0));
        assert_eq!(frontier.oldest_commit_us(), None);
    }
}
