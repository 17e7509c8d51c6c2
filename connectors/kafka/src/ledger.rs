//! Which records are on their way: one entry per batch, in order, until everything up to it is acknowledged.

use std::collections::VecDeque;

use rdkafka::error::RDKafkaErrorCode;
use tailrace_core::ports::Receipt;
use tailrace_core::{Error, Result};
use tokio::sync::oneshot;

use crate::error::Failure;

/// Where the result of a batch is waited for.
pub(crate) type Answer = oneshot::Sender<Result<Receipt>>;

/// Batches handed over and not yet answered.
///
/// Invariants: answers are given in the order of the batches; a batch is answered with success only when every record
/// of it and of all batches before it is acknowledged; nothing is answered with success after the first failure.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Sequence of the front of `pending`.
    first: usize,
    pending: VecDeque<Pending>,
    /// Bytes of all of `pending`.
    open_bytes: usize,
    /// The first record that the broker or librdkafka gave up.
    lost: Option<LostRecord>,
    acknowledged: u64,
}

/// The record whose delivery failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LostRecord {
    /// Why.
    pub code: RDKafkaErrorCode,
    /// Its topic.
    pub topic: String,
    /// Bytes of its key and value.
    pub bytes: usize,
}

#[derive(Debug)]
struct Pending {
    /// Records without acknowledgement, those that are not sent yet included.
    unacknowledged: usize,
    receipt: Receipt,
    answer: Answer,
    /// Why the rest of this batch was never sent.
    refused: Option<Failure>,
}

// === impl Ledger ===

impl Ledger {
    /// Enters a batch before its first record is sent. Returns its sequence, which every record carries.
    pub(crate) fn enter(&mut self, receipt: Receipt, answer: Answer) -> usize {
        self.open_bytes += receipt.bytes;
        self.pending.push_back(Pending {
            unacknowledged: receipt.records,
            receipt,
            answer,
            refused: None,
        });
        let sequence = self.first + self.pending.len() - 1;
        self.settle();
        sequence
    }

    /// One record is durable. Whether it was the last of its batch.
    pub(crate) fn acknowledge(&mut self, sequence: usize) -> bool {
        self.acknowledged += 1;
        let index = sequence.checked_sub(self.first);
        let Some(batch) = index.and_then(|index| self.pending.get_mut(index)) else {
            return false; // Of a batch that has failed meanwhile.
        };
        batch.unacknowledged = batch.unacknowledged.saturating_sub(1);
        let last = batch.unacknowledged == 0;
        if last && index == Some(0) {
            self.settle();
        }
        last
    }

    /// One record is lost; only the first counts, the others follow from it.
    pub(crate) fn lose(&mut self, record: LostRecord) {
        self.lost.get_or_insert(record);
    }

    /// The first record that was lost.
    pub(crate) fn lost(&self) -> Option<&LostRecord> {
        self.lost.as_ref()
    }

    /// The rest of a batch will never be sent. Batches before it may still succeed, so it fails in its turn.
    pub(crate) fn refuse(&mut self, sequence: usize, failure: Failure) {
        let index = sequence.checked_sub(self.first);
        if let Some(batch) = index.and_then(|index| self.pending.get_mut(index)) {
            batch.refused = Some(failure);
        }
        self.settle();
    }

    /// Answers everything that is still open with this failure.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        while let Some(batch) = self.leave() {
            give(batch.answer, Err(Error::from(failure.clone())));
        }
    }

    /// Batches without an answer.
    pub(crate) fn open_batches(&self) -> usize {
        self.pending.len()
    }

    /// Bytes of the batches without an answer.
    pub(crate) fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// Records acknowledged since the beginning: a sign of life.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    fn leave(&mut self) -> Option<Pending> {
        let batch = self.pending.pop_front()?;
        self.first += 1;
        self.open_bytes -= batch.receipt.bytes;
        Some(batch)
    }

    fn settle(&mut self) {
        while let Some(front) = self.pending.front() {
            if let Some(failure) = front.refused.clone() {
                self.fail(&failure);
                return;
            }
            if front.unacknowledged > 0 {
                return;
            }
            if let Some(done) = self.leave() {
                give(done.answer, Ok(done.receipt));
            }
        }
    }
}

