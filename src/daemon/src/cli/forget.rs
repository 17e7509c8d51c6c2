//! `tailrace forget`: takes what the state knows of a connector away, so that it begins anew. In two steps, because what
//! was captured and not carried is given up by it.

use super::{Exit, Failure};
use crate::config::plan::Plan;
use crate::screen;
use tailrace_core::position::Progress;
use tailrace_core::snapshot::Resume;
use tailrace_state::StateStore;

/// Says what would be forgotten; forgets it where `confirmed`.
pub(crate) async fn run(plan: Plan, connector: &str, confirmed: bool) -> Result<Exit, Failure> {
    let state = match confirmed {
        true => StateStore::open(&plan.state_path).await?,
        false => StateStore::looked_at(&plan.state_path).await?,
    };
    let known = state.connectors().await?;
    let Some(found) = known.into_iter().find(|known| known.name == connector) else {
        state.close().await?;
        screen::print(&format!(
            "{} knows no connector `{connector}`\n",
            plan.state_path.display()
        ))?;
        return Ok(Exit::NotRight);
    };
    let position = found.checkpoint.map_or_else(
        || "nothing carried yet".to_owned(),
        |checkpoint| carried(&checkpoint.progress),
    );
    let letters = state.dead_letter_summary(connector).await?.waiting;
    if confirmed {
        state.forget(connector).await?;
        state.close().await?;
        screen::print(&format!(
            "forgot `{connector}` ({position}); its next start is its first. What it made on the source (slot, publication) is still there\n"
        ))?;
        return Ok(Exit::Ended);
    }
    state.close().await?;
    if letters > 0 {
        screen::print(&format!(
            "`{connector}` has {letters} dead letters that wait; they are given up too, and their events will be nowhere: \
             `tailrace dlq list` shows them\n"
        ))?;
    }
    screen::print(&format!(
        "`{connector}`: {position}. Forgetting it means that its next start is its first: with a snapshot, every row is published again; \
         changes that were not carried before it are not published as such, and deletes among them not at all. \
         To do it: the same command with --yes\n"
    ))?;
    Ok(Exit::NotRight)
}

/// How far a connector is, in words. What cannot be read is shown as it is: forgetting is the way out of that too.
pub(super) fn carried(progress: &Progress) -> String {
    let read = |tables: usize| {
        if tables == 1 {
            "1 table".to_owned()
        } else {
            format!("{tables} tables")
        }
    };
    match Resume::from_progress(Some(progress)) {
        Ok(Resume::Snapshot(snapshot)) if snapshot.complete => {
            format!("at the end of the snapshot, {} read", read(snapshot.read_at.len()))
        }
        Ok(Resume::Snapshot(snapshot)) => {
            format!(
                "in the middle of the snapshot, {} read to the end",
                read(snapshot.read_at.len())
            )
        }
        Ok(Resume::Log(_) | Resume::Bootstrap) | Err(_) => format!("carried up to {}", progress.position),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailrace_core::position::Position;

    #[test]
    fn a_position_is_said_in_words() {
        let said = |position: &str| carried(&Progress::at(Position::new(position)));
        let snapshot = |tables: &str, complete: bool| {
            said(&format!(
                r#"snapshot:{{"log_start": "0/1", "read_at": {{{tables}}}, "complete": {complete}}}"#
            ))
        };
        assert_eq!(
            snapshot("", false),
            "in the middle of the snapshot, 0 tables read to the end"
        );
        assert_eq!(
            snapshot(r#""public.a": "0/1""#, false),
            "in the middle of the snapshot, 1 table read to the end"
        );
        assert_eq!(
            snapshot(r#""public.a": "0/1", "public.b": "0/1""#, true),
            "at the end of the snapshot, 2 tables read"
        );
        assert_eq!(said("0/16B3748"), "carried up to 0/16B3748");
        assert_eq!(said("snapshot:?"), "carried up to snapshot:?");
    }
}
