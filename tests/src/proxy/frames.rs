//! Bytes into the frames of a protocol: no I/O, and nothing is understood that no fault is about.
//!
//! | protocol | direction | frames |
//! |---|---|---|
//! | Kafka | both | length (4 bytes, without itself), then api key, version and correlation id, or the correlation id alone |
//! | PostgreSQL | to the server | one or two without a tag (length with itself, code), then tag and length |
//! | PostgreSQL | to the client | not cut: what there is at a time is one, and answers what was asked last |
//! | MySQL | both | length (3 bytes, low first, without the four of the head), sequence number; before TLS |

use std::collections::HashMap;

use bytes::{Buf, Bytes, BytesMut};

use super::fault::Direction;

/// Key of Produce among Kafka's requests (protocol guide, "API Keys").
const PRODUCE: i16 = 0;

/// In place of the protocol's version in PostgreSQL's first message: "may I speak TLS?" and "GSSAPI?" (manual, 54.7).
const ENCRYPTION_REQUESTS: [i32; 2] = [80_877_103, 80_877_104];

/// PostgreSQL's CopyData, and the status update of a standby in it.
const COPY_DATA: u8 = b'd';
const STATUS_UPDATE: u8 = b'r';
/// PostgreSQL's simple query.
const QUERY: u8 = b'Q';

/// MySQL's commands that ask for the binary log: COM_BINLOG_DUMP, COM_BINLOG_DUMP_GTID (documentation, "Replication Protocol").
const DUMP_COMMANDS: [u8; 2] = [18, 30];

/// What a session of MySQL says that only reads a snapshot.
const COM_QUERY: u8 = 3;
const SNAPSHOT_STATEMENT: &[u8] = b"START TRANSACTION";
/// What ends a transaction of a sink.
const COMMIT_STATEMENT: &[u8] = b"COMMIT";

/// The length of a frame of MySQL's that is continued in the next one.
const MYSQL_LONGEST: usize = 0xff_ff_ff;

/// What is spoken through a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Apache Kafka's.
    Kafka,
    /// PostgreSQL's, without TLS.
    Postgres,
    /// MySQL's and MariaDB's, without TLS.
    MySql,
}

/// Frames that faults are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Kafka: records on their way to the broker.
    ProduceRequest,
    /// Kafka: they are written.
    ProduceResponse,
    /// PostgreSQL: so much of the log is durable on the other side.
    StatusUpdate,
    /// MySQL: an event of the binary log, or the first 16 MiB of one.
    BinlogEvent,
    /// A statement that commits was carried out; PostgreSQL: what follows it, whatever there is of it.
    CommitAnswer,
    /// Anything else.
    Other,
}

/// A frame, or a piece of a stream that is not cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: FrameKind,
    pub(super) bytes: Bytes,
}

/// What both directions of a connection know.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// Kafka: versions of the produce requests that were not answered yet, by correlation id.
    produced: HashMap<i32, i16>,
    /// PostgreSQL: the startup message has passed.
    started: bool,
    /// PostgreSQL: what the client calls itself. MySQL: what it has last asked for that names a purpose: `log`, `snapshot`.
    pub(super) application_name: String,
    /// MySQL: the server sends its log from here on.
    dumping: bool,
    /// MySQL: the frame before was as long as one can be, so that the next one continues it.
    continued: bool,
    /// PostgreSQL and MySQL: the client has asked for a commit and was not answered yet.
    committing: bool,
}

/// A length or a byte that the protocol does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotTheProtocol;

// === impl Conversation ===

impl Conversation {
    /// The next whole frame at the front of the buffer, taken out of it.
    pub(super) fn next_frame(
        &mut self,
        protocol: Protocol,
        direction: Direction,
        buffer: &mut BytesMut,
    ) -> Result<Option<Frame>, NotTheProtocol> {
        match (protocol, direction) {
            (Protocol::Kafka, _) => self.next_of_kafka(direction, buffer),
            (Protocol::Postgres, Direction::ToServer) => self.next_of_postgres(buffer),
            (Protocol::Postgres, Direction::ToClient) => Ok((!buffer.is_empty()).then(|| Frame {
                kind: self.answer_kind(),
                bytes: buffer.split().freeze(),
            })),
            (Protocol::MySql, _) => Ok(self.next_of_mysql(direction, buffer)),
        }
    }

    /// The version of the produce request that this response answers; asked once.
    pub(super) fn version_answered(&mut self, response: &[u8]) -> Option<i16> {
        self.produced.remove(&number_at(response, 4)?)
    }

