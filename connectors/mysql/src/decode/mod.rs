//! Bytes of the binary log to events and values: pure, no I/O, every length checked.
//!
//! ```text
//!   log/dump.rs ─▶ EventHeader + body ─▶ decode::parse ─▶ Event ─┬─▶ TableMap ─▶ WireColumn ─┐
//!                       ▲                                        ├─▶ Rows ─▶ bytes of rows ──┴─▶ cell::CellDecoder
//!                       └── inner events ◀── PayloadReader ◀─────┴─▶ TransactionPayload (decompressed as it is read)
//! ```
//!
//! One event per file; each file names the layout of the body, which begins behind the header of 19 bytes and ends before
//! the checksum. Events borrow from the body. What most readers do not need (columns and descriptions of a table map, session
//! variables of a statement, compressed texts) is parsed only when it is asked for.
//!
//! Both dialects are read by the same code: the numbers of their events do not overlap, and where an event exists in both it
//! has one layout.
//!
//! Source of the layouts: MySQL internals manual, "Binlog Event", and the MariaDB knowledge base, "Replication Protocol";
//! checked against events recorded from MySQL 5.6 and 9.7 and MariaDB 10.11.

mod annotate_rows;
mod binlog_checkpoint;
pub(crate) mod cell;
pub(crate) mod column_code;
mod compression;
pub(crate) mod format_description;
mod gtid;
mod gtid_list;
pub(crate) mod header;
mod heartbeat;
mod incident;
pub(crate) mod json;
mod load_data;
mod mariadb_gtid;
mod previous_gtids;
mod query;
pub(crate) mod reader;
#[cfg(test)]
pub(crate) mod recorded;
mod rotate;
pub(crate) mod rows;
mod rows_query;
mod statement_variable;
pub(crate) mod table_map;
mod table_metadata;
mod tagged_gtid;
pub(crate) mod transaction_payload;
mod xa_prepare;
mod xid;

pub(crate) use annotate_rows::AnnotateRows;
pub(crate) use binlog_checkpoint::BinlogCheckpoint;
pub(crate) use format_description::FormatDescription;
pub(crate) use gtid::Gtid;
pub(crate) use gtid_list::GtidList;
pub(crate) use header::EventHeader;
pub(crate) use heartbeat::Heartbeat;
pub(crate) use incident::Incident;
pub(crate) use load_data::LoadData;
pub(crate) use mariadb_gtid::{MariaDbGtid, XaPhase};
pub(crate) use previous_gtids::PreviousGtids;
pub(crate) use query::{Query, QuerySession};
pub(crate) use reader::Reader;
pub(crate) use rotate::Rotate;
pub(crate) use rows::{Rows, RowsKind, has_column};
pub(crate) use rows_query::RowsQuery;
pub(crate) use statement_variable::StatementVariable;
pub(crate) use table_map::{TableMap, WireColumn};
pub(crate) use table_metadata::{ColumnDescription, TableDescription};
pub(crate) use transaction_payload::{PayloadReader, TransactionPayload};
pub(crate) use xa_prepare::{XaPrepare, Xid};
pub(crate) use xid::XidEvent;

use bytes::Bytes;

