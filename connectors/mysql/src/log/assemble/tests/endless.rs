//! Groups of events that have no end, made of a recorded log.

use tailrace_core::error::Kind;

use super::super::*;
use crate::config::MySqlConfig;
use crate::ddl::Definitions;
use crate::decode::event_type;
use crate::decode::recorded::{self, MYSQL_5_6};
use crate::log::tables::TableSettings;
use crate::server::testing::mysql;

const FILE: &str = "binlog.000001";

/// Reads this file from its beginning, and captures nothing of it.
fn assembler(partial: Option<(&str, u64)>) -> Assembler {
    let config = serde_json::json!({ "url": "mysql://u@h/", "tables": ["nowhere.nothing"] });
    let config: MySqlConfig = serde_json::from_value(config).unwrap();
    let tables = TableSettings {
        patterns: config.patterns().unwrap(),
        policy: config.type_policy(),
        skip_written_by: Vec::new(),
        server: mysql(),
    };
    let start = Start {
        position: BinlogPosition::at(FileOffset::new(FILE, 4)),
        partial: partial.map(|(transaction, ordinal)| (transaction.into(), ordinal)),
        read_at: BTreeMap::new(),
        checks_fingerprint: true,
        torn: TornEnds::new(),
    };
    Assembler::new("server".into(), Tables::new(tables, Definitions::default()), start)
}

/// As a server without identifiers writes it.
fn without_identifiers() -> Vec<RawEvent> {
    let mut events = recorded::events(MYSQL_5_6);
    let identifiers = [event_type::GTID, event_type::ANONYMOUS_GTID, event_type::PREVIOUS_GTIDS];
    events.retain(|event| !identifiers.contains(&event.header.event_type));
    events
}

fn is_begin(event: &RawEvent) -> bool {
    let parsed = decode::parse(&event.header, &event.body);
    matches!(parsed, Ok(Event::Query(query)) if query.sql().is_ok_and(|sql| sql.as_ref() == b"BEGIN"))
}

/// Read up to the first rows of the first transaction; what comes after them, and its BEGIN.
fn within_a_transaction(assembler: &mut Assembler) -> (RawEvent, Vec<RawEvent>) {
    let events = without_identifiers();
    let begin = events.iter().position(is_begin).unwrap();
    let rows = event_type::WRITE_ROWS;
    let rows = events.iter().position(|event| event.header.event_type == rows).unwrap();
    assert!(begin < rows);
    for event in &events[..=rows] {
        assembler.accept(event).unwrap();
        while assembler.is_unfinished() {
            assembler
                .go_on(Budget {
                    changes: 10,
                    bytes: 1000,
                })
                .unwrap();
        }
    }
    assert!(assembler.open.is_some());
    (events[begin].clone(), events)
}

fn later(event: &RawEvent, by_bytes: u32) -> RawEvent {
    let mut later = event.clone();
    later.header.log_position += by_bytes;
    later
}

#[test]
fn a_transaction_that_begins_within_another_is_an_error() {
    let mut assembler = assembler(None);
    let (begin, _) = within_a_transaction(&mut assembler);
    let error = assembler.accept(&later(&begin, 100_000)).unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "incomplete_transaction"));
}

#[test]
fn a_server_that_was_started_again_has_rolled_back_what_has_no_end() {
    let mut assembler = assembler(None);
    let (begin, events) = within_a_transaction(&mut assembler);
    let before = assembler.position.clone();
    let description = &events[0];
    let Ok(Event::FormatDescription(file)) = decode::parse(&description.header, &description.body) else {
        panic!()
    };
    assert_ne!(file.created_seconds, 0);
    assembler.accept(description).unwrap();
    assert!(assembler.open.is_none());
    assert_eq!(assembler.position.at, before.at);
    assembler.accept(&later(&begin, 100_000)).unwrap();
}

#[test]
fn a_transaction_of_which_rows_were_carried_must_have_an_end() {
    let mut assembler = assembler(None);
    let (_, events) = within_a_transaction(&mut assembler);
    assembler.open.as_mut().unwrap().emitted = true;
    let error = assembler.accept(&events[0]).unwrap_err();
    assert_eq!(error.code(), "incomplete_transaction");
}

#[test]
fn a_new_file_of_the_same_run_ends_no_transaction() {
    let mut assembler = assembler(None);
    let (_, events) = within_a_transaction(&mut assembler);
    let error = assembler.begin_file(&events[0].header, 0).unwrap_err();
    assert_eq!(error.code(), "incomplete_transaction");
}

#[test]
fn a_transaction_that_was_carried_in_part_and_is_gone_is_noticed() {
    let events = without_identifiers();
    let begin = events.iter().position(is_begin).unwrap();
    let read = |partial: &str| {
        let mut assembler = assembler(Some((partial, 3)));
        let read = events[..=begin].iter().map(|event| assembler.accept(event));
        read.collect::<Result<Vec<Next>>>().map(drop)
    };
    // Statements that define something come first; each is a group as well.
    let statement = |event: &&RawEvent| event.header.event_type == event_type::QUERY;
    let first = events.iter().find(statement).unwrap();
    let start = first.header.log_position - first.header.event_bytes;
    assert!(read(&format!("{FILE}:{start}")).is_ok());
    assert_eq!(read(&format!("{FILE}:77")).unwrap_err().code(), "source_rewound");
}
