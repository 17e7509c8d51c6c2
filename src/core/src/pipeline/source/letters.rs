//! What the loop does with events that cannot be carried: sets them aside before anything of their batch moves, makes later
//! events of their key wait where order is kept, and sends them again when a person asks for it.
//!
//! A replay is handed to the same producer as everything else, so that later events of its key come after it. Until it is
//! marked as replayed no checkpoint is saved: after a crash it goes out again, and so does everything that came after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::{BoxFuture, try_join_all};

use super::{Running, count};
use crate::batch::{ChangeBatch, Refusal};
use crate::dead_letter::{
    DeadLetterConfig, Desk, Document, Letter, LetterOrder, LetterPolicy, LetterState, Original,
    Settlement, StoredLetter, keys_wait, must_wait, time_text,
};
use crate::error::{Error, Kind, Result};
use crate::event::{EncodedBatch, EncodedRecord, HeaderName, Refused, header};
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
    /// Somebody asked for a replay, or may have before the start.
    asked: bool,
    replaying: Option<Replaying>,
}

/// Letters that were handed to the stream once more.
struct Replaying {
    ids: Vec<u64>,
    durable: BoxFuture<'static, Result<Vec<Receipt>>>,
}

/// What is to be done about replays.
pub(super) enum Work {
    /// Letters may have been asked for.
    Look,
    /// These became durable, or did not.
    Settle(Vec<u64>, Result<Vec<Receipt>>),
}

/// What is taken out of a batch.
#[derive(Default)]
struct SetAside {
    /// Index of each change of the batch before anything was taken out.
    places: Vec<usize>,
    letters: Vec<(usize, Letter)>,
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
            asked: true,
            replaying: None,
        }
    }

    /// Letters were handed over again, and are not marked yet.
    pub(super) fn is_replaying(&self) -> bool {
        self.replaying.is_some()
    }

    /// The next thing to be done about replays; waits where there is none. Cancel-safe.
    pub(super) async fn next_work(&mut self, may_begin: bool) -> Work {
        if let Some(replaying) = &mut self.replaying {
            let durable = replaying.durable.as_mut().await;
            let ids = std::mem::take(&mut replaying.ids);
            return Work::Settle(ids, durable);
        }
        if !may_begin {
            return std::future::pending().await;
        }
        if !self.asked {
            self.rules.desk.asked().await;
        }
        self.asked = false;
        Work::Look
    }
}

// === impl SetAside ===

impl SetAside {
    fn of(batch: &ChangeBatch) -> Self {
        Self {
            places: (0..batch.changes.len()).collect(),
            letters: Vec::new(),
        }
    }

    /// Takes out of the batch what was refused, and what must wait for it or for `blocked`. Where the reason is missing, a
    /// person has already decided about the letter.
    fn part(&mut self, batch: &mut ChangeBatch, refused: &BTreeMap<usize, Option<Refusal>>, blocked: &BTreeSet<String>) {
        let mut blocked = blocked.clone();
        let mut kept = Vec::with_capacity(batch.changes.len());
        for (index, change) in batch.views().enumerate() {
            let refusal = match refused.get(&index) {
                Some(None) => continue,
                Some(Some(refusal)) => refusal.clone(),
                None if must_wait(change, &blocked) => Refusal::behind(change),
                None => {
                    kept.push(index);
                    continue;
                }
            };
            let letter = Letter::of_change(change, &refusal, now_us());
            blocked.extend(letter.keys.iter().cloned());
            self.letters
                .push((self.places.get(index).copied().unwrap_or(index), letter));
        }
        let changes = std::mem::take(&mut batch.changes);
        let places = std::mem::take(&mut self.places);
        let mut next = kept.into_iter().peekable();
        for (index, (change, place)) in changes.into_iter().zip(places).enumerate() {
            if next.next_if_eq(&index).is_some() {
                batch.changes.push(change);
                self.places.push(place);
            }
        }
    }

    fn into_letters(mut self) -> Vec<Letter> {
        self.letters.sort_by_key(|(place, _)| *place);
        self.letters.into_iter().map(|(_, letter)| letter).collect()
    }
}

// === impl Running ===

