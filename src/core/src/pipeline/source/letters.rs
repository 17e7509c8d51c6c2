//! What the loop does with events that cannot be carried: sets them aside before anything of their batch moves, makes later
//! events of their key wait where order is kept, and sends them again when a person asks for it.
//!
//! A replay is handed to the same producer as everything else, so that later events of its key come after it. Until it is
//! marked as replayed no checkpoint is saved: after a crash it goes out again, and so does everything that came after it.
//!
//! Where order is kept, a source that sends again after a crash must not find an event of a key in front of a letter that
//! comes before it: it could not be told from one behind. So before the first letter of a key is written, everything that was
//! read earlier is saved as carried, and of the letter's own batch all events of its key are set aside with it, also those
//! that could have gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;

use super::{Running, carried, count, weight_of};
use crate::batch::{ChangeBatch, Refusal};
use crate::dead_letter::{
    DeadLetterConfig, Desk, Document, Letter, LetterOrder, LetterPolicy, LetterState, Original, Settlement,
    StoredLetter, Waiting, keys_of, keys_wait, must_wait,
};
use crate::error::{Error, Kind, Result};
use crate::event::{EncodedBatch, EncodedRecord, Refused, header, time_text};
use crate::failpoint;
use crate::ports::Receipt;
use crate::telemetry::now_us;

/// Letters that are sent again at a time: few enough to be held in memory whatever their size.
const REPLAYED_AT_A_TIME: usize = 64;
/// What a change is refused with that the configuration of now has no event for.
const LEFT_OUT: &str = "event_left_out";

/// What a connector does with events that cannot be carried.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    /// The connector's name.
    pub connector: String,
    /// As configured.
    pub config: DeadLetterConfig,
    /// The topic of the copies, with its prefix.
    pub topic: Arc<str>,
    /// Where it meets those who look after the letters.
    pub desk: Arc<Desk>,
}

/// What the loop knows of its letters.
pub(super) struct Letters {
    rules: DeadLetters,
    /// Keys whose later events must wait.
    blocked: BTreeSet<String>,
    /// What `blocked` was read at; `None` before it was read.
    version: Option<u64>,
    /// A batch with the first letter of a key, which waits until everything before it is saved.
    held: Option<ChangeBatch>,
    /// Somebody asked for a replay, or may have before the start.
    asked: bool,
    replaying: Option<Replaying>,
}

/// Letters that were handed to the stream once more.
struct Replaying {
    ids: Vec<u64>,
    weight_bytes: usize,
    durable: BoxFuture<'static, Result<Vec<Receipt>>>,
}

/// What is to be done about letters.
pub(super) enum Work {
    /// The batch that waited may go: everything before it is saved.
    Release,
    /// Letters may have been asked for.
    Look,
    /// These became durable, or did not.
    Settle(Vec<u64>, Result<Vec<Receipt>>),
}

/// What is taken out of a batch.
struct Parting {
    /// Why each of these changes was refused, by index; `None` where a person has dropped its letter.
    refused: BTreeMap<usize, Option<Refusal>>,
    /// What must wait.
    keys: BTreeSet<String>,
}

// === impl DeadLetters ===

impl DeadLetters {
    /// The rules of a connector whose prefix is already in the topic.
    pub fn new(connector: impl Into<String>, config: DeadLetterConfig, topic: Arc<str>) -> Self {
        Self {
            connector: connector.into(),
            config,
            topic,
            desk: Arc::default(),
        }
    }

    fn by_key(&self) -> bool {
        self.config.order == LetterOrder::Key
    }
}

// === impl Letters ===

impl Letters {
    pub(super) fn new(rules: DeadLetters) -> Self {
        Self {
            rules,
            blocked: BTreeSet::new(),
            version: None,
            held: None,
            asked: true,
            replaying: None,
        }
    }

    /// Letters were handed over again, and are not marked yet.
    pub(super) fn is_replaying(&self) -> bool {
        self.replaying.is_some()
    }

    /// Bytes of letters that were handed over again.
    pub(super) fn bytes(&self) -> usize {
        self.replaying.as_ref().map_or(0, |replaying| replaying.weight_bytes)
    }

