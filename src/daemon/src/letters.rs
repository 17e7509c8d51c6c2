//! Dead letters as people see to them: over HTTP, and on the command line where no daemon runs.
//!
//! What is decided here is written to the state while the connector's desk is held, so that no pipeline of this process
//! decides by what was waiting a moment before. Pipelines of another process there are none: the state is locked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tailrace_core::dead_letter::{Document, LetterOrder, LetterPolicy, LetterState, StoredLetter, keys_wait};
use tailrace_core::event::time_text;
use tailrace_core::pipeline::source::DeadLetters;
use tailrace_core::telemetry::Telemetry;
use tailrace_core::{Error, Result};
use tailrace_state::StateStore;

/// There is no such letter.
pub(crate) const UNKNOWN: &str = "dead_letter_unknown";
/// It was replayed or dropped before.
pub(crate) const CLOSED: &str = "dead_letter_closed";
/// One before it waits, and order is kept.
pub(crate) const BEHIND: &str = "dead_letter_behind";

/// Letters that a list shows at most.
pub(crate) const PAGE: usize = 1000;
/// How long whoever asks for a replay is kept waiting for its end; below what a connection of the endpoint may take.
const REPLAY_WAIT: Duration = Duration::from_secs(5);

/// The letters of one connector, for those who see to them.
#[derive(Debug, Clone)]
pub(crate) struct LetterDesk {
    /// What the connector does with events that cannot be carried.
    pub(crate) rules: DeadLetters,
    /// Where the letters are.
    pub(crate) state: StateStore,
    /// Where their number is told; `None` where no daemon runs.
    pub(crate) telemetry: Option<Arc<Telemetry>>,
}

/// A list as it is answered.
#[derive(Serialize)]
struct Listing<'a> {
    connector: &'a str,
    policy: &'static str,
    order: &'static str,
    waiting: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest: Option<String>,
    letters: Vec<Document<'a>>,
}

// === impl LetterDesk ===

impl LetterDesk {
    /// The connector's name.
    pub(crate) fn connector(&self) -> &str {
        &self.rules.connector
    }

    /// Letters behind a number, as JSON without their rows; with `all` also those that were replayed or dropped lately.
    pub(crate) async fn list(&self, behind: u64, all: bool) -> Result<String> {
        let letters = self.state.dead_letters(self.connector(), (behind, PAGE, all)).await?;
        let summary = self.state.dead_letter_summary(self.connector()).await?;
        let listing = Listing {
            connector: self.connector(),
            policy: match self.rules.config.policy {
                LetterPolicy::Halt => "halt",
                LetterPolicy::Topic => "topic",
                LetterPolicy::Store => "store",
            },
            order: match self.rules.config.order {
                LetterOrder::None => "none",
                LetterOrder::Key => "key",
            },
            waiting: summary.waiting,
            oldest: summary.oldest_us.map(time_text),
            letters: letters
                .iter()
                .map(|letter| Document::of(self.connector(), letter))
                .collect(),
        };
        Ok(to_json(&listing))
    }

    /// A letter in full, as JSON.
    pub(crate) async fn show(&self, id: u64) -> Result<String> {
        let letter = self.find(id).await?;
        Ok(to_json(&Document::of(self.connector(), &letter)))
    }

    /// What would be lost with a letter.
    ///
    /// # Errors
    /// [`UNKNOWN`], [`CLOSED`].
    pub(crate) async fn in_words(&self, id: u64) -> Result<String> {
        let letter = self.find(id).await?;
        if !letter.state.is_open() {
            return Err(self.not_open(id).await?);
        }
        Ok(format!(
            "dead letter {id} of {}: operation {} on {} at {}, which was set aside because {}",
            self.connector(),
            letter.letter.operation,
            letter.letter.table,
            letter.letter.position,
            letter.letter.reason
        ))
    }

