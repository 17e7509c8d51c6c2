//! The model's rows, read while the log is carried: what a transaction has written may be in the log, and handed out, long before
//! anybody who reads the tables sees it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rand::RngExt;
use tailrace_core::batch::{ChangeBatch, Operation, Transaction};
use tailrace_core::error::{Error, Result};
use tailrace_core::ports::{Window, WindowReader, WindowRequest, WindowTable, WindowTables};
use tailrace_core::position::{Position, Progress};

use crate::connector::{IDENTITY, log_number, log_position, push_change};
use crate::database::{Database, Rows, TABLES, table_name, table_number};
use crate::log::Place;
use crate::world::{State, World, pass};

/// First word of the position of rows that were read so.
pub(crate) const WINDOW: &str = "window";

pub(crate) struct ModelWindows(pub(crate) Arc<World>);

// === impl ModelWindows ===

impl ModelWindows {
    /// Rows as they are seen now, where everything that was handed out can be seen.
    fn view(state: &mut State, request: &WindowRequest) -> Option<Rows> {
        let place = Place::of(&request.handed_out);
        if !state.profile.trusts_the_log && state.database.hides(place) {
            state.journal.count("window waits for what is not visible");
            return None;
        }
        let after = request.after.as_ref().map(|key| key.parse::<u32>().unwrap());
        let rows = &state.database.seen[table_number(&request.table)];
        let rows = rows.iter().filter(|(key, _)| after.is_none_or(|after| **key > after));
        let limit = request.budget.changes.min(state.dice.random_range(1..4));
        Some(rows.take(limit).map(|(key, version)| (*key, *version)).collect())
    }

    /// Fails now and then; nobody must hear of it but who waits for the snapshot.
    async fn visit(&self) -> Result<()> {
        self.0.pause().await;
        self.0.with(|state| {
            let likelihood = state.profile.fails;
            if !state.fault(likelihood) {
                return Ok(());
            }
            state.journal.count("window failed");
            Err(Error::transient("scripted_window", "rows cannot be read now"))
        })
    }
}

impl Database {
    /// Something up to there is not visible yet.
    fn hides(&self, place: Place) -> bool {
        let partly = (place.changes > 0).then(|| self.first_behind(place.position));
        let mut hidden = self.stalled.iter();
        hidden.any(|index| self.log[*index].position <= place.position || Some(*index) == partly)
    }
}

#[async_trait]
impl WindowReader for ModelWindows {
    async fn tables(&self) -> Result<WindowTables> {
        self.visit().await?;
        let table = |table: &usize| WindowTable {
            name: self.0.with(|state| state.database.schema(*table)).name.clone(),
            rows_estimated: None,
            refusal: None,
        };
        let tables = self.0.with(|state| state.oracle.life.tables.clone());
        Ok(WindowTables {
            tables: tables.iter().map(table).collect(),
            ..WindowTables::default()
        })
    }

    async fn read(&self, request: WindowRequest) -> Result<Window> {
        self.visit().await?;
        let table = table_number(&request.table);
        let (rows, schema, number) = loop {
            let seen = self.0.with(|state| {
                let rows = Self::view(state, &request)?;
                state.windows += 1;
                state
                    .journal
                    .note(format!("window {}: {rows:?} of {}", state.windows, table_name(table)));
                Some((rows, state.database.schema(table), state.windows))
            });
            match seen {
                Some(seen) => break seen,
                None => pass(Duration::from_millis(3)).await,
            }
        };
        self.0.read().await;
        self.visit().await?;
        let high = self.0.with(|state| state.database.end);
        let mut batch = ChangeBatch::new(IDENTITY.into(), Progress::at(Position::new("of the core")));
        let transaction = batch.push_transaction(Transaction {
            id: None,
            committed_at_us: 0,
            position: format!("{WINDOW}@{number}").into(),
            log_position: None,
            previous_log_position: None,
            binlog: None,
        });
        let index = batch.table_index(&schema);
        for row in &rows {
            let ordinal = u64::from(*row.0) * TABLES as u64 + table as u64;
            push_change(
                &mut batch,
                Operation::Read,
                (index, transaction),
                (*row.0, *row.1),
                ordinal,
            );
        }
        Ok(Window {
            batch,
            schema,
            high: log_position(high),
            next: rows.last_key_value().map(|(key, _)| key.to_string()),
        })
    }

    fn has_passed(&self, position: &Position, high: &Position) -> Result<bool> {
        Ok(log_number(position) >= log_number(high))
    }

    fn rest(&self) {}
}
