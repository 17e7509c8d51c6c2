//! Failover: the server's history forked. Is our position still on it?

use tailrace_core::{Error, Result};

use super::Opening;
use crate::config::PostgresConfig;
use crate::connect::application_name;
use crate::endpoint::Endpoint;
use crate::log::session::Session;
use crate::memory::Memory;
use crate::position::Lsn;

impl Opening {
    /// A new timeline is followed where everything that was carried is on it, and remembered.
    pub(super) async fn follow_timeline(&self, memory: &mut Memory, saved: Lsn) -> Result<()> {
        let timelines = (self.discovery.server.timeline, memory.timeline);
        let Some(now) = verify(&self.config, &self.context.connector, timelines, saved).await? else {
            return Ok(());
        };
        tracing::warn!(
            from = memory.timeline,
            to = now,
            "the server was promoted; everything that was carried is in its history"
        );
        memory.timeline = now;
        memory.remember(&*self.context.store).await
    }
}

/// Whether everything that was carried is in the history of the timeline that the server is on `now`; that one, where it is not the one of
/// `before`.
pub(super) async fn verify(
    config: &PostgresConfig,
    connector: &str,
    (now, before): (Option<u32>, u32),
    saved: Lsn,
) -> Result<Option<u32>> {
    let Some(now) = now.filter(|now| *now != before) else {
        return Ok(None);
    };
    let history = timeline_history(config, connector, now).await?;
    verify_history(&history, before, now, saved)?;
    Ok(Some(now))
}

async fn timeline_history(config: &PostgresConfig, connector: &str, timeline: u32) -> Result<String> {
    let endpoint = Endpoint::resolve(&config.access())?;
    let application = application_name(connector, "timeline");
    let asking = tokio::task::spawn_blocking(move || {
        let mut session = Session::connect(&endpoint, &application)?;
        session.query(
            &format!("TIMELINE_HISTORY {timeline}"),
            "read the server's timeline history",
        )
    });
    let rows = asking
        .await
        .map_err(|error| Error::transient("task_failed", "talking to the server ended early").with_source(error))??;
    Ok(rows
        .into_iter()
        .next()
        .and_then(|row| row.into_iter().nth(1))
        .flatten()
        .unwrap_or_default())
}

/// A history file has a line for each older timeline: its number, where it was left, why (manual 26.3.6).
fn verify_history(history: &str, before: u32, now: u32, saved: Lsn) -> Result<()> {
    let left_at = history.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let timeline: u32 = words.next()?.parse().ok()?;
        let left_at: Lsn = words.next()?.parse().ok()?;
        (timeline == before).then_some(left_at)
    });
    match left_at {
        Some(left_at) if saved <= left_at => Ok(()),
        Some(left_at) => Err(Error::definite(
            "diverged",
            format!(
                "the server was promoted at {left_at}, but changes up to {saved} were carried from the old primary: those after \
                 the fork are in the stream and not in the database; compare them, then `tailrace forget` and start again with a snapshot"
            ),
        )),
        None => Err(Error::definite(
            "source_rewound",
            format!(
                "this connector's progress is on timeline {before}, which is not in the history of the server's timeline {now}: \
                 it was restored from an older backup or is another copy; `tailrace forget` and start again with a snapshot"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_carried_must_be_on_the_new_history() {
        let history = "1\t0/3000000\tno recovery target specified\n\n2\t0/5000000\tno recovery target specified\n";
        let code = |before, saved| {
            verify_history(history, before, 3, Lsn(saved))
                .err()
                .map(|error| error.code())
        };
        assert_eq!(code(1, 0x300_0000), None);
        assert_eq!(code(2, 0x4ff_ffff), None);
        assert_eq!(code(1, 0x300_0001), Some("diverged"));
        assert_eq!(code(7, 1), Some("source_rewound"));
        assert_eq!(
            verify_history("", 1, 2, Lsn(1)).err().map(|error| error.code()),
            Some("source_rewound")
        );
    }
}
