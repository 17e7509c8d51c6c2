//! One connection: two pumps, and its end.

use std::future::pending;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::fault::{Direction, Ending, Verdict, judge};
use super::frames::{Conversation, Frame};
use super::{Shared, Weather, produce};

/// Room for one read; a backlog passes in pieces of this size.
const READ_BYTES: usize = 64 * 1024;

/// Under a throttle so many pieces pass in a second: small ones, so that little is late and nothing bursts.
const PIECES_PER_SECOND: u64 = 20;

/// What the proxy's handle can do to a connection.
pub(super) struct Connection {
    end: watch::Sender<Option<Ending>>,
    held: watch::Sender<bool>,
    conversation: Mutex<Conversation>,
}

/// One direction of a connection.
struct Pump<'a> {
    shared: &'a Shared,
    connection: &'a Connection,
    direction: Direction,
    weather: watch::Receiver<Weather>,
    held: watch::Receiver<bool>,
    buffer: BytesMut,
}

// === impl Connection ===

impl Connection {
    pub(super) fn new() -> Connection {
        Connection {
            end: watch::Sender::new(None),
            held: watch::Sender::new(false),
            conversation: Mutex::default(),
        }
    }

    /// PostgreSQL's application name; empty elsewhere.
    pub(super) fn purpose(&self) -> String {
        self.conversation().application_name.clone()
    }

    pub(super) fn end(&self, ending: Ending) {
        self.end.send_replace(Some(ending));
    }

    pub(super) fn hold(&self) {
        self.held.send_replace(true);
    }

    fn conversation(&self) -> MutexGuard<'_, Conversation> {
        self.conversation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ended(&self) -> Ending {
        let mut end = self.end.subscribe();
        let ending = end.wait_for(Option::is_some).await.ok().and_then(|ending| *ending);
        // The sender is in `self`, so it is there.
        ending.unwrap_or(Ending::Reset)
    }
}

/// Carries a connection to its end.
pub(super) async fn carry(shared: &Shared, connection: &Connection, client: TcpStream) {
    let server = tokio::select! {
        _ = connection.ended() => None,
        server = reach(shared) => server.ok(),
    };
    let Some(server) = server else {
        return finish([client], Ending::Reset).await;
    };
    let (mut client, mut server) = (client, server);
    // Small frames wait for nobody: it is the test that says what is slow.
    for stream in [&client, &server] {
        drop(stream.set_nodelay(true));
    }
    let ending = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = Pump::new(shared, connection, Direction::ToServer).run(from_client, to_server);
        let down = Pump::new(shared, connection, Direction::ToClient).run(from_server, to_client);
        tokio::select! {
            ending = connection.ended() => ending,
            both = async { tokio::try_join!(up, down) } => if both.is_ok() { Ending::Close } else { Ending::Reset },
        }
    };
    finish([client, server], ending).await;
}

/// In a blackhole the server does not learn of new connections either.
async fn reach(shared: &Shared) -> io::Result<TcpStream> {
    let mut weather = shared.weather.subscribe();
    drop(weather.wait_for(|weather| !weather.blackhole).await);
    TcpStream::connect(shared.upstream).await
}

async fn finish<const N: usize>(streams: [TcpStream; N], ending: Ending) {
    for mut stream in streams {
        // A side that is gone already cannot be told, and need not be.
        match ending {
            Ending::Reset => drop(stream.set_zero_linger()),
            Ending::Close => drop(stream.shutdown().await),
        }
    }
}

// === impl Pump ===

