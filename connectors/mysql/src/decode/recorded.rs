//! Files of the binary log as servers wrote them, for tests.
//!
//! Each server ran about the same statements: every kind of column, transactions with savepoints and of both kinds of engines,
//! DDL, statement format, LOAD DATA, XA in one and two phases; besides, what it alone can: compression, partial JSON, tags of GTIDs,
//! sequences, columns of its own types. What each event is read as stands in a text beside the file.

use std::fmt::Write as _;

use bytes::Bytes;

use super::header::HEADER_BYTES;
use super::{DecodeError, Event, EventHeader, LoadData, PayloadReader, Query, RawEvent, Reader, TableMap, parse};

/// Every file begins with this.
const MAGIC: &[u8] = b"\xfebin";
const CHECKSUM_BYTES: usize = 4;

pub(crate) const MARIADB_10_11: &[u8] = include_bytes!("recorded/mariadb-10.11.binlog");
pub(crate) const MYSQL_9_7: &[u8] = include_bytes!("recorded/mysql-9.7.binlog");
pub(crate) const MYSQL_5_6: &[u8] = include_bytes!("recorded/mysql-5.6.binlog");

/// The events of a file, with their checksums, which all of these files have.
pub(crate) fn whole_events(file: &'static [u8]) -> Vec<&'static [u8]> {
    let mut rest = file.strip_prefix(MAGIC).unwrap();
    let mut events = Vec::new();
    while !rest.is_empty() {
        let header = EventHeader::parse(&mut Reader::new("header", rest)).unwrap();
        let (event, behind) = rest.split_at(HEADER_BYTES + header.body_bytes());
        events.push(event);
        rest = behind;
    }
    events
}

/// The events of a file, as a dump hands them on.
pub(crate) fn events(file: &'static [u8]) -> Vec<RawEvent> {
    let cut = |event: &'static [u8]| RawEvent {
        header: EventHeader::parse(&mut Reader::new("header", event)).unwrap(),
        body: Bytes::from_static(&event[HEADER_BYTES..event.len() - CHECKSUM_BYTES]),
    };
    whole_events(file).into_iter().map(cut).collect()
}

fn describe(event: &RawEvent, by_mariadb: bool) -> Result<String, DecodeError> {
    let parsed = parse(&event.header, &event.body)?;
    Ok(match &parsed {
        Event::TableMap(map) => table_map(map, by_mariadb)?,
        Event::Rows(rows) => format!(
            "{:?} table={} columns={} full={} partial={} ends_statement={} images={}",
            rows.kind,
            rows.table_id,
            rows.columns,
            rows.is_full_image(),
            rows.partial,
            rows.ends_statement,
            hex(&rows.images(&event.body)?)
        ),
        Event::Gtid(gtid) => format!(
            "Gtid {gtid} statements={} clock={}/{} bytes={:?} version={:?} timed={}",
            gtid.may_have_statements,
            gtid.last_committed,
            gtid.sequence_number,
            gtid.transaction_bytes,
            gtid.original_server_version,
            gtid.original_commit_timestamp_us.is_some()
        ),
        Event::MariaDbGtid(gtid) => {
            let name = (gtid.domain, event.header.server_id, gtid.sequence_number);
            format!(
                "Gtid {name:?} standalone={} transactional={} ddl={} xa={:?}",
                gtid.standalone, gtid.transactional, gtid.ddl, gtid.xa
            )
        }
        Event::Query(query) => self::query("Query", query)?,
        Event::LoadData(LoadData::Execute(query)) => self::query("ExecuteLoadQuery", query)?,
        Event::PreviousGtids(set) => format!("PreviousGtids [{set}]"),
        Event::TransactionPayload(payload) => {
            let mut text = format!("TransactionPayload bytes={:?}", payload.decompressed_bytes);
            let mut reader = PayloadReader::new(payload, &event.body)?;
            while let Some(inner) = reader.next_event()? {
                write!(text, "\n    {}", describe(&inner, by_mariadb)?).unwrap();
            }
            text
        }
        Event::AnnotateRows(annotation) => text("AnnotateRows", annotation.statement),
        Event::RowsQuery(annotation) => text("RowsQuery", annotation.statement),
        other => format!("{other:?}"),
    })
}