/// Numbers of events.
pub(crate) mod event_type {
    pub(crate) const QUERY: u8 = 2;
    pub(crate) const STOP: u8 = 3;
    pub(crate) const ROTATE: u8 = 4;
    pub(crate) const INTVAR: u8 = 5;
    pub(crate) const LOAD: u8 = 6;
    pub(crate) const CREATE_FILE: u8 = 8;
    pub(crate) const NEW_LOAD: u8 = 12;
    pub(crate) const RAND: u8 = 13;
    pub(crate) const USER_VAR: u8 = 14;
    pub(crate) const FORMAT_DESCRIPTION: u8 = 15;
    pub(crate) const XID: u8 = 16;
    pub(crate) const BEGIN_LOAD_QUERY: u8 = 17;
    pub(crate) const EXECUTE_LOAD_QUERY: u8 = 18;
    pub(crate) const TABLE_MAP: u8 = 19;
    pub(crate) const WRITE_ROWS_V1: u8 = 23;
    pub(crate) const UPDATE_ROWS_V1: u8 = 24;
    pub(crate) const DELETE_ROWS_V1: u8 = 25;
    pub(crate) const INCIDENT: u8 = 26;
    pub(crate) const HEARTBEAT: u8 = 27;
    pub(crate) const IGNORABLE: u8 = 28;
    pub(crate) const ROWS_QUERY: u8 = 29;
    pub(crate) const WRITE_ROWS: u8 = 30;
    pub(crate) const UPDATE_ROWS: u8 = 31;
    pub(crate) const DELETE_ROWS: u8 = 32;
    pub(crate) const GTID: u8 = 33;
    pub(crate) const ANONYMOUS_GTID: u8 = 34;
    pub(crate) const PREVIOUS_GTIDS: u8 = 35;
    pub(crate) const TRANSACTION_CONTEXT: u8 = 36;
    pub(crate) const VIEW_CHANGE: u8 = 37;
    pub(crate) const XA_PREPARE: u8 = 38;
    pub(crate) const PARTIAL_UPDATE_ROWS: u8 = 39;
    pub(crate) const TRANSACTION_PAYLOAD: u8 = 40;
    pub(crate) const HEARTBEAT_V2: u8 = 41;
    pub(crate) const GTID_TAGGED: u8 = 42;
    // From here on MariaDB's.
    pub(crate) const ANNOTATE_ROWS: u8 = 160;
    pub(crate) const BINLOG_CHECKPOINT: u8 = 161;
    pub(crate) const MARIADB_GTID: u8 = 162;
    pub(crate) const GTID_LIST: u8 = 163;
    pub(crate) const START_ENCRYPTION: u8 = 164;
    pub(crate) const QUERY_COMPRESSED: u8 = 165;
    pub(crate) const WRITE_ROWS_COMPRESSED_V1: u8 = 166;
    pub(crate) const UPDATE_ROWS_COMPRESSED_V1: u8 = 167;
    pub(crate) const DELETE_ROWS_COMPRESSED_V1: u8 = 168;
    pub(crate) const WRITE_ROWS_COMPRESSED: u8 = 169;
    pub(crate) const UPDATE_ROWS_COMPRESSED: u8 = 170;
    pub(crate) const DELETE_ROWS_COMPRESSED: u8 = 171;
}

/// Bytes that are not what the server's manual says. Never carries values of rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// A field ends beyond what holds it.
    #[error("{what} is cut off at byte {offset}: {needed} more bytes announced, {left} there")]
    Truncated {
        /// What was read.
        what: &'static str,
        /// Bytes that the next field takes.
        needed: usize,
        /// Bytes that are left.
        left: usize,
        /// Where in it.
        offset: usize,
    },
    /// Bytes are left behind the last field.
    #[error("{what} has {left} bytes too many")]
    TrailingBytes {
        /// What was read.
        what: &'static str,
        /// Bytes that are left.
        left: usize,
    },
    /// A name is not UTF-8.
    #[error("{what} has a {field} that is not valid UTF-8")]
    InvalidUtf8 {
        /// What was read.
        what: &'static str,
        /// Name of the field.
        field: &'static str,
    },
    /// A field has a value that is not known.
    #[error("{what} has an impossible {field} ({value}) before byte {offset}")]
    Invalid {
        /// What was read.
        what: &'static str,
        /// Name of the field.
        field: &'static str,
        /// What it holds.
        value: u64,
        /// Where in it.
        offset: usize,
    },
    /// Compressed bytes that do not give what they announce.
    #[error("{what} cannot be decompressed: {reason}")]
    Decompression {
        /// What was read.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// No event of the servers that are supported, and not marked as one that may be ignored.
    #[error("events of type {event_type} are not known, and this one is not marked as one that may be ignored")]
    UnknownEvent {
        /// The number.
        event_type: u8,
    },
}

/// One event as it came: cheap to clone and to keep, because the body is a piece of what was read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawEvent {
    /// What every event begins with.
    pub(crate) header: EventHeader,
    /// What follows, without the checksum.
    pub(crate) body: Bytes,
}

