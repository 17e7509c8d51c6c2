//! What a sink does with events that cannot be read or written: sets them aside before their offsets move, makes later events of
//! their key wait where order is kept, and writes them when a person asks for it.
//!
//! A letter holds the record as it was in the stream. Its identity is topic, partition and offset, so that a crash between the letter
//! and the offset makes no second one.
//!
//! Where order is kept, the desk is held while a batch is written: what waits is decided by what it holds. That keeps the connector's
//! writers from working side by side; without an order they do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::OwnedMutexGuard;

use crate::batch::Refusal;
use crate::dead_letter::{
    BEHIND, DeadLetterStore, Letter, LetterOrder, LetterPolicy, Original, Settlement, StoredLetter, keys_wait,
};
use crate::error::{Error, Kind, Result};
use crate::event::{EncodedBatch, Refused};
use crate::failpoint;
use crate::pipeline::source::{DeadLetters, append_copy};
use crate::ports::sink::EventBatch;
use crate::ports::{EventStream, TopicSpec};
use crate::record_batch::{RecordBatch, RecordView};
use crate::telemetry::{Telemetry, now_us};

/// The desk, held: what waits does not change.
pub(super) type Held = OwnedMutexGuard<u64>;

/// A letter that was asked for, with its record; or why it cannot be read.
pub(super) type Requested = (Held, u64, Result<RecordBatch>);

/// What one writer does with its letters.
pub struct SinkLetters {
    rules: DeadLetters,
    store: Arc<dyn DeadLetterStore>,
    /// Where copies go.
    stream: Arc<dyn EventStream>,
    /// Keys whose later events must wait.
    blocked: BTreeSet<String>,
    /// What `blocked` was read at; `None` before it was read.
    version: Option<u64>,
    /// Somebody may have asked for letters before the start.
    is_first_look: bool,
}

// === impl SinkLetters ===

impl SinkLetters {
    /// The rules of a connector, and where its letters and their copies are kept.
    pub fn new(rules: DeadLetters, store: Arc<dyn DeadLetterStore>, stream: Arc<dyn EventStream>) -> Self {
        Self {
            rules,
            store,
            stream,
            blocked: BTreeSet::new(),
            version: None,
            is_first_look: true,
        }
    }

    fn by_key(&self) -> bool {
        self.rules.config.order == LetterOrder::Key && self.rules.config.policy != LetterPolicy::Halt
    }

    /// Holds the desk while what waits decides what is written.
    pub(super) async fn hold(&mut self) -> Result<Option<Held>> {
        if !self.by_key() {
            return Ok(None);
        }
        let held = self.rules.desk.hold().await;
        if self.version != Some(*held) {
            let waiting = self.store.waiting().await?.into_iter();
            self.blocked = waiting.flat_map(|letter| letter.keys).collect();
            self.version = Some(*held);
        }
        Ok(Some(held))
    }

    /// Takes out of a batch what must wait behind an event that was set aside: before it, or as one of the batch. The first record of
    /// the batch is at the index `first`.
    pub(super) fn behind(&mut self, records: &RecordBatch, first: usize, batch: &mut EventBatch) -> Vec<Refused> {
        let mut behind = Vec::new();
        if !self.by_key() || (self.blocked.is_empty() && batch.refused.is_empty()) {
            return behind;
        }
        let mut refused: BTreeSet<usize> = batch.refused.iter().map(|refused| refused.change).collect();
        let mut blocked = self.blocked.clone();
        for index in 0..batch.origins.len() {
            let Some(record) = records.get(first + index) else {
                continue;
            };
            let keys = Letter::keys_of_record(record);
            if refused.contains(&index) {
                blocked.extend(keys);
            } else if keys_wait(&keys, &blocked) {
                let refusal = Refusal::behind_record(record);
                behind.push(Refused { change: index, refusal });
            }
        }
        refused.clear();
        refused.extend(behind.iter().map(|refused| refused.change));
        let waits = |ordinal: u64| usize::try_from(ordinal).is_ok_and(|index| refused.contains(&index));
        batch.changes.changes.retain(|change| !waits(change.ordinal));
        behind
    }

    /// Makes letters of records durable.
    ///
    /// # Errors
    /// Definite where the policy is to halt.
    pub(super) async fn set_aside(
        &mut self,
        records: &RecordBatch,
        first: usize,
        mut refused: Vec<Refused>,
        telemetry: &Telemetry,
    ) -> Result<()> {
        if refused.is_empty() {
            return Ok(());
        }
        refused.sort_by_key(|refused| refused.change);
        let mut letters = Vec::with_capacity(refused.len());
        for Refused { change, refusal } in refused {
            if let Some(record) = records.get(first + change) {
                letters.push(self.letter(record, &refusal)?);
            }
        }
        self.quarantine(letters, telemetry).await
    }

    /// Makes the letter of one record durable.
    ///
    /// # Errors
    /// Definite where the policy is to halt.
    pub(super) async fn set_aside_one(
        &mut self,
        record: RecordView<'_>,
        refusal: &Refusal,
        telemetry: &Telemetry,
    ) -> Result<()> {
        let letter = self.letter(record, refusal)?;
        let held = self.hold().await?;
        self.quarantine(vec![letter], telemetry).await?;
        drop(held);
        Ok(())
    }

