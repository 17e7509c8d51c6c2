//! A dump from a server that is a script.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::decode::event_type;
use crate::decode::recorded::{self, MARIADB_10_11};

const OK: &[u8] = b"\0\0\0\x02\0\0\0";
const HEARTBEAT: Duration = Duration::from_millis(7_500);
const REPLICA: Replica = Replica {
    server_id: 7,
    heartbeat: HEARTBEAT,
};

/// The server's side of one connection.
struct Script {
    socket: TcpStream,
    sequence: u8,
}

impl Script {
    async fn read(&mut self) -> Vec<u8> {
        let mut header = [0; 4];
        self.socket.read_exact(&mut header).await.unwrap();
        let [a, b, c, sequence] = header;
        let mut payload = vec![0; usize::try_from(u32::from_le_bytes([a, b, c, 0])).unwrap()];
        self.socket.read_exact(&mut payload).await.unwrap();
        self.sequence = sequence + 1;
        payload
    }

    fn frame(&mut self, payload: &[u8]) -> Vec<u8> {
        let [a, b, c, _] = u32::try_from(payload.len()).unwrap().to_le_bytes();
        let frame = [&[a, b, c, self.sequence], payload].concat();
        self.sequence = self.sequence.wrapping_add(1);
        frame
    }

    async fn write(&mut self, payload: &[u8]) {
        let frame = self.frame(payload);
        self.socket.write_all(&frame).await.unwrap();
    }

    async fn event(&mut self, event: &[u8]) {
        self.write(&[b"\0", event].concat()).await;
    }

    /// Greets, and accepts any password. Returns what the client answered.
    async fn log_in(&mut self) -> Vec<u8> {
        let mut greeting = vec![10];
        greeting.extend(b"5.5.5-10.11.14-MariaDB\0");
        greeting.extend([1, 0, 0, 0]);
        greeting.extend(b"abcdefgh\0");
        // Capabilities: PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH.
        greeting.extend([0x00, 0x82, 33, 2, 0, 0x08, 0x00, 21]);
        greeting.extend([0; 10]);
        greeting.extend(b"ijklmnopqrst\0mysql_native_password\0");
        self.write(&greeting).await;
        let answer = self.read().await;
        self.write(OK).await;
        answer
    }

    /// Answers statements up to the registration. Returns them.
    async fn accept_settings(&mut self) -> Vec<String> {
        let mut statements = Vec::new();
        loop {
            let command = self.read().await;
            let (number, rest) = command.split_first().unwrap();
            if *number != 3 {
                assert_eq!(*number, 0x15);
                return statements;
            }
            statements.push(String::from_utf8(rest.to_vec()).unwrap());
            self.write(OK).await;
        }
    }

    /// All of the above, up to the command that begins the dump, which it returns.
    async fn begin(&mut self) -> Vec<u8> {
        self.log_in().await;
        self.accept_settings().await;
        self.write(OK).await;
        self.read().await
    }
}

async fn listen() -> (TcpListener, Opts) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let options = Opts::from_url(&format!("mysql://reader:secret@127.0.0.1:{port}/")).unwrap();
    (listener, options)
}

async fn accept(listener: &TcpListener) -> Script {
    let (socket, _) = listener.accept().await.unwrap();
    Script { socket, sequence: 0 }
}

fn file_start() -> DumpStart {
    DumpStart::File {
        file: "bin.000001".to_owned(),
        offset: 4,
    }
}

async fn started(listener: &TcpListener, options: &Opts) -> (BinlogDump, Script) {
    let start = file_start();
    let server = async {
        let mut script = accept(listener).await;
        script.begin().await;
        script
    };
    let (dump, script) = tokio::join!(BinlogDump::start(options, &start, REPLICA), server);
    (dump.unwrap(), script)
}