impl Running {
    /// Encodes a batch; what cannot be encoded, and what must wait, is durable as letters when this returns, and is in the
    /// batch no more.
    ///
    /// # Errors
    /// Of kind `Poison` where the policy is to halt.
    pub(super) async fn encode(&mut self, batch: &mut ChangeBatch) -> Result<EncodedBatch> {
        let rules = &self.letters.rules;
        if rules.config.policy == LetterPolicy::Halt {
            return self.pipeline.encoder.encode(batch)?.complete();
        }
        let desk = Arc::clone(&rules.desk);
        let held = desk.hold().await;
        self.refresh(*held).await?;
        let (mut encoded, letters) = self.sort_out(batch).await?;
        if letters.is_empty() {
            return Ok(encoded);
        }
        failpoint!(try BeforeQuarantine);
        let maximum = self.letters.rules.config.maximum();
        let states = self.pipeline.store.quarantine(&letters, maximum).await?;
        failpoint!(try AfterQuarantine);
        let numbers = &self.pipeline.telemetry.numbers;
        numbers
            .dead_letters
            .fetch_add(count(letters.len()), Ordering::Relaxed);
        let open = letters.iter().zip(states).filter(|(_, state)| state.is_open());
        let open: Vec<_> = open.map(|(letter, _)| letter).collect();
        if self.letters.rules.by_key() {
            let keys = open.iter().flat_map(|letter| letter.keys.iter().cloned());
            self.letters.blocked.extend(keys);
        }
        if self.letters.rules.config.policy == LetterPolicy::Topic {
            for letter in open {
                append_copy(&self.letters.rules, &mut encoded, letter);
            }
        }
        self.tell_letters().await?;
        Ok(encoded)
    }

    /// Which keys must wait, where others may have changed that.
    async fn refresh(&mut self, version: u64) -> Result<()> {
        if self.letters.version != Some(version) && self.letters.rules.by_key() {
            self.block_all_but(&[]).await?;
        }
        self.letters.version = Some(version);
        Ok(())
    }

    async fn block_all_but(&mut self, handed_over: &[u64]) -> Result<()> {
        let waiting = self.pipeline.store.waiting().await?;
        let waiting = waiting.into_iter().filter(|letter| !handed_over.contains(&letter.id));
        self.letters.blocked = waiting.flat_map(|letter| letter.keys).collect();
        Ok(())
    }

    /// Encodes what can go on, and makes letters of the rest.
    async fn sort_out(&mut self, batch: &mut ChangeBatch) -> Result<(EncodedBatch, Vec<Letter>)> {
        let mut aside = SetAside::of(batch);
        if !self.letters.blocked.is_empty() {
            aside.part(batch, &BTreeMap::new(), &self.letters.blocked);
        }
        let encoded = self.pipeline.encoder.encode(batch)?;
        if encoded.refused.is_empty() {
            return Ok((encoded, aside.into_letters()));
        }
        let refused = self.not_yet_decided(batch, &encoded.refused).await?;
        aside.part(batch, &refused, &BTreeSet::new());
        if !self.letters.rules.by_key() {
            // Nothing else was taken out: what was encoded stands.
            return Ok((encoded, aside.into_letters()));
        }
        let encoded = self.pipeline.encoder.encode(batch)?.complete()?;
        Ok((encoded, aside.into_letters()))
    }

    /// The refused changes by their index; without a reason where a person has dropped or replayed the letter already.
    async fn not_yet_decided(
        &self,
        batch: &ChangeBatch,
        refused: &[Refused],
    ) -> Result<BTreeMap<usize, Option<Refusal>>> {
        let reasons: BTreeMap<usize, &Refusal> = refused
            .iter()
            .map(|refused| (refused.change, &refused.refusal))
            .collect();
        let views = batch.views().enumerate();
        let views = views.filter_map(|(index, view)| Some((index, view, *reasons.get(&index)?)));
        let identified: Vec<_> = views
            .map(|(index, view, refusal)| (index, Letter::of_change(view, refusal, 0).identity, refusal.clone()))
            .collect();
        let identities: Vec<_> = identified.iter().map(|(_, identity, _)| identity.as_str()).collect();
        let closed = self.pipeline.store.closed(&identities).await?;
        let undecided = identified.into_iter();
        Ok(undecided
            .map(|(index, identity, refusal)| (index, (!closed.contains(&identity)).then_some(refusal)))
            .collect())
    }

    async fn tell_letters(&self) -> Result<()> {
        let summary = self.pipeline.store.summary().await?;
        self.pipeline.telemetry.set_dead_letters(&summary);
        Ok(())
    }

    /// Does the next thing about replays.
    pub(super) async fn replay(&mut self, work: Work) -> Result<()> {
        let desk = Arc::clone(&self.letters.rules.desk);
        let _held = desk.hold().await;
        match work {
            Work::Look => self.begin_replay().await,
            Work::Settle(ids, durable) => {
                self.letters.replaying = None;
                self.end_replay(&ids, durable).await
            }
        }
    }