    fn letter(&self, record: RecordView<'_>, refusal: &Refusal) -> Result<Letter> {
        if self.rules.config.policy == LetterPolicy::Halt {
            let message = format!(
                "the event at offset {} of {} cannot be written: {}; mend what is wrong, or set `dead_letters: {{ policy: store }}` so \
                 that others go on without it",
                record.offset(),
                record.partition(),
                refusal.reason
            );
            return Err(Error::definite(refusal.code, message));
        }
        Ok(Letter::of_record(record, refusal, now_us()))
    }

    async fn quarantine(&mut self, letters: Vec<Letter>, telemetry: &Telemetry) -> Result<()> {
        let identities: Vec<String> = letters.iter().map(|letter| letter.identity.clone()).collect();
        let dropped = self.store.dropped(&identities).await?;
        let letters: Vec<Letter> = letters
            .into_iter()
            .filter(|letter| !dropped.contains(&letter.identity))
            .collect();
        if letters.is_empty() {
            return Ok(());
        }
        failpoint!(try BeforeQuarantine);
        let states = self.store.quarantine(&letters, self.rules.config.maximum()).await?;
        failpoint!(try AfterQuarantine);
        let count = u64::try_from(letters.len()).unwrap_or(u64::MAX);
        telemetry.numbers.dead_letters.fetch_add(count, Ordering::Relaxed);
        let mut copies = EncodedBatch::default();
        for (letter, state) in letters.iter().zip(states) {
            if state.is_open() {
                self.blocked.extend(letter.keys.iter().cloned());
                append_copy(&self.rules, &mut copies, letter);
            }
        }
        if self.rules.config.policy == LetterPolicy::Topic {
            self.publish(copies).await?;
        }
        self.tell(telemetry).await
    }

    /// Letters are rare: a producer of their own each time is simpler than one that is kept.
    async fn publish(&self, copies: EncodedBatch) -> Result<()> {
        let topic = TopicSpec {
            name: Arc::clone(&self.rules.topic),
            keyed: false,
        };
        self.stream.ensure_topic(&topic).await?;
        let mut producer = self.stream.producer().await?;
        producer.deliver(copies).await.map(drop)
    }

    async fn tell(&self, telemetry: &Telemetry) -> Result<()> {
        telemetry.set_dead_letters(&self.store.summary().await?);
        Ok(())
    }

    // --- letters that are asked for

    /// Resolves when letters may have been asked for. Cancel-safe.
    pub(super) async fn asked(&mut self) {
        if !std::mem::take(&mut self.is_first_look) {
            self.rules.desk.asked().await;
        }
    }

    /// The oldest letter that was asked for; nobody else changes letters while it is in hand.
    pub(super) async fn next_requested(&mut self, telemetry: &Telemetry) -> Result<Option<Requested>> {
        let held = self.rules.desk.hold().await;
        let Some(StoredLetter { id, letter, .. }) = self.store.requested(1).await?.pop() else {
            self.tell(telemetry).await?;
            self.rules.desk.round_ends();
            return Ok(None);
        };
        if self.must_still_wait(id, &letter).await? {
            return Ok(Some((
                held,
                id,
                Err(Error::poison(BEHIND, "an earlier event of its key waits")),
            )));
        }
        let records = match &letter.original {
            Some(Original::Record(image)) => image.restore(),
            Some(Original::Change(_)) | None => Err(Error::definite(
                "dead_letter_damaged",
                "the letter does not hold a record; drop it, and report this as a bug",
            )),
        };
        Ok(Some((held, id, records)))
    }

    async fn must_still_wait(&self, id: u64, letter: &Letter) -> Result<bool> {
        if !self.by_key() {
            return Ok(false);
        }
        let waiting = self.store.waiting().await?.into_iter();
        let before = waiting
            .take_while(|waiting| waiting.id < id)
            .flat_map(|waiting| waiting.keys);
        Ok(keys_wait(&letter.keys, &before.collect()))
    }

    /// Writes down what became of a letter that was asked for.
    ///
    /// # Errors
    /// What is not about the event itself.
    pub(super) async fn settle(
        &mut self,
        mut held: Held,
        id: u64,
        written: Result<()>,
        telemetry: &Telemetry,
    ) -> Result<()> {
        let settlement = match written {
            Ok(()) => Settlement::Replayed,
            Err(error) if error.code() == BEHIND => Settlement::Behind,
            Err(error) if matches!(error.kind(), Kind::Poison | Kind::Definite) => Settlement::Refused {
                code: error.code().to_owned(),
                reason: error.report(),
            },
            Err(error) => return Err(error),
        };
        failpoint!(try ReplayDurable);
        self.store.settle(&[(id, settlement)]).await?;
        failpoint!(try ReplayMarked);
        // What waited behind it need not wait any more, which the other writers must see.
        *held += 1;
        self.tell(telemetry).await
    }
}
