//! Recorded files of each server, event by event: where transactions begin and end, and that nothing is passed over that should not be.

use std::collections::BTreeSet;

use tailrace_core::ports::Budget;

use super::super::*;
use crate::config::MySqlConfig;
use crate::ddl::Definitions;
use crate::decode::event_type;
use crate::decode::recorded::{self, MARIADB_10_11, MYSQL_5_6, MYSQL_9_7};
use crate::log::tables::TableSettings;
use crate::server::ServerFacts;
use crate::server::testing::{mariadb, mysql};

const FILE: &str = "b.000001";
const BUDGET: Budget = Budget {
    changes: 100,
    bytes: 1_000_000,
};

/// The recorded statements are of many kinds; what is captured of them decides which would halt.
fn assembler(server: ServerFacts, tables: &str) -> Assembler {
    let config: MySqlConfig =
        serde_json::from_str(&format!(r#"{{"url": "mysql://u@h/", "tables": ["{tables}"]}}"#)).unwrap();
    let settings = TableSettings {
        patterns: config.patterns().unwrap(),
        policy: config.type_policy(),
        skip_written_by: Vec::new(),
        server,
    };
    let start = Start {
        position: BinlogPosition::at(FileOffset::new(FILE, 4)),
        partial: None,
        read_at: BTreeMap::new(),
        checks_fingerprint: true,
        torn: TornEnds::new(),
    };
    Assembler::new("test".into(), Tables::new(settings, Definitions::default()), start)
}

/// The offset at which an event starts.
fn start_of(event: &RawEvent) -> u64 {
    u64::from(event.header.log_position) - u64::from(event.header.event_bytes)
}

fn finish(assembler: &mut Assembler) -> Result<()> {
    while assembler.is_unfinished() {
        assembler.go_on(BUDGET)?;
        assembler.take();
    }
    Ok(())
}

/// Where a position was, one after the other, while a file was read; prepared transactions are read again as a reader does it.
fn positions(assembler: &mut Assembler, events: &[RawEvent]) -> Result<Vec<u64>> {
    let mut positions = Vec::new();
    for event in events {
        let next = assembler.accept(event)?;
        finish(assembler)?;
        if let Next::ReadPrepared(at) = next {
            let mut again = events.iter().filter(|event| start_of(event) >= at.offset);
            loop {
                let read = assembler.accept(again.next().unwrap())?;
                finish(assembler)?;
                if read == Next::PreparedWasRead {
                    break;
                }
            }
        }
        let at = assembler.position().at.offset;
        if positions.last() != Some(&at) {
            positions.push(at);
        }
    }
    Ok(positions)
}

fn files() -> [(&'static str, Vec<RawEvent>, ServerFacts); 3] {
    [
        ("MySQL 5.6", recorded::events(MYSQL_5_6), mysql()),
        ("MySQL 9.7", recorded::events(MYSQL_9_7), mysql()),
        ("MariaDB 10.11", recorded::events(MARIADB_10_11), mariadb()),
    ]
}

/// Xid, COMMIT, DDL, prepare, the decisions over it: whatever ends a transaction, the next one begins there.
#[test]
fn positions_are_where_transactions_begin() {
    const GROUPS: [u8; 4] = [
        event_type::GTID,
        event_type::ANONYMOUS_GTID,
        event_type::GTID_TAGGED,
        event_type::MARIADB_GTID,
    ];
    for (name, events, server) in files() {
        let groups = events.iter().filter(|event| GROUPS.contains(&event.header.event_type));
        let mut begins: BTreeSet<u64> = groups.map(start_of).collect();
        assert!(begins.len() >= 20, "{name}: {} groups", begins.len());
        // The end of the file, or what only says that there is another.
        let last = events.last().unwrap();
        begins.extend([4, start_of(last), u64::from(last.header.log_position)]);
        let positions = positions(&mut assembler(server, "nothing.nothing"), &events).unwrap();
        let elsewhere: Vec<&u64> = positions.iter().filter(|at| !begins.contains(at)).collect();
        assert!(elsewhere.is_empty(), "{name}: within transactions: {elsewhere:?}");
        let missed: Vec<&u64> = begins.iter().filter(|at| !positions.contains(at)).collect();
        // The first group begins behind what describes the file.
        assert!(missed.len() <= 2, "{name}: joined with the one before: {missed:?}");
    }
}

/// A reader that began between a table map and its rows would get rows of tables that it knows nothing of.
#[test]
fn rows_without_the_map_of_their_table_are_never_passed_over() {
    for (name, events, server) in files() {
        let cut: Vec<RawEvent> = events
            .into_iter()
            .filter(|event| event.header.event_type != event_type::TABLE_MAP)
            .collect();
        let error = positions(&mut assembler(server, "nothing.nothing"), &cut).unwrap_err();
        assert_eq!(error.code(), "source_protocol", "{name}");
        assert!(
            error.to_string().contains("no event before describes"),
            "{name}: {error}"
        );
    }
}
