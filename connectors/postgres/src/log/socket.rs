//! The socket thread: reads the replication stream, keeps the session alive, and hands whole frames over.
//!
//! ```text
//!   walsender ──socket──▶ [read 256 KiB] ─▶ cut at the last whole frame ─▶ bounded channel ─▶ decoder
//!       ▲                                                                                      │
//!       └── status: received / durable ◀── every interval, on request, when durable moved ◀────┘ (atomic)
//! ```
//!
//! Why a thread of its own: the walsender flushes every message by itself, so whoever reads eagerly pays a system call and a
//! wake-up per message and makes the walsender pay too. Here reads are large, and while messages come one behind the other the
//! thread waits a quarter of a millisecond between them (measured: 1.2 to 1.6 times the throughput of eager reads, at a third of the CPU, and
//! larger batches all the way to the stream). Where a read had to wait for its message there is no such pause.
//!
//! Why keepalives are answered here: a decoder that waits for a slow broker fills the channel and this thread stops reading,
//! but it goes on sending status messages, so that back-pressure never costs the session.
//!
//! Invariants: only [`Shared::durable`] is ever reported as flushed, and only the pipeline moves it, after the checkpoint was
//! saved. Frames arrive in order and whole. The last thing in the channel is the error that ended the thread.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend::CopyData;
use tailrace_core::telemetry::now_us;
use tailrace_core::{Error, Result, failpoint};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::session::{self, Session};
use super::transport::{Hangup, Transport};
use crate::decode::replication::StatusUpdate;
use crate::error;
use crate::position::Lsn;

/// Room for one read: large reads are what keeps the cost per message low.
const READ_BYTES: usize = 256 * 1024;
/// Chunks between the socket thread and the decoder; with [`READ_BYTES`] each, 4 MiB.
const CHUNKS: usize = 16;
/// Between reads while messages come one behind the other: dozens of them gather, and it is far below any latency goal. Not longer,
/// because a Unix socket holds about two hundred messages, whatever their size (each is an skb of its own): with a millisecond
/// between reads that was a limit of 134 K rows a second. How much a read brings says nothing about what is waiting: a walsender
/// that shares its processor sends in small bites.
const PATIENCE: Duration = Duration::from_micros(250);
/// How long a read waits before the thread looks at the clock and at what became durable.
const READ_TIMEOUT: Duration = Duration::from_millis(100);
/// So many status intervals without a word, although an answer is asked for in each of them, mean that the connection is dead.
const SILENT_INTERVALS: u32 = 4;
/// However short the interval is: a server that is busy for a moment is not dead.
const SILENCE_MINIMUM: Duration = Duration::from_secs(2);
/// PostgreSQL's own limit of a message (`PQ_LARGE_MESSAGE_LIMIT`, 1 GiB - 1) and a little more for the frame.
const FRAME_BYTES_MAXIMUM: usize = 1 << 30;

/// What the decoder gets: whole CopyData frames, one behind the other, still with their five-byte headers.
pub(crate) type Frames = Bytes;

/// What both sides see.
#[derive(Debug, Default)]
struct Shared {
    durable: AtomicU64,
    stop: AtomicBool,
}

/// The decoder's end of the socket thread. Dropping it ends the thread and the connection.
pub(crate) struct SocketHandle {
    frames: mpsc::Receiver<Result<Frames>>,
    shared: Arc<Shared>,
    hangup: Hangup,
    thread: Option<JoinHandle<()>>,
}

/// The thread's own state.
struct Socket {
    transport: Transport,
    received: BytesMut,
    scratch: Vec<u8>,
    frames: mpsc::Sender<Result<Frames>>,
    shared: Arc<Shared>,
    runtime: Handle,
    server: String,
    /// End of the newest frame that was handed over.
    handed_over: Lsn,
    reported: Option<Lsn>,
    pulse: Pulse,
}

/// When the server is told something, when it is asked for an answer, and how long it has not given any.
#[derive(Debug)]
struct Pulse {
    status_interval: Duration,
    told_at: Instant,
    /// By its own clock: what is told in between, because something became durable or the server wanted it, asks for nothing.
    asked_at: Instant,
    /// How long was listened in vain. Not the time since a word came: while nobody listens, words wait in the socket.
    silent_for: Duration,
}

