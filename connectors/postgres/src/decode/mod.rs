//! Bytes from PostgreSQL into messages and cells: pure, no I/O, every length checked.
//!
//! ```text
//!   replication socket ─▶ replication::parse ─▶ XLogData ─▶ decode::parse ─▶ Insert … ─▶ Tuple ─▶ Field ─▶ cell::CellDecoder
//!   COPY (FORMAT binary) ─────────────────────────────────▶ copy::CopyReader ─▶ CopyRow ─▶ field ───────▶ cell::CellDecoder
//! ```
//!
//! One wire message per file; each file names the layout of its message. Messages borrow from the frame. A tuple is checked
//! once, when its message is parsed, so that walking its fields afterwards cannot fail.
//!
//! Source of the layouts: PostgreSQL documentation, "Logical Replication Message Formats" and "Streaming Replication
//! Protocol", protocol versions 1 to 4.

mod begin;
pub(crate) mod cell;
mod commit;
pub(crate) mod copy;
pub(crate) mod default;
mod delete;
mod insert;
mod logical_message;
mod origin;
mod reader;
mod relation;
pub(crate) mod replication;
mod stream_abort;
mod stream_commit;
mod stream_start;
mod truncate;
mod tuple;
mod type_name;
mod update;

pub(crate) use begin::Begin;
pub(crate) use commit::Commit;
pub(crate) use delete::Delete;
pub(crate) use insert::Insert;
pub(crate) use logical_message::LogicalMessage;
pub(crate) use origin::Origin;
pub(crate) use relation::{Relation, RelationColumn, ReplicaIdentity};
pub(crate) use stream_abort::StreamAbort;
pub(crate) use stream_commit::StreamCommit;
pub(crate) use stream_start::StreamStart;
pub(crate) use truncate::Truncate;
pub(crate) use tuple::{Field, OldTuple, Tuple};
pub(crate) use type_name::TypeName;
pub(crate) use update::Update;

use reader::Reader;

/// A frame that is not what the protocol says. Never carries values of rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// A field ends beyond the frame.
    #[error("{message} message is cut off: {needed} more bytes announced, {left} there")]
    Truncated {
        /// Name of the message.
        message: &'static str,
        /// Bytes that the next field takes.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// Bytes are left behind the last field.
    #[error("{message} message has {left} bytes too many")]
    TrailingBytes {
        /// Name of the message.
        message: &'static str,
        /// Bytes that are left.
        left: usize,
    },
    /// A name is not UTF-8.
    #[error("{message} message has a name that is not valid UTF-8; is client_encoding UTF8?")]
    InvalidUtf8 {
        /// Name of the message.
        message: &'static str,
    },
    /// A field has a value that the protocol does not know.
    #[error("{message} message has an impossible {field} ({value})")]
    Invalid {
        /// Name of the message.
        message: &'static str,
        /// Name of the field.
        field: &'static str,
        /// What it holds.
        value: i64,
    },
    /// The first byte is no message of protocol versions 1 to 4.
    #[error("unknown pgoutput message '{}'", .tag.escape_ascii())]
    UnknownTag {
        /// The byte.
        tag: u8,
    },
}

/// One message of the pgoutput plugin, borrowed from its frame.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message<'a> {
    /// A transaction begins.
    Begin(Begin),
    /// A transaction is committed.
    Commit(Commit),
    /// The transaction came from another server.
    Origin(Origin<'a>),
    /// Columns of a table, ahead of its first change and after each of its changes of shape.
    Relation(Relation<'a>),
    /// Name of a type that is not built in.
    Type(TypeName<'a>),
    /// A row is there.
    Insert(Insert<'a>),
    /// A row is different.
    Update(Update<'a>),
    /// A row is gone.
    Delete(Delete<'a>),
    /// Tables are empty.
    Truncate(Truncate),
    /// `pg_logical_emit_message`.
    Logical(LogicalMessage<'a>),
    /// A chunk of a transaction in progress begins.
    StreamStart(StreamStart),
    /// The chunk ends.
    StreamStop,
    /// A streamed transaction is committed.
    StreamCommit(StreamCommit),
    /// A streamed transaction, or a subtransaction of it, is rolled back.
    StreamAbort(StreamAbort),
}

/// Reads one message. `streaming` says that the frame lies between a Stream Start and its Stream Stop: messages about rows,
/// relations, types and logical messages then carry the number of their (sub)transaction.
pub(crate) fn parse(frame: &[u8], streaming: bool) -> Result<Message<'_>, DecodeError> {
    let (tag, body) = match frame.split_first() {
        Some((tag, body)) => (*tag, body),
        None => return Err(DecodeError::empty("pgoutput")),
    };
    match tag {
        insert::TAG => Insert::parse(body, streaming).map(Message::Insert),
        update::TAG => Update::parse(body, streaming).map(Message::Update),
        delete::TAG => Delete::parse(body, streaming).map(Message::Delete),
        begin::TAG => Begin::parse(body).map(Message::Begin),
        commit::TAG => Commit::parse(body).map(Message::Commit),
        origin::TAG => Origin::parse(body).map(Message::Origin),
        relation::TAG => Relation::parse(body, streaming).map(Message::Relation),
        type_name::TAG => TypeName::parse(body, streaming).map(Message::Type),
        truncate::TAG => Truncate::parse(body, streaming).map(Message::Truncate),
        logical_message::TAG => LogicalMessage::parse(body, streaming).map(Message::Logical),
        stream_start::TAG => StreamStart::parse(body).map(Message::StreamStart),
        STREAM_STOP_TAG => Reader::new("StreamStop", body).finish().map(|()| Message::StreamStop),
        stream_commit::TAG => StreamCommit::parse(body).map(Message::StreamCommit),
        stream_abort::TAG => StreamAbort::parse(body).map(Message::StreamAbort),
        tag => Err(DecodeError::UnknownTag { tag }),
    }
}

/// Stream Stop is its tag alone.
const STREAM_STOP_TAG: u8 = b'E';

// === impl DecodeError ===

impl DecodeError {
    fn empty(message: &'static str) -> Self {
        Self::Truncated {
            message,
            needed: 1,
            left: 0,
        }
    }
}

/// What the tests of every message file share: a frame is read whole, and none of its beginnings is.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// `name\0`.
    pub(crate) fn c_string(name: &str) -> Vec<u8> {
        [name.as_bytes(), b"\0"].concat()
    }

    /// Parses, and checks that every truncation and one byte more are errors.
    pub(crate) fn parse_strictly(frame: &[u8], streaming: bool) -> Message<'_> {
        for end in 0..frame.len() {
            let cut = &frame[..end];
            assert!(
                parse(cut, streaming).is_err(),
                "accepted {end} of {} bytes",
                frame.len()
            );
        }
        let longer = [frame, b"\0"].concat();
        assert!(parse(&longer, streaming).is_err(), "accepted one byte more");
        parse(frame, streaming).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_tag_is_named() {
        assert_eq!(parse(b"Q123", false), Err(DecodeError::UnknownTag { tag: b'Q' }));
        assert_eq!(
            parse(b"Q123", false).unwrap_err().to_string(),
            "unknown pgoutput message 'Q'"
        );
        assert_eq!(
            parse(b"\xff", true).unwrap_err().to_string(),
            r"unknown pgoutput message '\xff'"
        );
    }

    #[test]
    fn nothing_is_no_message() {
        assert!(parse(b"", false).is_err());
    }

    #[test]
    fn stream_stop_is_its_tag() {
        assert_eq!(testing::parse_strictly(b"E", true), Message::StreamStop);
    }
}
