//! The in-flight window, kept in order: what was handed to the stream and is not yet known to be durable.
//!
//! Batches settle in the order in which they were handed over, whatever the order of the acknowledgements, so that the
//! frontier is always the end of an unbroken run. Nothing here compares positions.

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt};

use crate::error::Result;
use crate::ports::Receipt;
use crate::position::Progress;

/// What a batch takes in the window however little is in it. A heartbeat, and a batch that filters left empty, would
/// otherwise weigh nothing: behind an answer that does not come, a source that goes on saying so would fill the memory.
const OVERHEAD_PER_BATCH_BYTES: usize = 512;

/// A batch that became durable, and every batch before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The new frontier.
    pub progress: Progress,
    /// What the stream wrote.
    pub receipt: Receipt,
    /// Commit time of the newest change in the batch; `None` for a heartbeat.
    pub newest_commit_us: Option<i64>,
    weight_bytes: usize,
}

/// What is in flight.
#[derive(Default)]
pub struct Frontier {
    window: FuturesOrdered<BoxFuture<'static, Result<Settled>>>,
    in_flight_bytes: usize,
}

// === impl Frontier ===

impl Frontier {
    /// Adds a batch behind all others. `durable` resolves when every record of it is durable.
    pub fn push(
        &mut self,
        progress: Progress,
        newest_commit_us: Option<i64>,
        weight_bytes: usize,
        durable: BoxFuture<'static, Result<Receipt>>,
    ) {
        let weight_bytes = weight_bytes + OVERHEAD_PER_BATCH_BYTES;
        self.in_flight_bytes += weight_bytes;
        self.window.push_back(Box::pin(async move {
            let receipt = durable.await?;
            Ok(Settled {
                progress,
                receipt,
                newest_commit_us,
                weight_bytes,
            })
        }));
    }

    /// The oldest batch in flight, when it has settled; pending for ever where nothing is in flight. Cancel-safe.
    pub async fn next_settled(&mut self) -> Result<Settled> {
        let Some(settled) = self.window.next().await else {
            return std::future::pending().await;
        };
        let settled = settled?;
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(settled.weight_bytes);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Position;
    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    fn progress(name: &str) -> Progress {
        Progress::at(Position::new(name))
    }

    #[tokio::test]
    async fn a_later_acknowledgement_waits_for_the_earlier_one() {
        let mut frontier = Frontier::default();
        let (first_done, first) = oneshot::channel::<Receipt>();
        frontier.push(progress("1"), None, 10, Box::pin(async { Ok(first.await.unwrap()) }));
        frontier.push(progress("2"), None, 20, Box::pin(async { Ok(Receipt::default()) }));
        assert!(frontier.next_settled().now_or_never().is_none());
        assert_eq!(
            (frontier.batches(), frontier.bytes()),
            (2, 30 + 2 * OVERHEAD_PER_BATCH_BYTES)
        );
        first_done.send(Receipt::default()).unwrap();
        assert_eq!(frontier.next_settled().await.unwrap().progress, progress("1"));
        assert_eq!(frontier.next_settled().await.unwrap().progress, progress("2"));
        assert!(frontier.is_empty());
        assert_eq!(frontier.bytes(), 0);
    }
}
