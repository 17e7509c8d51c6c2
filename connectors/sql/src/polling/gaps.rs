//! What may come late: ids behind a gap, rows with old timestamps, ids that are given out again.

use std::time::Duration;

use tailrace_core::telemetry::DelayWindow;
use tailrace_core::{Error, Result};
use tokio::time::Instant;

use super::Poller;
use super::table::TableState;
use crate::config::QueryMode;
use crate::cursor::CursorValue;
use crate::dialect::{Dialect, GapSafety, IdGeneration};
use crate::statement;

/// A transaction that is waited for longer than this is named.
const GAP_PATIENCE: Duration = Duration::from_secs(5);
/// How often the longest open transaction is asked for.
const WINDOW_INTERVAL: Duration = Duration::from_secs(5);

impl<D: Dialect> Poller<D> {
    pub(super) fn announce_gap_safety(&self) {
        for state in &self.tables {
            self.telemetry
                .set_gap_safety(&state.name, state.gap.safety.name(), &state.gap.reason);
        }
        let unproven = self.tables.iter().filter(|state| state.gap.safety != GapSafety::Proven);
        let sentence =
            |state: &TableState| format!("{}: {}, {}", state.name, state.gap.safety.name(), state.gap.reason);
        self.announce("gap_safety", unproven.map(sentence).collect());
    }

    /// Whether those who are waited for are over.
    pub(super) async fn look_at_gap(&mut self, index: usize) -> Result<()> {
        let Some(state) = self.tables.get_mut(index) else {
            return Ok(());
        };
        if state.ledger.waiting_for().is_none() {
            return Ok(());
        }
        let open = self.dialect.writers(&state.plan).await?;
        state.ledger.look(&open);
        self.announce_waiting();
        Ok(())
    }

    /// Rows are behind ids that are missing: first the highest id that is visible, then who may still fill the gap.
    ///
    /// Not the highest that was ever given out: a number whose transaction was rolled back need not be on the server's disk, and is
    /// given out again when the server crashes at that moment, behind a cursor that has passed it.
    pub(super) async fn wait_for_gap(&mut self, index: usize) -> Result<()> {
        let Some(state) = self.tables.get_mut(index) else {
            return Ok(());
        };
        if state.ledger.waiting_for().is_some() {
            return Ok(());
        }
        let visible = statement::highest_id(self.dialect.syntax(), &state.plan);
        let highest = self.dialect.number(&visible).await?;
        let writers = self.dialect.writers(&state.plan).await?;
        state.ledger.wait(highest.unwrap_or(0), writers);
        Ok(())
    }

    /// Names who is waited for, where that takes long.
    pub(super) fn announce_waiting(&mut self) {
        let mut sentences = Vec::new();
        for state in &mut self.tables {
            let Some(writers) = state.ledger.waiting_for() else {
                state.waiting_since = None;
                continue;
            };
            let since = *state.waiting_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= GAP_PATIENCE {
                let names: Vec<_> = writers.sessions.iter().chain(&writers.prepared).cloned().collect();
                sentences.push(format!(
                    "rows of table {} wait for transactions that may still insert rows with lower ids: {}",
                    state.name,
                    names.join(", ")
                ));
            }
        }
        self.announce("waiting_for_writers", sentences);
    }

    /// Now and then, how long transactions are open, beside the delay that is to cover them.
    pub(super) async fn look_at_window(&mut self) -> Result<()> {
        let windows = self
            .tables
            .iter()
            .filter(|state| state.gap.safety == GapSafety::DelayWindow);
        let Some(delay_us) = windows.map(|state| state.plan.delay_us).min() else {
            return Ok(());
        };
        if Instant::now() < self.window_due_at {
            return Ok(());
        }
        self.window_due_at = Instant::now() + WINDOW_INTERVAL;
        let longest_us = self.dialect.longest_transaction_us().await?;
        self.telemetry.set_delay_window(DelayWindow {
            delay_ms: delay_us / 1000,
            longest_transaction_ms: longest_us.map(|longest| longest / 1000),
        });
        let exceeded = longest_us.filter(|longest| *longest > delay_us);
        let sentence = exceeded.map(|longest| {
            format!(
                "a transaction has been open for {} ms, longer than query.delay_ms ({} ms): rows that it commits with an older \
                 timestamp are not seen; set delay_ms above the longest transaction, and read the table again",
                longest / 1000,
                delay_us / 1000
            )
        });
        self.announce("delay_window_exceeded", sentence.into_iter().collect());
        Ok(())
    }

    /// A table that has nothing above its cursor may have lost its newest rows, and give their ids out again.
    pub(super) async fn look_for_reused_ids(&mut self, index: usize) -> Result<()> {
        let Some(state) = self.tables.get(index) else {
            return Ok(());
        };
        let Some(cursor) = self.cursors.get_mut(&state.name) else {
            return Ok(());
        };
        let Some(at) = cursor.id.as_ref().and_then(CursorValue::as_integer) else {
            return Ok(());
        };
        if state.plan.mode != QueryMode::Incrementing {
            return Ok(());
        }
        let highest = self.dialect.highest_id(&state.plan).await?;
        if highest.is_some_and(|highest| highest >= at) {
            return Ok(());
        }
        let name = &state.name;
        if state.plan.id_generation() == IdGeneration::NeverReused {
            return Err(Error::definite(
                "source_went_back",
                format!(
                    "table {name} was read up to id {at}, but its ids now end at {}: the database was restored from an older \
                     copy or its numbering was reset, and new rows would be skipped; give the connector a new name to read \
                     the table from the beginning",
                    highest.unwrap_or(0)
                ),
            ));
        }
        cursor.id = highest.map(CursorValue::Integer);
        cursor.generation = cursor.generation.saturating_add(1);
        // What comes now is new, whatever its number.
        cursor.load_end = cursor.load_end.min(Some(highest.unwrap_or(0)));
        self.unreported = true;
        let notice = format!(
            "the newest rows of table {name} were deleted (read up to id {at}, now ends at {}), and their ids are given out \
             again: a row that was inserted and deleted between two polls was not seen; AUTOINCREMENT keeps ids apart",
            highest.map_or_else(|| "none".to_owned(), |id| id.to_string())
        );
        self.telemetry.set_notice("ids_reused", Some(notice));
        Ok(())
    }
}
