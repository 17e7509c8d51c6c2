//! Listening, and the bounds of every connection.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::uri::PathAndQuery;
use axum::http::{Request, Uri};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::access::Access;
use super::guard::Peer;
use super::tls::{self, Tls};
use super::{Shown, routes};

/// A client that does not finish its header in this time is not one of ours (slowloris).
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// From the first byte to the last of the answer. Most answers are made from memory or the state, in milliseconds; a stop takes longer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// An answer that goes on and on; who wants more asks again.
const LASTING_TIMEOUT: Duration = Duration::from_secs(600);
/// Scrapers, probes and a few people. One more takes the place of whoever has come first and not said yet what they want; where all have,
/// it waits until one is done.
const CONNECTIONS: usize = 64;
/// Nobody makes room before that: a header comes with the first packets.
const SAY_WITHIN: Duration = Duration::from_millis(50);
const HEADERS: usize = 64;
/// hyper's smallest; holds the whole header.
const HEADER_BYTES: usize = 16 * 1024;
/// Before another connection is accepted after the system refused one (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The endpoint; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Admin {
    _stop: watch::Sender<()>,
}

/// Whether the answer of a connection goes on for as long as somebody reads it.
#[derive(Debug, Clone, Default)]
pub(super) struct Lasting(Arc<AtomicBool>);

/// Connections that are open, in the order in which they came.
#[derive(Default)]
struct Open {
    tasks: JoinSet<()>,
    places: Vec<Place>,
}

/// A connection, as whoever accepts others sees it.
struct Place {
    task: AbortHandle,
    since: Instant,
    /// Its header has come as a whole.
    has_asked: Arc<AtomicBool>,
}

/// Where it listens.
pub(crate) struct Listeners {
    pub(crate) main: TcpListener,
    /// For probes alone.
    pub(crate) probes: Option<TcpListener>,
    /// The main one speaks it.
    pub(crate) tls: Option<Arc<Tls>>,
}

/// Who answers on one address.
struct Service {
    router: Router,
    tls: Option<Arc<Tls>>,
    access: Arc<Access>,
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
    pub(crate) fn start(listeners: Listeners, shown: Shown) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = watch::channel(());
        std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
            let serving = runtime.block_on(serve_all(listeners, shown, stopped));
            if let Err(error) = serving {
                tracing::error!(%error, "the HTTP endpoint ended; capture goes on");
            }
        })?;
        Ok(Self { _stop: stop })
    }
}

async fn serve_all(listeners: Listeners, shown: Shown, stopped: watch::Receiver<()>) -> io::Result<()> {
    let access = Arc::clone(&shown.access);
    let main = Service {
        router: routes::router(shown.clone()),
        tls: listeners.tls,
        access: Arc::clone(&access),
    };
    let main = serve(listeners.main, Arc::new(main), stopped.clone());
    let Some(probes) = listeners.probes else {
        return main.await;
    };
    let service = Service {
        router: routes::probes(shown),
        tls: None,
        access,
    };
    let probes = serve(probes, Arc::new(service), stopped);
    tokio::try_join!(main, probes).map(|_| ())
}

async fn serve(listener: TcpListener, service: Arc<Service>, mut stopped: watch::Receiver<()>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut open = Open::default();
    loop {
        let accepted = tokio::select! {
            // The other end was dropped: the process ends.
            _ = stopped.changed() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, from)) => {
                tokio::select! {
                    _ = stopped.changed() => return Ok(()),
                    () = open.make_room() => {}
                }
                open.answer(Arc::clone(&service), socket, from.ip());
            }
            Err(error) => {
                tracing::warn!(%error, "the HTTP endpoint cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

// === impl Open ===

impl Open {
    /// Waits until one more may come.
    async fn make_room(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        self.places.retain(|place| !place.task.is_finished());
        while self.places.len() >= CONNECTIONS {
            let is_silent = |place: &&Place| !place.has_asked.load(Ordering::Relaxed);
            let oldest = self.places.iter().find(is_silent);
            match oldest.map(|oldest| (oldest.since + SAY_WITHIN, oldest.task.clone())) {
                Some((until, task)) if until <= Instant::now() => {
                    task.abort();
                    self.places.retain(|place| place.task.id() != task.id());
                    continue;
                }
                // Either one is done before, or it is time for that one to go.
                Some((until, _)) => drop(tokio::time::timeout_at(until, self.tasks.join_next()).await),
                None => drop(self.tasks.join_next().await),
            }
            self.places.retain(|place| !place.task.is_finished());
        }
    }

    fn answer(&mut self, service: Arc<Service>, socket: TcpStream, address: IpAddr) {
        let has_asked = Arc::new(AtomicBool::new(false));
        let asks = Arc::clone(&has_asked);
        let task = self
            .tasks
            .spawn(async move { service.answer(socket, address, &asks).await });
        self.places.push(Place {
            task,
            since: Instant::now(),
            has_asked,
        });
    }
}

// === impl Service ===

impl Service {
    async fn answer(&self, socket: TcpStream, address: IpAddr, has_asked: &AtomicBool) {
        let mut peer = Peer {
            address,
            certificate_names: Vec::new(),
            is_encrypted: self.tls.is_some(),
        };
        let Some(tls) = &self.tls else {
            return self.speak(TokioIo::new(socket), peer, has_asked).await;
        };
        match tokio::time::timeout(HEADER_TIMEOUT, tls.acceptor().accept(socket)).await {
            Ok(Ok(stream)) => {
                let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                if let Some(certificate) = certificate {
                    peer.certificate_names = tls::names_of(certificate, self.access.certificate_names());
                }
                self.speak(TokioIo::new(stream), peer, has_asked).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "a TLS connection failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    /// One connection, one request: nothing is kept open for who does not ask.
    async fn speak<S>(&self, socket: TokioIo<S>, peer: Peer, has_asked: &AtomicBool)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let lasting = Lasting::default();
        let router = self
            .router
            .clone()
            .layer(Extension(peer))
            .layer(Extension(lasting.clone()));
        let routed = TowerToHyperService::new(router);
        let connection = http1::Builder::new()
            // Without a timer hyper does not watch its header timeout.
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_headers(HEADERS)
            .max_buf_size(HEADER_BYTES)
            .keep_alive(false)
            .serve_connection(
                socket,
                service_fn(move |request| {
                    has_asked.store(true, Ordering::Relaxed);
                    routed.call(without_slash(request))
                }),
            );
        tokio::select! {
            ended = connection => if let Err(error) = ended {
                tracing::debug!(%error, "an HTTP connection ended early");
            },
            () = lasting.too_long() => tracing::debug!("an HTTP connection took too long and was closed"),
        }
    }
}

/// `/connectors/` is `/connectors`, as for Kafka Connect, whose clients rely on it.
fn without_slash<B>(mut request: Request<B>) -> Request<B> {
    let path = request.uri().path();
    let Some(shorter) = path.strip_suffix('/').filter(|shorter| !shorter.is_empty()) else {
        return request;
    };
    let path = match request.uri().query() {
        None => shorter.to_owned(),
        Some(query) => format!("{shorter}?{query}"),
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(path).ok();
    // Where it cannot be written otherwise, it stays, and is not known.
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

// === impl Lasting ===

impl Lasting {
    /// From now on it may last.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    async fn too_long(&self) {
        tokio::time::sleep(CONNECTION_TIMEOUT).await;
        if self.0.load(Ordering::Relaxed) {
            tokio::time::sleep(LASTING_TIMEOUT).await;
        }
    }
}