    /// Asks for a replay, and waits a little for what becomes of it. How the letter stands then, as JSON.
    ///
    /// # Errors
    /// [`UNKNOWN`], [`CLOSED`], [`BEHIND`].
    pub(crate) async fn replay(&self, id: u64) -> Result<String> {
        let mut rounds = self.rules.desk.rounds();
        self.request(id).await?;
        self.rules.desk.ask();
        let deadline = tokio::time::Instant::now() + REPLAY_WAIT;
        loop {
            let letter = self.find(id).await?;
            if letter.state != LetterState::ReplayRequested {
                return Ok(to_json(&Document::of(self.connector(), &letter).without_rows()));
            }
            let round = tokio::time::timeout_at(deadline, rounds.changed()).await;
            if !matches!(round, Ok(Ok(()))) {
                return Ok(to_json(&Document::of(self.connector(), &letter).without_rows()));
            }
        }
    }

    /// Writes down that a letter is wanted again, which the next pipeline of the connector obeys.
    ///
    /// # Errors
    /// As [`Self::replay`].
    pub(crate) async fn request(&self, id: u64) -> Result<StoredLetter> {
        let _held = self.rules.desk.hold().await;
        self.must_be_first(id).await?;
        let asked = LetterState::ReplayRequested;
        match self.state.decide_dead_letter(self.connector(), id, asked).await? {
            Some(letter) => Ok(letter),
            None => Err(self.not_open(id).await?),
        }
    }

    /// Gives a letter up: its event will be nowhere. As it was, as JSON.
    ///
    /// # Errors
    /// [`UNKNOWN`], [`CLOSED`].
    pub(crate) async fn give_up(&self, id: u64) -> Result<String> {
        let mut held = self.rules.desk.hold().await;
        let dropped = LetterState::Dropped;
        let Some(letter) = self.state.decide_dead_letter(self.connector(), id, dropped).await? else {
            return Err(self.not_open(id).await?);
        };
        // Whoever waits behind it may not have to any more.
        *held += 1;
        drop(held);
        if let Some(telemetry) = &self.telemetry {
            telemetry.set_dead_letters(&self.state.dead_letter_summary(self.connector()).await?);
        }
        tracing::warn!(
            connector = self.connector(),
            id,
            event_id = letter.letter.event_id,
            table = letter.letter.table,
            "a dead letter was dropped: its event will be nowhere"
        );
        Ok(to_json(&Document::of(self.connector(), &letter)))
    }

    async fn find(&self, id: u64) -> Result<StoredLetter> {
        let found = self.state.dead_letter(self.connector(), id).await?;
        found.ok_or_else(|| self.unknown(id))
    }

    /// Where order is kept, no letter goes out before one of its key that waits.
    async fn must_be_first(&self, id: u64) -> Result<()> {
        if self.rules.config.order != LetterOrder::Key {
            return Ok(());
        }
        let waiting = self.state.dead_letters_waiting(self.connector()).await?;
        let Some(own) = waiting.iter().find(|letter| letter.id == id) else {
            return Ok(());
        };
        let earlier = waiting
            .iter()
            .filter(|letter| letter.id < id && letter.state == LetterState::Waiting);
        for letter in earlier {
            let keys: BTreeSet<String> = letter.keys.iter().cloned().collect();
            if keys_wait(&own.keys, &keys) {
                let message = format!(
                    "dead letter {id} of connector {} waits behind letter {} of the same key, and `dead_letters.order` is `key`; \
                     replay or drop that one first",
                    self.connector(),
                    letter.id
                );
                return Err(Error::definite(BEHIND, message));
            }
        }
        Ok(())
    }

    fn unknown(&self, id: u64) -> Error {
        let message = format!(
            "connector {} has no dead letter {id}; `tailrace dlq list` shows those that there are",
            self.connector()
        );
        Error::definite(UNKNOWN, message)
    }

    async fn not_open(&self, id: u64) -> Result<Error> {
        let letter = self.find(id).await?;
        let message = format!(
            "dead letter {id} of connector {} was {} before; there is nothing more to be done about it",
            self.connector(),
            letter.state.name()
        );
        Ok(Error::definite(CLOSED, message))
    }
}

fn to_json(value: &impl Serialize) -> String {
    // Everything in it is text and numbers.
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