/// One event, borrowed from its body.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event<'a> {
    /// A table, ahead of its rows.
    TableMap(TableMap<'a>),
    /// Rows of one table.
    Rows(Rows<'a>),
    /// A transaction begins (MySQL). Anonymous where the server has no GTIDs.
    Gtid(Gtid<'a>),
    /// A transaction begins (MariaDB).
    MariaDbGtid(MariaDbGtid<'a>),
    /// A statement: BEGIN, COMMIT, DDL, or DML in statement format.
    Query(Query<'a>),
    /// A transaction of a transactional engine is committed.
    Xid(XidEvent),
    /// The first phase of an XA transaction, or both at once.
    XaPrepare(XaPrepare<'a>),
    /// A whole transaction, compressed.
    TransactionPayload(TransactionPayload<'a>),
    /// The file goes on in another one.
    Rotate(Rotate<'a>),
    /// Who wrote the file, and how.
    FormatDescription(FormatDescription<'a>),
    /// What was executed before the file began (MySQL).
    PreviousGtids(PreviousGtids<'a>),
    /// What was executed before the file began (MariaDB).
    GtidList(GtidList),
    /// The server is there and has nothing to say.
    Heartbeat(Heartbeat<'a>),
    /// The statement behind the rows that follow (MySQL).
    RowsQuery(RowsQuery<'a>),
    /// The statement behind the rows that follow (MariaDB).
    AnnotateRows(AnnotateRows<'a>),
    /// Something happened that is not in the log.
    Incident(Incident<'a>),
    /// The server that wrote the file was shut down.
    Stop,
    /// What a statement in statement format needs besides its text.
    StatementVariable(StatementVariable<'a>),
    /// LOAD DATA in statement format.
    LoadData(LoadData<'a>),
    /// Oldest file that is needed for crash recovery (MariaDB).
    BinlogCheckpoint(BinlogCheckpoint<'a>),
    /// The rest of the file is encrypted on disk; the server decrypts what it sends.
    StartEncryption,
    /// Group replication: what certification needs.
    TransactionContext,
    /// Group replication: another membership.
    ViewChange,
    /// Marked as one that may be ignored, and not known.
    Ignorable,
}

/// Reads the body of an event: what follows the header, without the checksum.
pub(crate) fn parse<'a>(header: &EventHeader, body: &'a [u8]) -> Result<Event<'a>, DecodeError> {
    use event_type as number;
    match header.event_type {
        number::TABLE_MAP => TableMap::parse(body).map(Event::TableMap),
        number::WRITE_ROWS_V1..=number::DELETE_ROWS_V1
        | number::WRITE_ROWS..=number::DELETE_ROWS
        | number::PARTIAL_UPDATE_ROWS
        | number::WRITE_ROWS_COMPRESSED_V1..=number::DELETE_ROWS_COMPRESSED => {
            Rows::parse(header.event_type, body).map(Event::Rows)
        }
        number::GTID => Gtid::parse(body, false).map(Event::Gtid),
        number::ANONYMOUS_GTID => Gtid::parse(body, true).map(Event::Gtid),
        number::GTID_TAGGED => tagged_gtid::parse(body).map(Event::Gtid),
        number::MARIADB_GTID => MariaDbGtid::parse(body).map(Event::MariaDbGtid),
        number::QUERY => Query::parse(body, false).map(Event::Query),
        number::QUERY_COMPRESSED => Query::parse(body, true).map(Event::Query),
        number::XID => XidEvent::parse(body).map(Event::Xid),
        number::XA_PREPARE => XaPrepare::parse(body).map(Event::XaPrepare),
        number::TRANSACTION_PAYLOAD => TransactionPayload::parse(body).map(Event::TransactionPayload),
        _ => parse_rare(header, body),
    }
}

/// Events of which there are few.
fn parse_rare<'a>(header: &EventHeader, body: &'a [u8]) -> Result<Event<'a>, DecodeError> {
    use event_type as number;
    match header.event_type {
        number::ROTATE => Rotate::parse(body).map(Event::Rotate),
        number::FORMAT_DESCRIPTION => FormatDescription::parse(body).map(Event::FormatDescription),
        number::PREVIOUS_GTIDS => PreviousGtids::parse(body).map(Event::PreviousGtids),
        number::GTID_LIST => GtidList::parse(body).map(Event::GtidList),
        number::HEARTBEAT => Heartbeat::parse(header, body).map(Event::Heartbeat),
        number::HEARTBEAT_V2 => Heartbeat::parse_v2(body).map(Event::Heartbeat),
        number::ROWS_QUERY => RowsQuery::parse(body).map(Event::RowsQuery),
        number::ANNOTATE_ROWS => Ok(Event::AnnotateRows(AnnotateRows::parse(body))),
        number::INCIDENT => Incident::parse(body).map(Event::Incident),
        number::STOP => Reader::new("Stop", body).finish().map(|()| Event::Stop),
        number::INTVAR => StatementVariable::parse_int(body).map(Event::StatementVariable),
        number::RAND => StatementVariable::parse_rand(body).map(Event::StatementVariable),
        number::USER_VAR => StatementVariable::parse_user(body).map(Event::StatementVariable),
        number::LOAD | number::CREATE_FILE..=number::NEW_LOAD | number::BEGIN_LOAD_QUERY => {
            Ok(Event::LoadData(LoadData::Part))
        }
        number::EXECUTE_LOAD_QUERY => LoadData::parse_execute(body).map(Event::LoadData),
        number::BINLOG_CHECKPOINT => BinlogCheckpoint::parse(body).map(Event::BinlogCheckpoint),
        number::START_ENCRYPTION => Ok(Event::StartEncryption),
        number::TRANSACTION_CONTEXT => Ok(Event::TransactionContext),
        number::VIEW_CHANGE => Ok(Event::ViewChange),
        number::IGNORABLE => Ok(Event::Ignorable),
        _ if header.flags & header::IGNORABLE != 0 => Ok(Event::Ignorable),
        event_type => Err(DecodeError::UnknownEvent { event_type }),
    }
}

/// What the tests of every event file share.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A header for a body, as in a file that this event is alone in.
    pub(crate) fn header_of(event_type: u8, body: &[u8]) -> EventHeader {
        let length = u32::try_from(header::HEADER_BYTES + body.len()).unwrap();
        EventHeader {
            timestamp_s: 1_700_000_000,
            event_type,
            server_id: 1,
            event_bytes: length,
            log_position: length + 4,
            flags: 0,
        }
    }

    /// Parses a body.
    pub(crate) fn parse_body(event_type: u8, body: &[u8]) -> Result<Event<'_>, DecodeError> {
        parse(&header_of(event_type, body), body)
    }

    /// Parses a body of which each shorter one than `fixed` bytes must be an error.
    pub(crate) fn parse_strictly(event_type: u8, body: &[u8], fixed: usize) -> Event<'_> {
        for end in 0..fixed {
            let cut = parse_body(event_type, &body[..end]);
            assert!(cut.is_err(), "accepted {end} of {} bytes: {cut:?}", body.len());
        }
        parse_body(event_type, body).unwrap()
    }

    /// As [`parse_strictly`], for an event that ends with its last field: one byte more is an error too.
    pub(crate) fn parse_exactly(event_type: u8, body: &[u8]) -> Event<'_> {
        let longer = [body, b"\0"].concat();
        assert!(parse_body(event_type, &longer).is_err(), "accepted one byte more");
        parse_strictly(event_type, body, body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_event_is_an_error_unless_it_may_be_ignored() {
        for event_type in [0, 1, 7, 20, 43, 159, 172, 255] {
            let mut header = testing::header_of(event_type, b"xyz");
            assert_eq!(parse(&header, b"xyz"), Err(DecodeError::UnknownEvent { event_type }));
            header.flags = header::IGNORABLE;
            assert_eq!(parse(&header, b"xyz"), Ok(Event::Ignorable));
        }
        assert_eq!(
            DecodeError::UnknownEvent { event_type: 43 }.to_string(),
            "events of type 43 are not known, and this one is not marked as one that may be ignored"
        );
    }

    #[test]
    fn events_that_are_only_recognised() {
        for (event_type, expected) in [
            (event_type::START_ENCRYPTION, Event::StartEncryption),
            (event_type::TRANSACTION_CONTEXT, Event::TransactionContext),
            (event_type::VIEW_CHANGE, Event::ViewChange),
            (event_type::IGNORABLE, Event::Ignorable),
            (event_type::LOAD, Event::LoadData(LoadData::Part)),
            (event_type::NEW_LOAD, Event::LoadData(LoadData::Part)),
            (event_type::BEGIN_LOAD_QUERY, Event::LoadData(LoadData::Part)),
        ] {
            assert_eq!(testing::parse_body(event_type, b"anything"), Ok(expected));
        }
        assert_eq!(testing::parse_exactly(event_type::STOP, b""), Event::Stop);
    }
}
