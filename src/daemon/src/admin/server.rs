//! Listening, and the bounds of every connection.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use super::Shown;
use super::routes::router;

/// A client that does not finish its header in this time is not one of ours (slowloris).
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// From the first byte to the last of the answer. Every answer is made from memory or the state, in milliseconds.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Scrapers, probes and a few people; more wait until one is done.
const CONNECTIONS: usize = 64;
const HEADERS: usize = 64;
/// hyper's smallest; holds the whole header.
const HEADER_BYTES: usize = 16 * 1024;
/// Before another connection is accepted after the system refused one (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The endpoint; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Admin {
    _stop: oneshot::Sender<()>,
}

/// Takes the address, so that a busy one is known before anything else starts. Port 0 takes a free one.
pub(crate) fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

// === impl Admin ===

impl Admin {
    /// Serves on a thread of its own.
    pub(crate) fn start(listener: TcpListener, shown: Shown) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
            let serving = runtime.block_on(serve(listener, shown, stopped));
            if let Err(error) = serving {
                tracing::error!(%error, "the HTTP endpoint ended; capture goes on");
            }
        })?;
        Ok(Self { _stop: stop })
    }
}

async fn serve(listener: TcpListener, shown: Shown, mut stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let service = TowerToHyperService::new(router(shown));
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return Ok(());
        };
        let accepted = tokio::select! {
            // The other end was dropped: the process ends.
            _ = &mut stopped => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((socket, _)) => {
                let service = service.clone();
                connections.spawn(async move {
                    answer(socket, service).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the HTTP endpoint cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, one request: nothing is kept open for who does not ask.
async fn answer(socket: TcpStream, service: TowerToHyperService<axum::Router>) {
    let connection = http1::Builder::new()
        // Without a timer hyper does not watch its header timeout.
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS)
        .max_buf_size(HEADER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an HTTP connection ended early"),
        Err(_) => tracing::debug!("an HTTP connection took too long and was closed"),
    }
}

#[cfg(test)]
mod tests;