    /// Hands letters that were asked for to the stream, in their order.
    async fn begin_replay(&mut self) -> Result<()> {
        let requested = self.pipeline.store.requested(REPLAYED_AT_A_TIME).await?;
        if requested.is_empty() {
            self.tell_letters().await?;
            self.letters.rules.desk.round_ends();
            return Ok(());
        }
        let (mut handed_over, mut deliveries) = (Vec::new(), Vec::new());
        let (mut settlements, mut behind) = (Vec::new(), BTreeSet::new());
        for StoredLetter { id, letter, .. } in requested {
            let settlement = if keys_wait(&letter.keys, &behind) {
                Settlement::Behind
            } else {
                match self.encode_again(&letter).await? {
                    Ok(encoded) => {
                        self.ensure_topics(&encoded).await?;
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
        self.give_back(settlements, &behind).await?;
        if self.letters.rules.by_key() {
            self.block_all_but(&handed_over).await?;
        }
        if handed_over.is_empty() {
            self.letters.asked = true;
            return Ok(());
        }
        self.letters.replaying = Some(Replaying {
            ids: handed_over,
            durable: Box::pin(try_join_all(deliveries)),
        });
        Ok(())
    }

    /// Writes down what was not handed over, and that what was asked for behind it waits again.
    async fn give_back(&self, mut settlements: Vec<(u64, Settlement)>, behind: &BTreeSet<String>) -> Result<()> {
        if settlements.is_empty() {
            return Ok(());
        }
        let first = settlements.first().map_or(0, |(id, _)| *id);
        for waiting in self.pipeline.store.waiting().await? {
            let known = settlements.iter().any(|(id, _)| *id == waiting.id);
            let asked = waiting.state == LetterState::ReplayRequested && waiting.id > first;
            if asked && !known && keys_wait(&waiting.keys, behind) {
                settlements.push((waiting.id, Settlement::Behind));
            }
        }
        self.pipeline.store.settle(&settlements).await
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
            // Of what is an event already, rules choose the way and change nothing. A row's own were applied before.
            pipeline.transform.apply(&mut batch)?;
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
    async fn end_replay(&mut self, ids: &[u64], durable: Result<Vec<Receipt>>) -> Result<()> {
        let all = |settlement: Settlement| ids.iter().map(|id| (*id, settlement.clone())).collect::<Vec<_>>();
        match durable {
            Ok(receipts) => {
                failpoint!(try ReplayDurable);
                self.pipeline.store.settle(&all(Settlement::Replayed)).await?;
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
                self.pipeline.store.settle(&all(refused)).await?;
                // The producer is of no use any more; what was asked for must not stop the others at each start.
                let sentence = "the stream refused letters that were to go out again; they wait as before";
                Err(Error::transient("replay_refused", sentence).with_source(error))
            }
            Err(error) => Err(error),
        }
    }
}

/// Adds the copy of a letter that is published.
fn append_copy(rules: &DeadLetters, encoded: &mut EncodedBatch, letter: &Letter) {
    let topic = encoded.topic_index(&rules.topic);
    let stored = StoredLetter {
        id: 0,
        state: LetterState::Waiting,
        attempts: 1,
        letter: letter.clone(),
    };
    let document = Document::of(&rules.connector, &stored).without_number();
    let mut append = |text: &str| {
        let start = encoded.buffer.len();
        encoded.buffer.extend_from_slice(text.as_bytes());
        start..encoded.buffer.len()
    };
    let value = append(&document.to_json());
    let headers = [
        (header::UPDATED_AT, append(&time_text(letter.updated_at_us))),
        (header::OPERATION, append(&letter.operation)),
        (header::SOURCE, append(&rules.connector)),
        (header::POSITION, append(&letter.position)),
        (header::EVENT_ID, append(&letter.event_id)),
        (header::DEAD_LETTER_CODE, append(&letter.code)),
        (header::DEAD_LETTER_REASON, append(&letter.reason)),
        (header::DEAD_LETTER_TABLE, append(&letter.table)),
    ];
    let start = encoded.headers.len();
    let headers = headers.map(|(name, range)| (HeaderName::Known(name), range));
    encoded.headers.extend(headers);
    encoded.records.push(EncodedRecord {
        topic,
        // A topic without keys is never compacted, and keeps its letters in one order.
        key: None,
        value: Some(value),
        headers: start..encoded.headers.len(),
        timestamp_ms: letter.updated_at_us.div_euclid(1000).max(0),
    });
}
