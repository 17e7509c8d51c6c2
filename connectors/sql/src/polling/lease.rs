//! One daemon of several reads a queue at a time.
//!
//! A row of the lease table names the holder, its epoch and when the lease ends. Whoever finds it ended takes it, with the next
//! epoch. Two things keep a holder that was frozen from doing harm when it wakes up:
//! - it counts from before its last renewal by its own steady clock, and hands nothing out after the end;
//! - each deletion and mark has the epoch as its condition, so that nothing is deleted for a holder that is none any more.
//!
//! What such a holder had handed to the stream already may still arrive there: again, with the same `event_id`.

use std::time::Duration;

use tailrace_core::{Error, Result};
use tokio::time::Instant;

use crate::config::LeaseConfig;
use crate::dialect::{Dialect, Syntax};
use crate::statement::Statement;

/// A lease, held or not.
#[derive(Debug)]
pub(super) struct Lease {
    name: String,
    /// The table, quoted.
    table: String,
    /// Who we are: another name at each start, so that nobody takes an older process for this one.
    owner: String,
    duration: Duration,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    epoch: i64,
    until: Instant,
}

// === impl Lease ===

impl Lease {
    /// The lease of a connector, not held yet.
    pub(super) fn new(config: &LeaseConfig, connector: &str, syntax: &dyn Syntax) -> Self {
        let schema = syntax.default_schema().filter(|_| !config.table.contains('.'));
        let table = schema.into_iter().chain(config.table.split('.'));
        let table = table.map(|part| syntax.identifier(part));
        Self {
            name: config.name.clone().unwrap_or_else(|| connector.to_owned()),
            table: table.collect::<Vec<_>>().join("."),
            owner: format!("{:016x}", rand::random::<u64>()),
            duration: Duration::from_millis(config.lease_ms),
            held: None,
        }
    }

    /// How long to wait before asking again for a lease that somebody else has.
    pub(super) fn retry_after(&self) -> Duration {
        self.duration / 4
    }

    /// The condition under which this daemon may change rows; `None` where it may not.
    pub(super) fn guard(&self) -> Option<String> {
        let held = self.held.as_ref().filter(|_| self.is_held())?;
        Some(format!(
            "EXISTS (SELECT 1 FROM {} WHERE name = {} AND epoch = {} AND owner = {})",
            self.table,
            literal(&self.name),
            held.epoch,
            literal(&self.owner)
        ))
    }

    /// True as long as nobody else can have it.
    pub(super) fn is_held(&self) -> bool {
        self.held.as_ref().is_some_and(|held| Instant::now() < held.until)
    }

    /// Takes or renews the lease, where it is time to. Gives whether it is held.
    ///
    /// # Errors
    /// `lease_lost` where it was held and somebody else has it now: everything that is in flight is theirs.
    pub(super) async fn secure(&mut self, dialect: &mut impl Dialect) -> Result<bool> {
        let renew_at = self.held.as_ref().map(|held| held.until - self.duration * 2 / 3);
        if renew_at.is_some_and(|at| Instant::now() < at) {
            return Ok(true);
        }
        // Counted from before the statement: its answer may take its time.
        let asked_at = Instant::now();
        let now_us = dialect.now_us().await?;
        let until_us = now_us.saturating_add(i64::try_from(self.duration.as_micros()).unwrap_or(i64::MAX));
        let until = asked_at + self.duration;
        if let Some(epoch) = self.held.as_ref().map(|held| held.epoch) {
            if dialect.execute(&self.renewal(epoch, until_us)).await? == 0 {
                return Err(lost(&self.name));
            }
            self.held = Some(Held { epoch, until });
            return Ok(true);
        }
        if dialect.execute(&self.takeover(now_us, until_us)).await? == 0 {
            if dialect.number(&self.known()).await? != Some(0) {
                return Ok(false);
            }
            // Of two that come first at the same moment the primary key refuses one, which tries again.
            dialect.execute(&self.first(until_us)).await?;
        }
        let epoch = dialect.number(&self.own_epoch()).await?;
        self.held = epoch.map(|epoch| Held { epoch, until });
        Ok(self.held.is_some())
    }

    fn renewal(&self, epoch: i64, until_us: i64) -> Statement {
        Statement::text(format!(
            "UPDATE {} SET expires_at_us = {until_us} WHERE name = {} AND epoch = {epoch} AND owner = {}",
            self.table,
            literal(&self.name),
            literal(&self.owner)
        ))
    }

    fn takeover(&self, now_us: i64, until_us: i64) -> Statement {
        Statement::text(format!(
            "UPDATE {} SET epoch = epoch + 1, owner = {}, expires_at_us = {until_us} WHERE name = {} AND expires_at_us < {now_us}",
            self.table,
            literal(&self.owner),
            literal(&self.name)
        ))
    }

    fn known(&self) -> Statement {
        Statement::text(format!(
            "SELECT count(*) FROM {} WHERE name = {}",
            self.table,
            literal(&self.name)
        ))
    }

    fn first(&self, until_us: i64) -> Statement {
        Statement::text(format!(
            "INSERT INTO {} (name, epoch, owner, expires_at_us) VALUES ({}, 1, {}, {until_us})",
            self.table,
            literal(&self.name),
            literal(&self.owner)
        ))
    }

    fn own_epoch(&self) -> Statement {
        Statement::text(format!(
            "SELECT epoch FROM {} WHERE name = {} AND owner = {}",
            self.table,
            literal(&self.name),
            literal(&self.owner)
        ))
    }
}

/// Somebody else has it now.
pub(super) fn lost(name: &str) -> Error {
    Error::transient(
        "lease_lost",
        format!(
            "the lease `{name}` was not renewed in time and another daemon has it now; this one waits until it is free again"
        ),
    )
}

/// A name as a string literal: it has nothing in it that would end one, see [`LeaseConfig`].
fn literal(text: &str) -> String {
    format!("'{text}'")
}