    /// A batch waits until everything before it is saved.
    pub(super) fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// How many changes wait.
    pub(super) fn held_changes(&self) -> usize {
        self.held.as_ref().map_or(0, |batch| batch.changes.len())
    }

    /// The batch that waited.
    pub(super) fn release(&mut self) -> Option<ChangeBatch> {
        self.held.take()
    }

    /// Nothing more is read until what was asked for has begun to go out.
    pub(super) fn is_asked(&self) -> bool {
        self.asked
    }

    /// The next thing to be done about letters; waits where there is none. A replay begins when nothing else is in flight, so that
    /// what fails first is told first; a batch that waits goes when everything before it is saved, behind a replay. Cancel-safe.
    pub(super) async fn next_work(&mut self, may_begin: bool, may_release: bool) -> Work {
        if let Some(replaying) = &mut self.replaying {
            let durable = replaying.durable.as_mut().await;
            let ids = std::mem::take(&mut replaying.ids);
            return Work::Settle(ids, durable);
        }
        if !self.asked && may_release && self.is_holding() {
            return Work::Release;
        }
        if !self.asked {
            self.rules.desk.asked().await;
            self.asked = true;
        }
        if !may_begin {
            return std::future::pending().await;
        }
        self.asked = false;
        Work::Look
    }
}

// === impl Parting ===

impl Parting {
    /// Every key that an event that waits has makes others wait, before it and behind it in the batch.
    fn spread(&mut self, batch: &ChangeBatch) {
        let refused = batch.views().enumerate();
        let refused = refused.filter(|(index, _)| matches!(self.refused.get(index), Some(Some(_))));
        let keys: Vec<_> = refused.flat_map(|(_, change)| keys_of(change)).collect();
        self.keys.extend(keys);
        loop {
            let before = self.keys.len();
            for change in batch.views() {
                if must_wait(change, &self.keys) {
                    self.keys.extend(keys_of(change));
                }
            }
            if self.keys.len() == before {
                return;
            }
        }
    }

    /// Takes what was refused and what must wait out of the batch, as letters in their order.
    fn part(&self, batch: &mut ChangeBatch) -> Vec<Letter> {
        let mut letters = Vec::new();
        let mut stays = vec![false; batch.changes.len()];
        for ((index, change), stays) in batch.views().enumerate().zip(&mut stays) {
            let refusal = match self.refused.get(&index) {
                Some(None) => continue,
                Some(Some(refusal)) => refusal.clone(),
                None if must_wait(change, &self.keys) => Refusal::behind(change),
                None => {
                    *stays = true;
                    continue;
                }
            };
            letters.push(Letter::of_change(change, &refusal, now_us()));
        }
        let mut stays = stays.into_iter();
        batch.changes.retain(|_| stays.next().unwrap_or(true));
        letters
    }
}

// === impl Running ===

impl Running {
    /// Encodes a batch; what cannot be encoded, and what must wait, is durable as letters when this returns. `None` where the
    /// batch must wait until everything before it is saved.
    ///
    /// # Errors
    /// Of kind `Poison` where the policy is to halt.
    pub(super) async fn encode(&mut self, batch: ChangeBatch) -> Result<Option<EncodedBatch>> {
        let rules = &self.letters.rules;
        if rules.config.policy == LetterPolicy::Halt {
            return carried::encode(&mut *self.pipeline.encoder, &batch)?
                .complete()
                .map(Some);
        }
        let desk = Arc::clone(&rules.desk);
        let held = desk.hold().await;
        self.refresh(*held).await?;
        let encoded = carried::encode(&mut *self.pipeline.encoder, &batch)?;
        if encoded.refused.is_empty() && self.letters.blocked.is_empty() {
            return Ok(Some(encoded));
        }
        let refused = self.not_yet_decided(&batch, &encoded.refused).await?;
        if self.letters.rules.by_key() {
            return self.encode_in_order(batch, encoded, refused).await;
        }
        let keys = BTreeSet::new();
        let letters = Parting { refused, keys }.part(&mut { batch });
        self.quarantine(encoded, letters).await.map(Some)
    }

