//! What only one process may have, the port and the state: taken, refused, or waited for.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use tailrace_core::{Error, Result};
use tailrace_state::StateStore;
use tokio::time::MissedTickBehavior;

use crate::admin;

/// What to do where somebody else has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Say so and end.
    Refuse,
    /// Take any free port; a state there is only one of.
    TakeAnotherPort,
    /// Wait until whoever has it has ended, however long that takes.
    StandBy,
}

/// Nobody is told when a port or a lock becomes free. Between two looks no changes are carried, and a look costs next to nothing.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Listens, once that can be.
pub(crate) async fn listen(address: SocketAddr, taken: Taken) -> Result<(TcpListener, SocketAddr)> {
    match taken {
        Taken::Refuse => bind(address),
        Taken::TakeAnotherPort => match bind(address) {
            Err(error) if is_taken(&error) => bind(SocketAddr::new(address.ip(), 0)),
            result => result,
        },
        Taken::StandBy => when_free(|| std::future::ready(bind(address))).await,
    }
}

/// Opens the state, once that can be.
pub(crate) async fn open_state(path: &Path, taken: Taken) -> Result<StateStore> {
    match taken {
        Taken::Refuse | Taken::TakeAnotherPort => StateStore::open(path).await,
        Taken::StandBy => {
            // Of one that a later release has, now and not when that has ended.
            StateStore::outdated(path).await?;
            when_free(|| StateStore::open(path)).await
        }
    }
}

/// Tries until nobody else has it.
async fn when_free<T, F: Future<Output = Result<T>>>(mut take: impl FnMut() -> F) -> Result<T> {
    let mut tick = tokio::time::interval(LOOK_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_said = false;
    loop {
        tick.tick().await;
        match take().await {
            Err(error) if is_taken(&error) => {
                if !was_said {
                    let code = error.code();
                    let what = if code == "state_locked" { "state" } else { "port" };
                    tracing::info!(
                        code,
                        "standing by until the other process has ended, which has the {what}"
                    );
                    was_said = true;
                }
            }
            result => return result,
        }
    }
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    admin::listen(address).map_err(|error| unlistenable(address, error))
}

/// Somebody else has the port or the state.
fn is_taken(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    error.code() == "state_locked" || source.is_some_and(|source| source.kind() == io::ErrorKind::AddrInUse)
}

/// The endpoint cannot listen there.
pub(crate) fn unlistenable(address: SocketAddr, error: io::Error) -> Error {
    let sentence =
        format!("the HTTP endpoint cannot listen on {address}; choose another address with `admin: {{listen: …}}`");
    Error::definite("admin_unlistenable", sentence).with_source(error)
}

#[cfg(test)]
mod tests {
    use tailrace_core::task::spawn_named;

    use super::*;

    #[tokio::test]
    async fn a_port_is_refused_replaced_or_waited_for() {
        let (held, address) = listen(SocketAddr::from(([127, 0, 0, 1], 0)), Taken::Refuse)
            .await
            .unwrap();
        let refused = listen(address, Taken::Refuse).await.unwrap_err();
        assert_eq!(refused.code(), "admin_unlistenable");
        let (_, another) = listen(address, Taken::TakeAnotherPort).await.unwrap();
        assert_ne!(another.port(), address.port());
        let waiting = spawn_named("waiting", listen(address, Taken::StandBy));
        drop(held);
        assert_eq!(waiting.await.unwrap().unwrap().1, address);
    }

    #[tokio::test]
    async fn a_state_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let held = open_state(&path, Taken::Refuse).await.unwrap();
        assert_eq!(
            open_state(&path, Taken::Refuse).await.unwrap_err().code(),
            "state_locked"
        );
        // The one that waits is asked first.
        let (waited, ended) = tokio::join!(open_state(&path, Taken::StandBy), held.close());
        ended.unwrap();
        waited.unwrap();
    }
}