fn query(name: &str, query: &Query<'_>) -> Result<String, DecodeError> {
    let session = query.session()?;
    let collations = (session.client_collation, session.database_collation);
    let sql = query.sql()?;
    let sql = String::from_utf8_lossy(&sql);
    Ok(format!(
        "{name} schema={:?} collations={collations:?} {sql:?}",
        query.schema
    ))
}

fn table_map(map: &TableMap<'_>, by_mariadb: bool) -> Result<String, DecodeError> {
    let wire = map.columns()?;
    let description = map.describe(&wire, by_mariadb)?;
    let mut text = format!("TableMap {} {}.{}", map.table_id, map.schema, map.table);
    for (index, (wire, column)) in wire.iter().zip(&description.columns).enumerate() {
        let null = if map.is_nullable(index) { " null" } else { "" };
        write!(text, "\n    {}:{:04x}{null}", wire.type_code, wire.metadata).unwrap();
        let said = [
            column.name.map(ToOwned::to_owned),
            column.unsigned.map(|unsigned| format!("unsigned={unsigned}")),
            column.collation.map(|collation| format!("collation={collation}")),
            column.members.as_ref().map(|members| {
                let members: Vec<_> = members.iter().map(|member| String::from_utf8_lossy(member)).collect();
                format!("members={members:?}")
            }),
            column.geometry.map(|geometry| format!("geometry={geometry}")),
            column
                .visible
                .filter(|visible| !visible)
                .map(|_| "invisible".to_owned()),
            column.dimensions.map(|dimensions| format!("dimensions={dimensions}")),
        ];
        said.iter().flatten().for_each(|said| write!(text, " {said}").unwrap());
    }
    let parts = description.primary_key.iter().flatten();
    let parts: Vec<String> = parts.map(|part| format!("{}({})", part.column, part.prefix)).collect();
    write!(text, "\n    key={}", parts.join(",")).unwrap();
    Ok(text)
}

fn text(name: &str, statement: &[u8]) -> String {
    format!("{name} {:?}", String::from_utf8_lossy(statement))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(file: &'static [u8], by_mariadb: bool) -> String {
    let mut text = String::new();
    for event in events(file) {
        let end = event.header.log_position;
        writeln!(text, "{end} {}", describe(&event, by_mariadb).unwrap()).unwrap();
    }
    text
}

/// Both texts in full are no help: the first line that differs is.
fn assert_same(read: &str, expected: &str) {
    for (read, expected) in read.lines().zip(expected.lines()) {
        assert_eq!(read, expected);
    }
    assert_eq!(read.lines().count(), expected.lines().count());
}

#[test]
fn mariadb_10_11() {
    assert_same(&read(MARIADB_10_11, true), include_str!("recorded/mariadb-10.11.txt"));
}

#[test]
fn mysql_9_7() {
    assert_same(&read(MYSQL_9_7, false), include_str!("recorded/mysql-9.7.txt"));
}

#[test]
fn mysql_5_6() {
    assert_same(&read(MYSQL_5_6, false), include_str!("recorded/mysql-5.6.txt"));
}

/// Whatever an event ends with: every beginning of it is an error or something smaller, and never a panic.
#[test]
fn truncations_never_panic() {
    for (file, by_mariadb) in [(MARIADB_10_11, true), (MYSQL_9_7, false), (MYSQL_5_6, false)] {
        for event in events(file) {
            for end in 0..event.body.len() {
                let body = event.body.slice(..end);
                let cut = RawEvent { body, ..event.clone() };
                let _an_error_or_less = describe(&cut, by_mariadb);
            }
        }
    }
}