fn give(answer: Answer, result: Result<Receipt>) {
    // Whoever dropped the future has said that the outcome does not matter.
    drop(answer.send(result));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(records: usize) -> Receipt {
        Receipt {
            records,
            bytes: records * 10,
        }
    }

    fn entered(ledger: &mut Ledger, records: usize) -> (usize, oneshot::Receiver<Result<Receipt>>) {
        let (answer, result) = oneshot::channel();
        (ledger.enter(receipt(records), answer), result)
    }

    #[test]
    fn batches_are_answered_in_order_whatever_the_order_of_acknowledgements() {
        let mut ledger = Ledger::default();
        let (first, mut first_result) = entered(&mut ledger, 2);
        let (second, mut second_result) = entered(&mut ledger, 1);
        ledger.acknowledge(second);
        assert!(second_result.try_recv().is_err());
        ledger.acknowledge(first);
        assert!(first_result.try_recv().is_err() && second_result.try_recv().is_err());
        assert_eq!((ledger.open_batches(), ledger.open_bytes()), (2, 30));
        ledger.acknowledge(first);
        assert_eq!(first_result.try_recv().unwrap().unwrap(), receipt(2));
        assert_eq!(second_result.try_recv().unwrap().unwrap(), receipt(1));
        assert_eq!(
            (ledger.open_batches(), ledger.open_bytes(), ledger.acknowledged()),
            (0, 0, 3)
        );
    }

    #[test]
    fn an_empty_batch_waits_for_those_before_it() {
        let mut ledger = Ledger::default();
        let (_, mut alone) = entered(&mut ledger, 0);
        assert_eq!(alone.try_recv().unwrap().unwrap(), receipt(0));
        let (first, _first_result) = entered(&mut ledger, 1);
        let (_, mut behind) = entered(&mut ledger, 0);
        assert!(behind.try_recv().is_err());
        ledger.acknowledge(first);
        assert_eq!(behind.try_recv().unwrap().unwrap(), receipt(0));
    }

    #[test]
    fn a_refused_batch_fails_after_those_before_it_and_takes_the_rest_along() {
        let mut ledger = Ledger::default();
        let (first, mut first_result) = entered(&mut ledger, 1);
        let (second, mut second_result) = entered(&mut ledger, 5);
        let (_, mut third_result) = entered(&mut ledger, 1);
        ledger.refuse(second, Failure::definite("message_too_large", "too large"));
        assert!(second_result.try_recv().is_err());
        ledger.acknowledge(first);
        assert_eq!(first_result.try_recv().unwrap().unwrap(), receipt(1));
        assert_eq!(
            second_result.try_recv().unwrap().unwrap_err().code(),
            "message_too_large"
        );
        assert_eq!(
            third_result.try_recv().unwrap().unwrap_err().code(),
            "message_too_large"
        );
    }

    #[test]
    fn after_a_failure_late_acknowledgements_change_nothing() {
        let mut ledger = Ledger::default();
        let (first, mut first_result) = entered(&mut ledger, 1);
        ledger.fail(&Failure::transient("kafka_unreachable", "gone"));
        assert_eq!(
            first_result.try_recv().unwrap().unwrap_err().code(),
            "kafka_unreachable"
        );
        assert_eq!(ledger.open_bytes(), 0);
        ledger.acknowledge(first);
        let (next, mut next_result) = entered(&mut ledger, 1);
        ledger.acknowledge(first);
        assert!(next_result.try_recv().is_err());
        ledger.acknowledge(next);
        assert!(next_result.try_recv().unwrap().is_ok());
    }
}