/// What the frames at the front of the buffer amount to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Cut {
    /// Bytes of whole CopyData frames.
    length: usize,
    /// The server wants a status at once.
    reply_requested: bool,
    /// Newest log position that a frame speaks of.
    newest: u64,
    /// A frame that is not CopyData begins right after `length`.
    other: bool,
}

// === impl SocketHandle ===

impl SocketHandle {
    /// Starts the thread on a session that is streaming. `durable` is what was reported as flushed last time.
    pub(crate) fn start(session: Session, durable: Lsn, status_interval: Duration, server: String) -> Result<Self> {
        session.wait_at_most(READ_TIMEOUT)?;
        let hangup = session.hangup()?;
        let (transport, received) = session.parts();
        let (sender, frames) = mpsc::channel(CHUNKS);
        let shared = Arc::new(Shared {
            durable: AtomicU64::new(durable.0),
            stop: AtomicBool::new(false),
        });
        let socket = Socket {
            transport,
            received,
            scratch: vec![0; READ_BYTES],
            frames: sender,
            shared: Arc::clone(&shared),
            runtime: Handle::current(),
            server,
            handed_over: durable,
            reported: None,
            pulse: Pulse::new(status_interval, Instant::now()),
        };
        let builder = std::thread::Builder::new().name("postgres-log".to_owned());
        let thread = builder.spawn(move || socket.run()).map_err(|error| {
            Error::transient(
                "thread_refused",
                "the thread for the replication socket cannot be started",
            )
            .with_source(error)
        })?;
        Ok(Self {
            frames,
            shared,
            hangup,
            thread: Some(thread),
        })
    }

    /// The next frames; waits. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Frames> {
        let frames = self.frames.recv().await;
        frames.unwrap_or_else(|| {
            Err(Error::transient(
                "source_connection_lost",
                "the thread of the replication socket ended",
            ))
        })
    }

    /// The next frames, if some are there already.
    pub(crate) fn next_now(&mut self) -> Option<Result<Frames>> {
        self.frames.try_recv().ok()
    }

    /// From now on the server may forget everything before this.
    pub(crate) fn report_durable(&self, durable: Lsn) {
        self.shared.durable.fetch_max(durable.0, Ordering::Release);
    }
}

impl Drop for SocketHandle {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.frames.close();
        self.hangup.hang_up();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the replication socket panicked");
        }
    }
}

// === impl Socket ===

impl Socket {
    fn run(mut self) {
        let ended = self.read_until_stopped();
        // The last status tells the server what became durable in the meantime; it may be too late for that.
        if let Err(error) = self.send_status(false) {
            tracing::debug!(error = error.report(), "the last status could not be sent");
        }
        if let Err(error) = ended {
            let _receiver_may_be_gone = self.runtime.block_on(self.frames.send(Err(error)));
        }
    }

    fn read_until_stopped(&mut self) -> Result<()> {
        while !self.shared.stop.load(Ordering::Acquire) {
            let began = Instant::now();
            self.read()?;
            let waited = began.elapsed();
            let reply_requested = self.hand_over()?;
            self.keep_alive(reply_requested)?;
            if waited < PATIENCE {
                std::thread::sleep(PATIENCE);
            }
        }
        Ok(())
    }