#[tokio::test]
async fn events_come_whole_and_in_order_however_the_bytes_come() {
    let (listener, options) = listen().await;
    let (mut dump, mut script) = started(&listener, &options).await;
    let expected = recorded::events(MARIADB_10_11);
    let sending = async {
        let mut bytes = Vec::new();
        for event in recorded::whole_events(MARIADB_10_11) {
            bytes.extend(script.frame(&[b"\0", event].concat()));
        }
        for piece in bytes.chunks(777) {
            script.socket.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        script.write(b"\xfe\0\0\x02\0").await;
    };
    let receiving = async {
        let mut read = Vec::new();
        loop {
            match dump.next().await {
                Ok(event) => read.push(event),
                Err(DumpError::Ended) => return read,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let ((), read) = tokio::join!(sending, receiving);
    assert_eq!(read, expected);
}

#[tokio::test]
async fn giving_up_a_wait_loses_nothing() {
    let (listener, options) = listen().await;
    let (mut dump, mut script) = started(&listener, &options).await;
    let events = recorded::whole_events(MARIADB_10_11);
    let frame = script.frame(&[b"\0", events[0]].concat());
    let (first, second) = frame.split_at(frame.len() / 2);
    script.socket.write_all(first).await.unwrap();
    // Polled until the first half is there, and dropped each time.
    for _ in 0..50 {
        assert!(dump.next().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    script.socket.write_all(second).await.unwrap();
    let event = dump.next().await.unwrap();
    assert_eq!(event.header.event_type, event_type::FORMAT_DESCRIPTION);
}

#[tokio::test]
async fn the_command_and_the_session_say_where_to_begin() {
    let (listener, options) = listen().await;
    for (start, expected) in [
        (file_start(), request::dump_file(7, "bin.000001", 4)),
        (
            DumpStart::MariaDbGtids("0-1-5,3-2-9".to_owned()),
            request::dump_file(7, "", 4),
        ),
    ] {
        let server = async {
            let mut script = accept(&listener).await;
            let answer = script.log_in().await;
            let statements = script.accept_settings().await;
            script.write(OK).await;
            (answer, statements, script.read().await)
        };
        let (dump, (answer, statements, command)) = tokio::join!(BinlogDump::start(&options, &start, REPLICA), server);
        dump.unwrap();
        assert!(!answer.windows(6).any(|bytes| bytes == b"secret"));
        assert_eq!(command, expected);
        let state = "SET @slave_connect_state = '0-1-5,3-2-9'".to_owned();
        assert_eq!(statements.contains(&state), matches!(start, DumpStart::MariaDbGtids(_)));
        let heartbeat = "SET @master_heartbeat_period = 7500000000, @source_heartbeat_period = 7500000000";
        assert!(statements.iter().any(|statement| statement == heartbeat));
    }
}

#[tokio::test]
async fn what_the_server_refuses_is_handed_on() {
    let (listener, options) = listen().await;
    let (mut dump, mut script) = started(&listener, &options).await;
    script.write(b"\xff\xd4\x04#HY000Could not find first log file").await;
    let Err(DumpError::Client(Error::Server(error))) = dump.next().await else {
        panic!()
    };
    assert_eq!(
        (error.code, error.message.as_str()),
        (1236, "Could not find first log file")
    );
    drop(script);
    assert!(matches!(dump.next().await, Err(DumpError::Client(Error::Io(_)))));
}

#[tokio::test]
async fn who_may_not_read_the_log_is_told_so() {
    let (listener, options) = listen().await;
    let start = file_start();
    let server = async {
        let mut script = accept(&listener).await;
        script.log_in().await;
        script.accept_settings().await;
        script.write(b"\xff\x15\x04#28000Access denied").await;
    };
    let (dump, ()) = tokio::join!(BinlogDump::start(&options, &start, REPLICA), server);
    assert!(matches!(dump.err(), Some(DumpError::NotAllowed(_))));
}

#[tokio::test]
async fn a_changed_bit_is_an_error_and_no_event() {
    let (listener, options) = listen().await;
    let (mut dump, mut script) = started(&listener, &options).await;
    let mut event = recorded::whole_events(MARIADB_10_11)[0].to_vec();
    event[30] ^= 1;
    script.event(&event).await;
    assert!(matches!(
        dump.next().await,
        Err(DumpError::Checksum { event_type: 15, .. })
    ));
}

#[tokio::test]
async fn silence_is_noticed() {
    let (listener, options) = listen().await;
    let (mut dump, script) = started(&listener, &options).await;
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    assert!(matches!(dump.next().await, Err(DumpError::Silent(_))));
    assert!(begun.elapsed() >= HEARTBEAT * 3 && begun.elapsed() < HEARTBEAT * 4);
    drop(script);
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_not_asked() {
    let (listener, options) = listen().await;
    drop(listener);
    let start = DumpStart::MySqlGtids("0-1-5".to_owned());
    let error = BinlogDump::start(&options, &start, REPLICA).await.err().unwrap();
    assert_eq!(error.to_string(), "`0-1-5` is no set of executed transactions");
    let start = DumpStart::MariaDbGtids("0-1-5'; DROP".to_owned());
    assert!(matches!(
        BinlogDump::start(&options, &start, REPLICA).await,
        Err(DumpError::NoGtidSet(_))
    ));
    let start = DumpStart::File {
        file: "bin.000001".to_owned(),
        offset: 1 << 32,
    };
    assert!(matches!(
        BinlogDump::start(&options, &start, REPLICA).await,
        Err(DumpError::OffsetTooLarge(_))
    ));
    assert!(matches!(
        BinlogDump::start(&options, &file_start(), REPLICA).await,
        Err(DumpError::Client(Error::Io(_)))
    ));
}
