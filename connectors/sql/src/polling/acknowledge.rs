//! What is done to rows of queues that are durable, and by whom it may be done.

use tailrace_core::position::{Position, Progress};
use tailrace_core::telemetry::Life;
use tailrace_core::{Result, failpoint};
use tokio::time::Instant;

use super::{Poller, queue};
use crate::config::QueryMode;
use crate::cursor;
use crate::dialect::Dialect;

/// Rows of a queue that are durable and cannot be deleted: with so many nothing more is read.
const UNACKNOWLEDGED_MAXIMUM: usize = 100_000;

impl<D: Dialect> Poller<D> {
    /// Takes or renews the lease, where one is configured. False where somebody else has it.
    pub(super) async fn secure_lease(&mut self) -> Result<bool> {
        let Some(lease) = &mut self.lease else {
            return Ok(true);
        };
        if lease.secure(&mut self.dialect).await? {
            return Ok(true);
        }
        self.rest_until = Instant::now() + lease.retry_after();
        let reason = "another daemon reads the queue; this one takes over when it no longer does";
        self.telemetry.enter(Life::Starting, reason);
        Ok(false)
    }

    /// What became durable is acknowledged, as far as it was handed out as a queue.
    pub(super) async fn confirm(&mut self, durable: &Position) -> Result<()> {
        if self.tables.iter().all(|state| state.plan.mode != QueryMode::Queue) {
            return Ok(());
        }
        let cursors = cursor::from_progress(Some(&Progress::at(durable.clone())))?;
        for state in &mut self.tables {
            let handed = cursors.get(&state.name).and_then(|cursor| cursor.handed_batches);
            state.queue.confirm(handed.unwrap_or(0));
        }
        failpoint!(try BeforeAcknowledge);
        self.acknowledge().await
    }

    /// Deletes or marks what is durable. Where that fails in passing the rows are kept, and tried again before the next page.
    pub(super) async fn acknowledge(&mut self) -> Result<()> {
        let guard = match &self.lease {
            Some(lease) => match lease.guard() {
                Some(guard) => Some(guard),
                None => return Ok(()),
            },
            None => None,
        };
        for state in &mut self.tables {
            loop {
                let ids = state.queue.to_acknowledge();
                if ids.is_empty() {
                    break;
                }
                let statement = queue::acknowledgement(
                    self.dialect.syntax(),
                    &state.plan,
                    &self.config.acknowledge,
                    &ids,
                    guard.as_deref(),
                );
                match self.dialect.execute(&statement).await {
                    Ok(_) => state.queue.acknowledged(ids.len()),
                    Err(error) if state.queue.unacknowledged() >= UNACKNOWLEDGED_MAXIMUM => return Err(error),
                    Err(error) => {
                        let sentence = format!(
                            "durable rows of table {} are still in it: {}",
                            state.name,
                            error.report()
                        );
                        self.telemetry.set_notice("unacknowledged", Some(sentence));
                        return Ok(());
                    }
                }
            }
        }
        self.telemetry.set_notice("unacknowledged", None);
        Ok(())
    }
}