    async fn encode_in_order(
        &mut self,
        mut batch: ChangeBatch,
        encoded: EncodedBatch,
        refused: BTreeMap<usize, Option<Refusal>>,
    ) -> Result<Option<EncodedBatch>> {
        let keys = self.letters.blocked.clone();
        let mut parting = Parting { refused, keys };
        parting.spread(&batch);
        let is_new = parting.keys.len() > self.letters.blocked.len();
        if is_new && !self.is_all_saved() {
            self.letters.held = Some(batch);
            return Ok(None);
        }
        let before = batch.changes.len();
        let letters = parting.part(&mut batch);
        if batch.changes.len() == before {
            return Ok(Some(encoded));
        }
        let encoded = self.pipeline.encoder.encode(&batch)?.complete()?;
        self.quarantine(encoded, letters).await.map(Some)
    }

    /// Everything that was read before is durable and checkpointed.
    pub(super) fn is_all_saved(&self) -> bool {
        self.frontier.is_empty() && self.unsaved.is_none() && !self.letters.is_replaying()
    }

    /// Makes letters durable; with their copies, where those are published.
    async fn quarantine(&mut self, mut encoded: EncodedBatch, letters: Vec<Letter>) -> Result<EncodedBatch> {
        if letters.is_empty() {
            return Ok(encoded);
        }
        failpoint!(try BeforeQuarantine);
        let rules = self.letters.rules.clone();
        let store = Arc::clone(&self.pipeline.store);
        let states = store.quarantine(&letters, rules.config.maximum()).await?;
        failpoint!(try AfterQuarantine);
        let numbers = &self.pipeline.telemetry.numbers;
        numbers.dead_letters.fetch_add(count(letters.len()), Ordering::Relaxed);
        for (letter, state) in letters.iter().zip(states) {
            if !state.is_open() {
                continue;
            }
            if rules.by_key() {
                self.letters.blocked.extend(letter.keys.iter().cloned());
            }
            if rules.config.policy == LetterPolicy::Topic {
                append_copy(&rules, &mut encoded, letter);
            }
        }
        self.tell_letters().await?;
        Ok(encoded)
    }

    /// Which keys must wait, where others may have changed that.
    async fn refresh(&mut self, version: u64) -> Result<()> {
        if self.letters.version != Some(version) && self.letters.rules.by_key() {
            let on_their_way = self.letters.replaying.as_ref();
            let on_their_way = on_their_way.map(|replaying| replaying.ids.clone());
            self.block_all_but(on_their_way.unwrap_or_default()).await?;
        }
        self.letters.version = Some(version);
        Ok(())
    }

    async fn block_all_but(&mut self, handed_over: Vec<u64>) -> Result<()> {
        let store = Arc::clone(&self.pipeline.store);
        let waiting = store.waiting().await?.into_iter();
        let waiting = waiting.filter(|letter| !handed_over.contains(&letter.id));
        self.letters.blocked = waiting.flat_map(|letter| letter.keys).collect();
        Ok(())
    }

    /// The refused changes by their index; without a reason where a person has dropped the letter before.
    async fn not_yet_decided(
        &mut self,
        batch: &ChangeBatch,
        refused: &[Refused],
    ) -> Result<BTreeMap<usize, Option<Refusal>>> {
        if refused.is_empty() {
            return Ok(BTreeMap::new());
        }
        let identified = identify(batch, refused);
        let identities: Vec<String> = identified.iter().map(|(_, identity, _)| identity.clone()).collect();
        let store = Arc::clone(&self.pipeline.store);
        let dropped = store.dropped(&identities).await?;
        Ok(identified
            .into_iter()
            .map(|(index, identity, refusal)| (index, (!dropped.contains(&identity)).then_some(refusal)))
            .collect())
    }

    async fn tell_letters(&mut self) -> Result<()> {
        let store = Arc::clone(&self.pipeline.store);
        let summary = store.summary().await?;
        self.pipeline.telemetry.set_dead_letters(&summary);
        Ok(())
    }

    /// Does the next thing about letters.
    pub(super) async fn look_after_letters(&mut self, work: Work) -> Result<()> {
        let desk = Arc::clone(&self.letters.rules.desk);
        match work {
            Work::Release => match self.letters.release() {
                Some(batch) => self.hand_over(batch).await,
                None => Ok(()),
            },
            Work::Look => {
                let held = desk.hold().await;
                self.begin_replay(*held).await
            }
            Work::Settle(ids, durable) => {
                let _held = desk.hold().await;
                self.letters.replaying = None;
                self.end_replay(ids, durable).await
            }
        }
    }