    fn next_of_kafka(&mut self, direction: Direction, buffer: &mut BytesMut) -> Result<Option<Frame>, NotTheProtocol> {
        let Some(bytes) = take_frame(buffer, 0, 4)? else {
            return Ok(None);
        };
        let kind = match direction {
            Direction::ToServer => self.note_request(&bytes),
            Direction::ToClient => match number_at(&bytes, 4) {
                Some(correlation) if self.produced.contains_key(&correlation) => FrameKind::ProduceResponse,
                _ => FrameKind::Other,
            },
        };
        Ok(Some(Frame { kind, bytes }))
    }

    fn note_request(&mut self, bytes: &[u8]) -> FrameKind {
        let header = bytes.get(4..8).zip(number_at(bytes, 8));
        let Some(([key_high, key_low, version_high, version_low], correlation)) = header else {
            return FrameKind::Other;
        };
        if i16::from_be_bytes([*key_high, *key_low]) != PRODUCE {
            return FrameKind::Other;
        }
        let version = i16::from_be_bytes([*version_high, *version_low]);
        self.produced.insert(correlation, version);
        FrameKind::ProduceRequest
    }

    fn next_of_postgres(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, NotTheProtocol> {
        if !self.started {
            let Some(bytes) = take_frame(buffer, 0, 0)? else {
                return Ok(None);
            };
            self.started = !number_at(&bytes, 4).is_some_and(|code| ENCRYPTION_REQUESTS.contains(&code));
            if let Some(name) = parameter(&bytes, "application_name") {
                self.application_name = name;
            }
            let kind = FrameKind::Other;
            return Ok(Some(Frame { kind, bytes }));
        }
        let Some(bytes) = take_frame(buffer, 1, 1)? else {
            return Ok(None);
        };
        let kind = match (bytes.first(), bytes.get(5)) {
            (Some(&COPY_DATA), Some(&STATUS_UPDATE)) => FrameKind::StatusUpdate,
            _ => FrameKind::Other,
        };
        // Behind the head a text, ended by a zero.
        let asked = bytes.get(5..bytes.len().saturating_sub(1));
        if bytes.first() == Some(&QUERY) && asked == Some(COMMIT_STATEMENT) {
            self.committing = true;
        }
        Ok(Some(Frame { kind, bytes }))
    }

    /// What a server's answer is that says nothing of it itself.
    fn answer_kind(&mut self) -> FrameKind {
        if std::mem::take(&mut self.committing) {
            FrameKind::CommitAnswer
        } else {
            FrameKind::Other
        }
    }

    fn next_of_mysql(&mut self, direction: Direction, buffer: &mut BytesMut) -> Option<Frame> {
        let bytes = take_mysql_frame(buffer)?;
        let kind = match direction {
            Direction::ToServer => {
                self.note_command(bytes.get(3..).unwrap_or_default());
                FrameKind::Other
            }
            Direction::ToClient if self.dumping => {
                let continues = std::mem::replace(&mut self.continued, bytes.len() - 4 == MYSQL_LONGEST);
                // Behind the head a byte says what it is: 0 an event, 254 the end of the log, 255 an error.
                let is_event = !continues && bytes.get(4) == Some(&0);
                if is_event {
                    FrameKind::BinlogEvent
                } else {
                    FrameKind::Other
                }
            }
            Direction::ToClient => self.answer_kind(),
        };
        Some(Frame { kind, bytes })
    }

    /// A frame from the client that begins a conversation has the sequence number 0, and then the command.
    fn note_command(&mut self, sequence_and_body: &[u8]) {
        match sequence_and_body {
            [0, command, ..] if DUMP_COMMANDS.contains(command) => {
                self.dumping = true;
                "log".clone_into(&mut self.application_name);
            }
            [0, COM_QUERY, statement @ ..] if contains(statement, SNAPSHOT_STATEMENT) && !self.dumping => {
                "snapshot".clone_into(&mut self.application_name);
            }
            [0, COM_QUERY, statement @ ..] if statement == COMMIT_STATEMENT => self.committing = true,
            _ => {}
        }
    }
}

/// A frame of MySQL's: three bytes of length, low byte first, one of sequence, the body.
fn take_mysql_frame(buffer: &mut BytesMut) -> Option<Bytes> {
    let [low, middle, high, _] = *buffer.first_chunk::<4>()?;
    let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
    (buffer.remaining() >= length + 4).then(|| buffer.split_to(length + 4).freeze())
}

/// Takes a frame whose length stands at `length_at` and leaves out the first `beside` bytes of it.
fn take_frame(buffer: &mut BytesMut, length_at: usize, beside: usize) -> Result<Option<Bytes>, NotTheProtocol> {
    let Some(length) = number_at(buffer, length_at) else {
        return Ok(None);
    };
    let length = usize::try_from(length).map_err(|_| NotTheProtocol)? + beside;
    if length < length_at + 4 {
        return Err(NotTheProtocol);
    }
    Ok((buffer.remaining() >= length).then(|| buffer.split_to(length).freeze()))
}

/// Whether there is a word in a statement, in upper or lower case.
fn contains(statement: &[u8], word: &[u8]) -> bool {
    let mut places = statement.windows(word.len());
    places.any(|place| place.eq_ignore_ascii_case(word))
}

fn number_at(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))
}

