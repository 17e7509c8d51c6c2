//! Rows of a queue that are no events, held back with everything of their aggregate: they stay in the table, in their order, until
//! somebody mends or deletes them. Nothing is remembered from round to round but what is told to people.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use tailrace_core::batch::RowView;
use tailrace_core::ports::RowJudge;
use tailrace_core::schema::SharedSchema;
use tailrace_core::telemetry::Telemetry;

use super::Readings;
use super::event::{Scratch, check_all, push_text};
use super::plan::{Outbox, Reading, TablePlan};

/// Keys that a notice names; their number is told anyway.
const KEYS_NAMED: usize = 10;

/// Holds back bad rows, and in each round all later rows with the key of one.
pub(super) struct Judge {
    readings: Readings,
    telemetry: Arc<Telemetry>,
    scratch: Scratch,
    /// By table: what this round has held back so far.
    rounds: BTreeMap<String, Round>,
}

#[derive(Debug, Default)]
struct Round {
    keys: HashSet<String>,
    rows: u64,
    /// Why the first row of the round was held back.
    reason: String,
}

// === impl Judge ===

impl Judge {
    pub(super) fn new(outbox: Arc<Outbox>, telemetry: Arc<Telemetry>) -> Self {
        Self {
            readings: Readings::new(outbox),
            telemetry,
            scratch: Scratch::default(),
            rounds: BTreeMap::new(),
        }
    }

    fn holds_event(&mut self, plan: &TablePlan, row: RowView<'_>) -> bool {
        let mut key = String::new();
        let has_key = push_text(&mut key, row.get(plan.key));
        let follows = has_key
            && self
                .rounds
                .get(&plan.name)
                .is_some_and(|round| round.keys.contains(&key));
        let bad = if follows {
            None
        } else {
            check_all(&self.readings.outbox, plan, row, &mut self.scratch).err()
        };
        if !follows && bad.is_none() {
            return false;
        }
        let round = self.rounds.entry(plan.name.clone()).or_default();
        round.rows += 1;
        if let Some(bad) = bad {
            if round.reason.is_empty() {
                round.reason = bad.problem;
            }
            // A row without a key has nobody that must wait for it.
            if has_key {
                round.keys.insert(key);
            }
        }
        true
    }

    /// What the rounds that ended have held back, for people.
    fn notice(&self) -> Option<String> {
        let held = self.rounds.iter().filter(|(_, round)| round.rows > 0);
        let sentence = |(table, round): (&String, &Round)| {
            let mut keys: Vec<_> = round.keys.iter().map(String::as_str).collect();
            keys.sort_unstable();
            keys.truncate(KEYS_NAMED);
            format!(
                "{} rows of {table} wait, of {} keys ({}); the first: {}; mend or delete it",
                round.rows,
                round.keys.len(),
                keys.join(", "),
                round.reason
            )
        };
        let sentences: Vec<_> = held.map(sentence).collect();
        (!sentences.is_empty()).then(|| sentences.join("; "))
    }
}

impl RowJudge for Judge {
    fn begin_round(&mut self, table: &SharedSchema) {
        self.telemetry.set_notice("outbox_held", self.notice());
        self.rounds.remove(&table.name.qualified());
    }

    fn holds(&mut self, table: &SharedSchema, row: RowView<'_>) -> bool {
        // What cannot be read at all is told when the row is handed out.
        let Ok(reading) = self.readings.of(table) else {
            return false;
        };
        match &*reading {
            Reading::Outbox(plan) => self.holds_event(plan, row),
            Reading::Ordinary | Reading::Messages { .. } => false,
        }
    }
}
