//! A TCP proxy on a loopback port in front of a real server: the network, and what becomes of it.
//!
//! ```text
//!   daemon ──▶ 127.0.0.1:PORT ─▶ [frames] ─▶ rules: pass · lose · answer otherwise · cut ─▶ weather: blackhole, delay, throttle ─▶ server
//!          ◀──────────────────── [frames] ◀───────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! There are two kinds of faults. The *weather* holds until it changes: nothing passes, everything is late, little passes
//! at a time, nobody is let in. A *fault* is armed and happens once, when its moment comes: [`Proxy::arm`] gives an
//! [`Armed`] that resolves when it has happened, so that no test has to guess when that is.
//!
//! What the proxy reads it cuts into the protocol's frames, because the interesting places are between and inside of
//! them: the answer to a produce request that the broker has written, the last status update of a replication session.
//!
//! Why a thread with a runtime of its own: a proxy serves several tests after each other, each of which has its own
//! runtime, and tests block theirs while they poll. Why delays are timers here: they are the fault itself.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tailrace_core::task::spawn_named;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::servers::{Port, Result, ServerError, poll_until};

mod fault;
mod frames;
mod lent;
mod produce;
mod pump;

pub use fault::{Armed, Direction, Ending, Fault, Then, Who};
pub use frames::{FrameKind, Protocol};
pub use lent::{Lent, Proxies};

use fault::Rule;
pub(crate) use pump::pass_time;

use pump::Connection;

/// The proxy's thread does a socket call or two.
const OBEY_DEADLINE: Duration = Duration::from_secs(20);

/// The network between a daemon and one server. Dropping it ends all connections.
pub struct Proxy {
    port: Port,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What holds until it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Weather {
    refusing: bool,
    blackhole: bool,
    delay: Duration,
    bytes_per_second: Option<u64>,
    ended: bool,
}

/// What the proxy's handle, its thread and all connections see.
struct Shared {
    upstream: SocketAddr,
    protocol: Protocol,
    weather: watch::Sender<Weather>,
    listening: AtomicBool,
    accepted: AtomicU64,
    rules: Mutex<Vec<Rule>>,
    connections: Mutex<Vec<Arc<Connection>>>,
}

// === impl Proxy ===

impl Proxy {
    /// A proxy in front of the server on this port of 127.0.0.1, which need not be there yet.
    ///
    /// # Errors
    /// When no port or thread can be had.
    pub fn before(port: u16, protocol: Protocol) -> Result<Proxy> {
        let shared = Arc::new(Shared {
            upstream: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            protocol,
            weather: watch::Sender::new(Weather::default()),
            listening: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            rules: Mutex::default(),
            connections: Mutex::default(),
        });
        let port = Port::claim()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ServerError::doing("making the proxy's runtime"))?;
        let (served, number) = (Arc::clone(&shared), port.number());
        let thread = std::thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || runtime.block_on(serve(served, number)))
            .map_err(ServerError::doing("starting the proxy's thread"))?;
        let proxy = Proxy {
            port,
            shared,
            thread: Some(thread),
        };
        proxy.wait_listening(true)?;
        Ok(proxy)
    }

    /// Where it listens on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// `127.0.0.1:PORT`
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// Nothing passes any more in either direction and nobody is told, also on new connections.
    pub fn blackhole(&self) {
        self.change(|weather| weather.blackhole = true);
    }

    /// Whatever passes, passes so much later: each piece is held for this long, and the next one behind it.
    pub fn delay(&self, delay: Duration) {
        self.change(|weather| weather.delay = delay);
    }

    /// So many bytes pass in a second, per connection and direction.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.change(|weather| weather.bytes_per_second = Some(bytes_per_second.max(1)));
    }

    /// New connections are refused; those that are there stay.
    ///
    /// # Errors
    /// When the proxy does not obey.
    pub fn refuse(&self) -> Result<()> {
        self.change(|weather| weather.refusing = true);
        self.wait_listening(false)
    }

    /// Good weather, and no fault is armed any more. Connections that were left on hold stay so.
    ///
    /// # Errors
    /// When the proxy does not obey.
    pub fn heal(&self) -> Result<()> {
        self.disarm();
        self.change(|weather| *weather = Weather::default());
        self.wait_listening(true)
    }

    /// Ends connections now; how many.
    pub fn cut(&self, who: Who, ending: Ending) -> usize {
        let met = self.shared.met(who);
        met.iter().for_each(|connection| connection.end(ending));
        met.len()
    }

    /// Nothing passes any more on the connections that are there, for ever, and nobody is told: as after a firewall
    /// has forgotten them. New ones are not concerned. How many.
    pub fn strand(&self, who: Who) -> usize {
        let met = self.shared.met(who);
        met.iter().for_each(|connection| connection.hold());
        met.len()
    }

    /// Arms a fault for the connections meant, also for those that are made later.
    pub fn arm(&self, who: Who, fault: Fault) -> Armed {
        let (rule, armed) = Rule::new(who, fault);
        self.shared.rules().push(rule);
        armed
    }

    /// What is armed will not happen.
    pub fn disarm(&self) {
        self.shared.rules().clear();
    }

    /// Connections that are there.
    #[must_use]
    pub fn connections(&self, who: Who) -> usize {
        self.shared.met(who).len()
    }

    /// Connections that were ever made.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    fn change(&self, change: impl FnOnce(&mut Weather)) {
        self.shared.weather.send_modify(change);
    }

    fn wait_listening(&self, wanted: bool) -> Result<()> {
        poll_until("the proxy's obedience", OBEY_DEADLINE, || {
            Ok((self.shared.listening.load(Ordering::Acquire) == wanted).then_some(()))
        })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.change(|weather| weather.ended = true);
        if let Some(thread) = self.thread.take() {
            // Its panic would have been printed, and there is nothing to be done about it.
            drop(thread.join());
        }
    }
}

// === impl Shared ===

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn met(&self, who: Who) -> Vec<Arc<Connection>> {
        let connections = self.connections();
        connections
            .iter()
            .filter(|connection| who.means(&connection.purpose()))
            .cloned()
            .collect()
    }
}

/// The proxy's thread: listens while it may, and gives each connection a task.
async fn serve(shared: Arc<Shared>, port: u16) {
    let mut weather = shared.weather.subscribe();
    let mut listener = None;
    loop {
        let now = *weather.borrow_and_update();
        if now.ended {
            return;
        }
        if now.refusing {
            listener = None;
        } else if listener.is_none() {
            // Somebody's connection may be leaving the port at this moment: the next round tries again.
            listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.ok();
        }
        shared.listening.store(listener.is_some(), Ordering::Release);
        tokio::select! {
            changed = weather.changed() => if changed.is_err() { return },
            accepted = accept(listener.as_ref()) => if let Ok(client) = accepted {
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                // It ends with its connection, or with this thread's runtime.
                drop(spawn_named("proxied", connect(Arc::clone(&shared), client)));
            },
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    Ok(listener.accept().await?.0)
}

async fn connect(shared: Arc<Shared>, client: TcpStream) {
    let connection = Arc::new(Connection::new());
    shared.connections().push(Arc::clone(&connection));
    pump::carry(&shared, &connection, client).await;
    shared.connections().retain(|other| !Arc::ptr_eq(other, &connection));
}

#[cfg(test)]
mod tests;