/// A parameter of PostgreSQL's startup message: names and values, each ended by a zero byte, after length and version.
fn parameter(startup: &[u8], wanted: &str) -> Option<String> {
    let mut texts = startup
        .get(8..)?
        .split(|byte| *byte == 0)
        .map(|text| String::from_utf8_lossy(text));
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        if name == wanted {
            return Some(value.into_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds byte by byte, so that every truncation is met.
    fn cut(
        conversation: &mut Conversation,
        protocol: Protocol,
        direction: Direction,
        bytes: &[u8],
    ) -> Vec<(FrameKind, usize)> {
        let mut buffer = BytesMut::new();
        let mut frames = Vec::new();
        for byte in bytes {
            buffer.extend_from_slice(&[*byte]);
            while let Some(frame) = conversation.next_frame(protocol, direction, &mut buffer).unwrap() {
                frames.push((frame.kind, frame.bytes.len()));
            }
        }
        assert!(buffer.is_empty(), "{} bytes are left", buffer.len());
        frames
    }

    fn tagged(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[tag][..], &length.to_be_bytes(), body].concat()
    }

    fn untagged(body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&length.to_be_bytes()[..], body].concat()
    }

    #[test]
    fn a_produce_response_is_known_by_its_request() {
        let mut conversation = Conversation::default();
        // Metadata (3) in version 12 with correlation id 7, Produce (0) in version 9 with correlation id 8.
        let requests = [
            &[0, 0, 0, 9, 0, 3, 0, 12, 0, 0, 0, 7, 1][..],
            &[0, 0, 0, 10, 0, 0, 0, 9, 0, 0, 0, 8, 1, 2],
        ]
        .concat();
        let frames = cut(&mut conversation, Protocol::Kafka, Direction::ToServer, &requests);
        assert_eq!(frames, [(FrameKind::Other, 13), (FrameKind::ProduceRequest, 14)]);
        let responses = [[0, 0, 0, 4, 0, 0, 0, 7], [0, 0, 0, 4, 0, 0, 0, 8]].concat();
        let frames = cut(&mut conversation, Protocol::Kafka, Direction::ToClient, &responses);
        assert_eq!(frames, [(FrameKind::Other, 8), (FrameKind::ProduceResponse, 8)]);
        assert_eq!(conversation.version_answered(&[0, 0, 0, 4, 0, 0, 0, 8]), Some(9));
        assert_eq!(conversation.version_answered(&[0, 0, 0, 4, 0, 0, 0, 8]), None);
    }

    #[test]
    fn a_session_of_postgresql_is_cut_after_its_startup() {
        let mut conversation = Conversation::default();
        let encryption = untagged(&80_877_103_i32.to_be_bytes());
        let parameters = b"\0\x03\0\0user\0app\0application_name\0tailrace shop log\0replication\0database\0\0";
        let startup = untagged(parameters);
        let session = [
            encryption,
            startup.clone(),
            tagged(b'Q', b"START_REPLICATION\0"),
            tagged(b'd', b"r01234567"),
            tagged(b'd', b"h"),
            tagged(b'd', b""),
        ];
        let frames = cut(
            &mut conversation,
            Protocol::Postgres,
            Direction::ToServer,
            &session.concat(),
        );
        let kinds: Vec<FrameKind> = frames.iter().map(|(kind, _)| *kind).collect();
        let mut wanted = [FrameKind::Other; 6];
        wanted[3] = FrameKind::StatusUpdate;
        assert_eq!(kinds, wanted);
        assert_eq!(frames[1].1, startup.len());
        assert_eq!(conversation.application_name, "tailrace shop log");
    }

    #[test]
    fn the_answer_to_a_commit_of_postgresql_is_known_by_its_question() {
        let mut conversation = Conversation {
            started: true,
            ..Conversation::default()
        };
        let protocol = Protocol::Postgres;
        let mut answered = Vec::new();
        for statement in ["BEGIN", "COMMIT"] {
            let length = u32::try_from(statement.len() + 5).unwrap().to_be_bytes();
            let question = [b"Q", &length[..], statement.as_bytes(), b"\0"].concat();
            cut(&mut conversation, protocol, Direction::ToServer, &question);
            answered.extend(cut(&mut conversation, protocol, Direction::ToClient, b"Z"));
        }
        assert_eq!(answered, [(FrameKind::Other, 1), (FrameKind::CommitAnswer, 1)]);
    }

    fn mysql_frame(sequence: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        [&length[..3], &[sequence], body].concat()
    }

    #[test]
    fn the_answer_to_a_commit_of_mysql_is_known_by_its_question() {
        let mut conversation = Conversation::default();
        let protocol = Protocol::MySql;
        let asked = [
            mysql_frame(0, b"\x03INSERT INTO t VALUES ('COMMIT')"),
            mysql_frame(0, b"\x03COMMIT"),
        ];
        let answer = mysql_frame(1, b"\0\0\0\x02\0\0\0");
        let mut answered = Vec::new();
        for question in asked {
            cut(&mut conversation, protocol, Direction::ToServer, &question);
            answered.extend(cut(&mut conversation, protocol, Direction::ToClient, &answer));
        }
        assert_eq!(answered, [(FrameKind::Other, 11), (FrameKind::CommitAnswer, 11)]);
    }

    #[test]
    fn events_of_mysql_are_known_after_the_dump_was_asked_for() {
        let mut conversation = Conversation::default();
        let protocol = Protocol::MySql;
        let greeting = mysql_frame(0, b"\x0a9.7.4\0");
        let frames = cut(&mut conversation, protocol, Direction::ToClient, &greeting);
        assert_eq!(frames, [(FrameKind::Other, greeting.len())]);
        let requests = [
            mysql_frame(1, b"handshake response"),
            mysql_frame(0, b"\x03select 1"),
            mysql_frame(0, b"\x12\x04\0\0\0\0\0\x01\0\0\0binlog.000001"),
        ];
        cut(&mut conversation, protocol, Direction::ToServer, &requests.concat());
        assert_eq!(conversation.application_name, "log");
        let answers = [
            mysql_frame(1, b"\0event"),
            mysql_frame(2, b"\xfe\0\0\x02\0"),
            mysql_frame(3, b"\xff\xd4\x04error"),
        ];
        let frames = cut(&mut conversation, protocol, Direction::ToClient, &answers.concat());
        let kinds: Vec<FrameKind> = frames.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [FrameKind::BinlogEvent, FrameKind::Other, FrameKind::Other]);
    }

    #[test]
    fn what_continues_a_long_event_is_no_other_event() {
        let mut conversation = Conversation::default();
        let dump = mysql_frame(0, &[30]);
        cut(&mut conversation, Protocol::MySql, Direction::ToServer, &dump);
        let answers = [
            mysql_frame(1, &vec![0; MYSQL_LONGEST]),
            mysql_frame(2, &[0, 7]),
            mysql_frame(3, &[0, 7]),
        ];
        let mut buffer = BytesMut::from(&answers.concat()[..]);
        let mut kinds = Vec::new();
        while let Ok(Some(frame)) = conversation.next_frame(Protocol::MySql, Direction::ToClient, &mut buffer) {
            kinds.push(frame.kind);
        }
        assert_eq!(
            kinds,
            [FrameKind::BinlogEvent, FrameKind::Other, FrameKind::BinlogEvent]
        );
    }

    #[test]
    fn a_session_of_mysql_that_reads_a_snapshot_is_known() {
        let mut conversation = Conversation::default();
        let begin = mysql_frame(0, b"\x03start transaction with consistent snapshot");
        cut(&mut conversation, Protocol::MySql, Direction::ToServer, &begin);
        assert_eq!(conversation.application_name, "snapshot");
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        let mut conversation = Conversation::default();
        let mut refused = |protocol, bytes: &[u8]| {
            conversation
                .next_frame(protocol, Direction::ToServer, &mut BytesMut::from(bytes))
                .is_err()
        };
        assert!(refused(Protocol::Kafka, &[255, 0, 0, 0]));
        assert!(refused(Protocol::Postgres, &[0, 0, 0, 3]));
        assert!(!refused(Protocol::Postgres, &[0, 0, 0]));
    }
}
