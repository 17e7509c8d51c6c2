//! Creating the slot: the one step that may wait for other people's transactions, and so must be seen and be cancellable.

use tailrace_core::{Error, Result, task};
use tokio::task::JoinHandle;

use super::{NewSlot, Opening};
use crate::connect::application_name;
use crate::endpoint::Endpoint;
use crate::error::query_error;
use crate::log::session::{Canceller, Session, TextRow};
use crate::position::Lsn;

/// How often the transactions that hold the creation up are looked for.
const BLOCKERS_INTERVAL: std::time::Duration = std::time::Duration::from_secs(2);

/// Transactions that were open when the slot was asked for: the server waits for each that may have written.
const BLOCKERS: &str = "
    SELECT format('backend %s (%s, open for %s s)', pid, coalesce(nullif(application_name, ''), usename, '?'),
                  extract(epoch FROM clock_timestamp() - xact_start)::int8)
      FROM pg_catalog.pg_stat_activity
     WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() AND xact_start < clock_timestamp() - interval '1 second'
    UNION ALL
    SELECT format('prepared transaction %s (for %s s)', quote_literal(gid), extract(epoch FROM clock_timestamp() - prepared)::int8)
      FROM pg_catalog.pg_prepared_xacts";

/// Cancels the creation on the server when the wait for it is given up.
struct CancelGuard(Option<Canceller>);

type Created = (Session, Vec<TextRow>);

impl Opening {
    /// Creates the slot, or a temporary one beside it, with an exported snapshot. Waits for transactions that are open.
    pub(super) async fn create_slot(&self, temporary: bool) -> Result<NewSlot> {
        let endpoint = Endpoint::resolve(&self.config.access())?;
        let application = application_name(&self.context.connector, "slot");
        let command = self.create_command(temporary);
        let connecting = tokio::task::spawn_blocking(move || Session::connect(&endpoint, &application));
        let session = connecting.await.map_err(ended_early)??;
        let mut guard = CancelGuard(Some(session.canceller()));
        let creating = tokio::task::spawn_blocking(move || {
            let mut session = session;
            session.wait_for_ever()?;
            let rows = session.query(&command, "create the replication slot")?;
            Ok((session, rows))
        });
        let (session, rows) = self.tell_who_blocks(creating).await?;
        guard.0 = None;
        new_slot(session, rows)
    }

    /// The server answers when the last transaction that was open has ended, however long that takes.
    async fn tell_who_blocks(&self, mut creating: JoinHandle<Result<Created>>) -> Result<Created> {
        let telemetry = &self.context.telemetry;
        let created = loop {
            match tokio::time::timeout(BLOCKERS_INTERVAL, &mut creating).await {
                Ok(created) => break created.map_err(ended_early)?,
                Err(_) => {
                    let blockers = self.blockers().await?;
                    let text = format!(
                        "the replication slot waits for older transactions to end: {}",
                        blockers.join(", ")
                    );
                    telemetry.set_notice("waiting_for_old_transactions", Some(text));
                }
            }
        };
        telemetry.set_notice("waiting_for_old_transactions", None);
        created
    }

    async fn blockers(&self) -> Result<Vec<String>> {
        let rows = self.catalog.query(BLOCKERS, &[]).await;
        let rows = rows.map_err(|error| query_error(&error, "look for open transactions"))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// `EXPORT_SNAPSHOT` is understood by every version; the newer form is only needed for `FAILOVER` (17 and later).
    fn create_command(&self, temporary: bool) -> String {
        let name = &self.names.slot;
        if temporary {
            // Short enough beside the longest name, and gone with the session.
            let stem: String = name.chars().take(50).collect();
            let process = std::process::id();
            return format!("CREATE_REPLICATION_SLOT \"{stem}_t{process}\" TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT");
        }
        if self.config.failover {
            return format!("CREATE_REPLICATION_SLOT \"{name}\" LOGICAL pgoutput (SNAPSHOT 'export', FAILOVER)");
        }
        format!("CREATE_REPLICATION_SLOT \"{name}\" LOGICAL pgoutput EXPORT_SNAPSHOT")
    }
}

/// Answer to CREATE_REPLICATION_SLOT: name, consistent point, snapshot, plugin (manual 55.4).
fn new_slot(session: Session, rows: Vec<TextRow>) -> Result<NewSlot> {
    let mut fields = rows
        .into_iter()
        .next()
        .unwrap_or_default()
        .into_iter()
        .skip(1)
        .flatten();
    let consistent_point: Option<Lsn> = fields.next().and_then(|text| text.parse().ok());
    match (consistent_point, fields.next()) {
        (Some(consistent_point), Some(snapshot_name)) => Ok(NewSlot {
            consistent_point,
            contained_until: consistent_point.to_position(),
            snapshot_name,
            session,
        }),
        _ => Err(Error::definite(
            "source_protocol",
            "the server created the slot without a consistent point or a snapshot",
        )),
    }
}

fn ended_early(error: tokio::task::JoinError) -> Error {
    Error::transient("task_failed", "talking to the server ended early").with_source(error)
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        let Some(canceller) = self.0.take() else {
            return;
        };
        let cancelled = task::spawn_named("cancel slot creation", async move {
            tokio::task::spawn_blocking(move || canceller.cancel()).await
        });
        // Best effort, after the wait was given up: nobody is left to hear about it.
        drop(cancelled);
    }
}