    /// Reads what is there, or waits for it; nothing where nothing came within the timeout.
    fn read(&mut self) -> Result<()> {
        let began = Instant::now();
        match session::read_into(&mut self.transport, &mut self.scratch, &mut self.received) {
            Ok(0) => Err(self.broken(&io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {
                self.pulse.heard();
                Ok(())
            }
            Err(error) if is_timeout(&error) => {
                self.pulse.listened(began.elapsed());
                Ok(())
            }
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// Hands the whole frames over, waiting for room. Returns whether the server asked for a status.
    fn hand_over(&mut self) -> Result<bool> {
        let cut = cut(&self.received, &self.server)?;
        if cut.length > 0 {
            let frames = self.received.split_to(cut.length).freeze();
            self.send_frames(frames)?;
            self.handed_over = self.handed_over.max(Lsn(cut.newest));
        }
        if cut.other {
            self.receive_other()?;
        }
        Ok(cut.reply_requested)
    }

    fn send_frames(&mut self, frames: Frames) -> Result<()> {
        let mut waiting = frames;
        loop {
            match self.frames.try_send(Ok(waiting)) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    self.shared.stop.store(true, Ordering::Release);
                    return Ok(());
                }
                Err(mpsc::error::TrySendError::Full(back)) => waiting = back.unwrap_or_default(),
            }
            self.keep_alive(false)?;
            let room = self.frames.reserve();
            let _checked_by_the_next_try = self
                .runtime
                .block_on(async { tokio::time::timeout(READ_TIMEOUT, room).await.map(drop) });
        }
    }

    /// A message that is not CopyData: an error, the end of the stream, or a notice.
    fn receive_other(&mut self) -> Result<()> {
        match session::parse(&mut self.received, &self.server)? {
            None | Some(Message::NoticeResponse(_) | Message::ParameterStatus(_)) => Ok(()),
            Some(Message::ErrorResponse(body)) => Err(explained(session::refusal(&body, "stream the log"))),
            Some(_) => Err(Error::transient(
                "source_unavailable",
                format!("{} ended the replication stream", self.server),
            )),
        }
    }

    fn keep_alive(&mut self, reply_requested: bool) -> Result<()> {
        if self.pulse.is_dead() {
            let message = format!(
                "{} has not said anything for {:.1} s; the connection is taken for dead",
                self.server,
                self.pulse.silent_for.as_secs_f64()
            );
            return Err(Error::transient("source_silent", message));
        }
        let now = Instant::now();
        let has_moved = self.reported != Some(self.durable());
        let ask_for_reply = self.pulse.must_ask(now);
        if reply_requested || ask_for_reply || (has_moved && self.pulse.may_tell(now)) {
            self.send_status(ask_for_reply)?;
        }
        Ok(())
    }

    fn durable(&self) -> Lsn {
        Lsn(self.shared.durable.load(Ordering::Acquire))
    }

    fn send_status(&mut self, ask_for_reply: bool) -> Result<()> {
        let durable = self.durable();
        let written = self.handed_over.max(durable);
        let update = StatusUpdate {
            written_lsn: written.0,
            flushed_lsn: durable.0,
            applied_lsn: durable.0,
            sent_at_us: now_us(),
            reply_requested: ask_for_reply,
        };
        let mut message = BytesMut::new();
        let content = update.encode();
        let framed = CopyData::new(content.as_slice()).map_err(|error| self.broken(&error))?;
        framed.write(&mut message);
        let sent = self.transport.write_all(&message).and_then(|()| self.transport.flush());
        sent.map_err(|error| self.broken(&error))?;
        if self.reported.is_some_and(|reported| reported < durable) {
            failpoint!(StatusSent);
        }
        self.reported = Some(durable);
        self.pulse.told(Instant::now(), ask_for_reply);
        Ok(())
    }

    fn broken(&self, error: &io::Error) -> Error {
        error::io_error(error, &self.server)
    }
}

// === impl Pulse ===

impl Pulse {
    fn new(status_interval: Duration, now: Instant) -> Self {
        Self {
            status_interval,
            told_at: now,
            asked_at: now,
            silent_for: Duration::ZERO,
        }
    }

    fn heard(&mut self) {
        self.silent_for = Duration::ZERO;
    }

    /// Nothing came. A thread that was held up itself has not listened for longer than it meant to.
    fn listened(&mut self, waited: Duration) {
        self.silent_for += waited.min(READ_TIMEOUT);
    }

    fn is_dead(&self) -> bool {
        self.silent_for > (self.status_interval * SILENT_INTERVALS).max(SILENCE_MINIMUM)
    }

    fn must_ask(&self, now: Instant) -> bool {
        now.duration_since(self.asked_at) >= self.status_interval
    }

    /// What became durable is told at once, but not more often than is read.
    fn may_tell(&self, now: Instant) -> bool {
        now.duration_since(self.told_at) >= READ_TIMEOUT
    }

    fn told(&mut self, now: Instant, asked: bool) {
        self.told_at = now;
        if asked {
            self.asked_at = now;
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// Looks at the headers of the frames in the buffer. Every length is checked before it is believed.
fn cut(received: &[u8], server: &str) -> Result<Cut> {
    let mut cut = Cut::default();
    loop {
        let rest = received.get(cut.length..).unwrap_or_default();
        let Some((header, body)) = rest.split_first_chunk::<5>() else {
            return Ok(cut);
        };
        let [tag, length @ ..] = *header;
        if tag != b'd' {
            cut.other = true;
            return Ok(cut);
        }
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if !(4..=FRAME_BYTES_MAXIMUM).contains(&length) {
            return Err(error::impossible_length(
                server,
                "a frame of the replication stream",
                length,
            ));
        }
        let Some(body) = body.get(..length - 4) else {
            return Ok(cut);
        };
        look_at(body, &mut cut);
        cut.length += length + 1;
    }
}

/// Primary keepalive: 'k', end of WAL, clock, reply requested. XLogData: 'w', start, end of WAL, clock (manual 55.4).
fn look_at(body: &[u8], cut: &mut Cut) {
    let number = |at: usize| {
        body.get(at..)
            .and_then(|bytes| bytes.first_chunk())
            .map(|bytes| u64::from_be_bytes(*bytes))
    };
    match body.first() {
        Some(b'k') => {
            cut.newest = cut.newest.max(number(1).unwrap_or_default());
            cut.reply_requested |= body.get(17).is_some_and(|flag| *flag == 1);
        }
        Some(b'w') => cut.newest = cut.newest.max(number(1).unwrap_or_default()),
        _ => {}
    }
}

/// The one object that the server looks up by name while it streams is the publication, as of the change that it decodes.
fn explained(refused: Error) -> Error {
    if refused.code() != "object_missing" {
        return refused;
    }
    let message = format!(
        "{}; a publication that is younger than a change does not hold for it: drop the slot, `tailrace forget` the connector \
         and start again with a snapshot",
        refused.report()
    );
    Error::definite("publication_history", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [b"d".as_slice(), &length.to_be_bytes(), body].concat()
    }

    fn keepalive(end: u64, reply: u8) -> Vec<u8> {
        frame(&[b"k".as_slice(), &end.to_be_bytes(), &[0; 8], &[reply]].concat())
    }

    #[test]
    fn only_whole_frames_are_cut() {
        let data = frame(&[b"w".as_slice(), &9_u64.to_be_bytes(), &[0; 16], b"rest"].concat());
        let both = [data.clone(), keepalive(20, 1)].concat();
        for length in 0..both.len() {
            let cut = cut(&both[..length], "db:5432").unwrap();
            let expected = if length < data.len() { 0 } else { data.len() };
            assert_eq!(cut.length, expected, "{length} bytes");
            assert!(!cut.reply_requested);
        }
        let whole = cut(&both, "db:5432").unwrap();
        assert_eq!(
            (whole.length, whole.newest, whole.reply_requested),
            (both.len(), 20, true)
        );
    }

    #[test]
    fn what_is_not_copy_data_is_left_where_it_is() {
        let bytes = [keepalive(20, 0), b"E\x00\x00\x00\x04".to_vec()].concat();
        let cut = cut(&bytes, "db:5432").unwrap();
        assert!(cut.other);
        assert_eq!(cut.length, bytes.len() - 5);
    }

    #[test]
    fn what_becomes_durable_meanwhile_does_not_keep_from_asking() {
        let (interval, mut now) = (Duration::from_secs(10), Instant::now());
        let mut pulse = Pulse::new(interval, now);
        let mut asked = 0;
        // A backlog is carried for a minute, a checkpoint every fifth of a second, and the server has nothing to say by itself.
        for _ in 0..300 {
            now += READ_TIMEOUT * 2;
            assert!(pulse.may_tell(now));
            let asks = pulse.must_ask(now);
            asked += u32::from(asks);
            pulse.told(now, asks);
        }
        assert_eq!(asked, 6);
    }

    #[test]
    fn silence_is_time_in_which_somebody_listened() {
        let mut pulse = Pulse::new(Duration::from_millis(100), Instant::now());
        // The process stood still for a minute, in the middle of listening: an answer may wait in the socket.
        pulse.listened(Duration::from_secs(60));
        assert!(!pulse.is_dead());
        let reads = |pulse: &mut Pulse| {
            let mut reads = 0;
            while !pulse.is_dead() {
                pulse.listened(READ_TIMEOUT);
                reads += 1;
            }
            reads
        };
        pulse.heard();
        assert_eq!(
            reads(&mut pulse),
            21,
            "a short interval is no reason to give up within a moment"
        );
        pulse.heard();
        pulse.status_interval = Duration::from_secs(1);
        assert_eq!(reads(&mut pulse), 41);
    }

    #[test]
    fn a_lying_length_is_an_error() {
        assert!(cut(b"d\x00\x00\x00\x03", "db:5432").is_err());
        assert!(cut(b"d\xff\xff\xff\xff", "db:5432").is_err());
    }
}