    /// Hands letters that were asked for to the stream, in their order.
    async fn begin_replay(&mut self, version: u64) -> Result<()> {
        let store = Arc::clone(&self.pipeline.store);
        let requested = store.requested(REPLAYED_AT_A_TIME).await?;
        if requested.is_empty() {
            self.tell_letters().await?;
            self.letters.rules.desk.round_ends();
            return Ok(());
        }
        let (mut handed_over, mut deliveries) = (Vec::new(), Vec::new());
        let (mut settlements, mut behind) = (Vec::new(), BTreeSet::new());
        let mut weight_bytes = 0;
        let taken: BTreeSet<u64> = requested.iter().map(|letter| letter.id).collect();
        let mut others = self.all_but(&taken).await?.into_iter().peekable();
        for StoredLetter { id, letter, .. } in requested {
            while let Some(earlier) = others.next_if(|waiting| waiting.id < id) {
                behind.extend(earlier.keys);
            }
            // At least one, however large; the others are looked for afterwards.
            if weight_bytes > 0 && self.frontier.bytes() + weight_bytes >= self.pipeline.limits.in_flight_bytes {
                break;
            }
            let settlement = if keys_wait(&letter.keys, &behind) {
                Settlement::Behind
            } else {
                match self.encode_again(&letter).await? {
                    Ok(encoded) => {
                        self.ensure_topics(&encoded).await?;
                        weight_bytes += weight_of(&encoded);
                        deliveries.push(self.pipeline.producer.deliver(encoded));
                        handed_over.push(id);
                        continue;
                    }
                    Err(settlement) => settlement,
                }
            };
            if self.letters.rules.by_key() {
                behind.extend(letter.keys);
            }
            settlements.push((id, settlement));
        }
        failpoint!(try ReplayEnqueued);
        if !settlements.is_empty() {
            store.settle(&settlements).await?;
        }
        if self.letters.rules.by_key() {
            self.block_all_but(handed_over.clone()).await?;
            self.letters.version = Some(version);
        }
        if handed_over.is_empty() {
            self.letters.asked = true;
            return Ok(());
        }
        self.letters.replaying = Some(Replaying {
            ids: handed_over,
            weight_bytes,
            durable: Box::pin(in_order(deliveries)),
        });
        Ok(())
    }

    /// Everything open that was not taken, where order is kept: what was taken behind it must wait again. Also what was asked
    /// for since: it did not go before, and must not go after.
    async fn all_but(&mut self, taken: &BTreeSet<u64>) -> Result<Vec<Waiting>> {
        if !self.letters.rules.by_key() {
            return Ok(Vec::new());
        }
        let store = Arc::clone(&self.pipeline.store);
        let mut waiting = store.waiting().await?;
        waiting.retain(|letter| !taken.contains(&letter.id));
        Ok(waiting)
    }

    /// The event of a letter with the configuration of now; what becomes of the letter where there is none.
    async fn encode_again(&mut self, letter: &Letter) -> Result<Result<EncodedBatch, Settlement>> {
        match self.try_again(letter).await {
            Ok(encoded) => Ok(Ok(encoded)),
            Err(error) => match error.kind() {
                Kind::Poison | Kind::Definite => Ok(Err(Settlement::Refused {
                    code: error.code().to_owned(),
                    reason: error.report(),
                })),
                Kind::Transient | Kind::Fenced => Err(error),
            },
        }
    }

    async fn try_again(&mut self, letter: &Letter) -> Result<EncodedBatch> {
        let Some(Original::Change(image)) = &letter.original else {
            let sentence = "the letter does not hold a change; drop it, and report this as a bug";
            return Err(Error::definite("dead_letter_damaged", sentence));
        };
        let pipeline = &mut self.pipeline;
        let mut batch = image.restore()?;
        if image.is_event() {
            pipeline.source.interpret(&mut batch)?;
            // Of what is an event already, rules choose the way and change nothing.
            pipeline.transform.apply(&mut batch)?;
        } else {
            // A row's own were applied before, but where a value could not be cast.
            pipeline.transform.cast_again(&mut batch)?;
            batch.check_carried()?;
        }
        pipeline.encoder.prepare(&batch).await?;
        let encoded = pipeline.encoder.encode(&batch)?.complete()?;
        if encoded.records.is_empty() {
            let sentence = "the configuration leaves the event out now; drop the letter, or mend the configuration";
            return Err(Error::poison(LEFT_OUT, sentence));
        }
        Ok(encoded)
    }