impl<'a> Pump<'a> {
    fn new(shared: &'a Shared, connection: &'a Connection, direction: Direction) -> Pump<'a> {
        Pump {
            shared,
            connection,
            direction,
            weather: shared.weather.subscribe(),
            held: connection.held.subscribe(),
            buffer: BytesMut::new(),
        }
    }

    /// Until the reading side says that there is no more; then the other side is told.
    async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let mut scratch = vec![0; READ_BYTES];
        loop {
            let length = from.read(&mut scratch).await;
            self.clear_weather().await;
            let length = length?;
            if length == 0 {
                to.write_all(&self.buffer).await?;
                return to.shutdown().await;
            }
            self.buffer.extend_from_slice(scratch.get(..length).unwrap_or_default());
            self.pass_frames(&mut to).await?;
        }
    }

    /// Every whole frame of the buffer, those between two faults in one piece.
    async fn pass_frames(&mut self, to: &mut WriteHalf<'_>) -> io::Result<()> {
        let mut passing = BytesMut::new();
        while let Some(frame) = self.next_frame()? {
            let (verdict, happened) = self.judge(&frame);
            match verdict {
                Verdict::Pass => passing.extend_from_slice(&frame.bytes),
                Verdict::Lose => {}
                Verdict::Flip => {
                    let middle = passing.len() + frame.bytes.len() / 2;
                    passing.extend_from_slice(&frame.bytes);
                    passing.get_mut(middle).into_iter().for_each(|byte| *byte ^= 1);
                }
                Verdict::Answer(error_code) => passing.extend_from_slice(&self.answer(&frame, error_code)?),
                Verdict::Hold => {
                    self.write(to, &passing).await?;
                    self.connection.hold();
                    tell(happened);
                    return pending().await;
                }
                Verdict::Cut(length, ending) => {
                    passing.extend_from_slice(frame.bytes.get(..length).unwrap_or_default());
                    // A side that is gone already, as after another cut, is cut off as well.
                    let written = self.write(to, &passing).await;
                    self.connection.end(ending);
                    tell(happened);
                    written?;
                    return pending().await;
                }
            }
            tell(happened);
        }
        self.write(to, &passing).await
    }

    fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        let next = self
            .connection
            .conversation()
            .next_frame(self.shared.protocol, self.direction, &mut self.buffer);
        next.map_err(|_| io::ErrorKind::InvalidData.into())
    }

    fn judge(&self, frame: &Frame) -> (Verdict, Option<std::sync::Arc<watch::Sender<bool>>>) {
        let name = self.connection.purpose();
        judge(&mut self.shared.rules(), &name, self.direction, frame)
    }

    fn answer(&self, frame: &Frame, error_code: i16) -> io::Result<Bytes> {
        let version = self.connection.conversation().version_answered(&frame.bytes);
        let answer = version.and_then(|version| produce::with_error(&frame.bytes, version, error_code));
        answer.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    async fn write(&mut self, to: &mut WriteHalf<'_>, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let weather = self.clear_weather().await;
            let most = weather.bytes_per_second.map_or(READ_BYTES, |most| {
                usize::try_from((most / PIECES_PER_SECOND).max(1)).unwrap_or(READ_BYTES)
            });
            let (piece, behind) = rest.split_at(most.min(rest.len()));
            tokio::time::sleep(weather.delay).await;
            if weather.bytes_per_second.is_some() {
                tokio::time::sleep(Duration::from_secs(1) / u32::try_from(PIECES_PER_SECOND).unwrap_or(1)).await;
            }
            to.write_all(piece).await?;
            rest = behind;
        }
        Ok(())
    }

    /// Waits until something may pass.
    async fn clear_weather(&mut self) -> Weather {
        loop {
            // Both senders are alive as long as the connection is.
            let released = self.held.wait_for(|held| !held).await.is_ok();
            let weather = self
                .weather
                .wait_for(|weather| !weather.blackhole)
                .await
                .map(|weather| *weather);
            if !released {
                return pending().await;
            }
            if let Ok(weather) = weather
                && !*self.held.borrow()
            {
                return weather;
            }
        }
    }
}

/// Lets weather last. Not for tests: they wait for what they expect.
pub(crate) async fn pass_time(duration: Duration) {
    tokio::time::sleep(duration).await;
}

fn tell(happened: Option<std::sync::Arc<watch::Sender<bool>>>) {
    if let Some(happened) = happened {
        happened.send_replace(true);
    }
}