    /// Marks what became durable.
    async fn end_replay(&mut self, ids: Vec<u64>, durable: Result<Vec<Receipt>>) -> Result<()> {
        let store = Arc::clone(&self.pipeline.store);
        match durable {
            Ok(receipts) => {
                failpoint!(try ReplayDurable);
                store.settle(&all_of(&ids, &Settlement::Replayed)).await?;
                failpoint!(try ReplayMarked);
                let records = receipts.iter().map(|receipt| receipt.records).sum();
                let numbers = &self.pipeline.telemetry.numbers;
                numbers.records.fetch_add(count(records), Ordering::Relaxed);
                // There may be more than were taken at a time.
                self.letters.asked = true;
                self.tell_letters().await
            }
            Err(error) if matches!(error.kind(), Kind::Poison | Kind::Definite) => {
                let refused = Settlement::Refused {
                    code: error.code().to_owned(),
                    reason: error.report(),
                };
                store.settle(&all_of(&ids, &refused)).await?;
                // The producer is of no use any more; what was asked for must not stop the others at each start.
                let sentence = "the stream refused letters that were to go out again; they wait as before";
                Err(Error::transient("replay_refused", sentence).with_source(error))
            }
            Err(error) => Err(error),
        }
    }
}

/// The first delivery that failed says why; the later ones only that they did.
async fn in_order(deliveries: Vec<BoxFuture<'static, Result<Receipt>>>) -> Result<Vec<Receipt>> {
    let mut receipts = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        receipts.push(delivery.await?);
    }
    Ok(receipts)
}

fn all_of(ids: &[u64], settlement: &Settlement) -> Vec<(u64, Settlement)> {
    ids.iter().map(|id| (*id, settlement.clone())).collect()
}

/// Index, identity and reason of each refused change.
fn identify(batch: &ChangeBatch, refused: &[Refused]) -> Vec<(usize, String, Refusal)> {
    let refusals = refused.iter().map(|refused| (refused.change, &refused.refusal));
    let refusals: BTreeMap<usize, &Refusal> = refusals.collect();
    let views = batch.views().enumerate();
    let identified = views.filter_map(|(index, view)| {
        let refusal = *refusals.get(&index)?;
        let identity = Letter::of_change(view, refusal, 0).identity;
        Some((index, identity, refusal.clone()))
    });
    identified.collect()
}

/// Adds the copy of a letter that is published.
pub(in crate::pipeline) fn append_copy(rules: &DeadLetters, encoded: &mut EncodedBatch, letter: &Letter) {
    let topic = encoded.topic_index(&rules.topic);
    let stored = StoredLetter {
        id: 0,
        state: LetterState::Waiting,
        attempts: 1,
        letter: letter.clone(),
    };
    let document = Document::of(&rules.connector, &stored).without_number();
    let value = encoded.append(document.to_json().as_bytes());
    let headers = encoded.append_headers([
        (header::UPDATED_AT, &*time_text(letter.updated_at_us)),
        (header::OPERATION, &letter.operation),
        (header::SOURCE, &rules.connector),
        (header::POSITION, &letter.position),
        (header::EVENT_ID, &letter.event_id),
        (header::DEAD_LETTER_CODE, &letter.code),
        (header::DEAD_LETTER_REASON, &letter.reason),
        (header::DEAD_LETTER_TABLE, &letter.table),
    ]);
    encoded.records.push(EncodedRecord {
        topic,
        // A topic without keys is never compacted, and keeps its letters in one order.
        key: None,
        value: Some(value),
        headers,
        timestamp_ms: letter.updated_at_us.div_euclid(1000).max(0),
    });
}

#[cfg(test)]
mod tests;
