//! Transactions that begin with rows of a sink's table of offsets.

use tailrace_core::ports::Budget;

use super::super::*;
use crate::config::MySqlConfig;
use crate::ddl::Definitions;
use crate::decode::event_type;
use crate::log::tables::TableSettings;
use crate::server::testing::mysql;

const BUDGET: Budget = Budget {
    changes: 100,
    bytes: 1_000_000,
};

/// `s.tailrace_offsets`, table 7: connector VARCHAR(190) of utf8mb4, next_offset BIGINT; without names of columns.
const OFFSETS: &[u8] = b"\x07\0\0\0\0\0\x01\0\x01s\0\x10tailrace_offsets\0\x02\x0f\x08\x02\xf8\x02\x00";
/// `s.t`, table 8: id BIGINT; and that it is called so.
const TABLE: &[u8] = b"\x08\0\0\0\0\0\x01\0\x01s\0\x01t\0\x01\x08\0\x00\x04\x03\x02id";

/// Feeds events, each behind the one before.
struct Feed {
    assembler: Assembler,
    at: u32,
}

impl Feed {
    fn skipping(patterns: &[&str]) -> Self {
        let config = serde_json::json!({ "url": "mysql://u@h/", "tables": ["s.t"], "skip_written_by": patterns });
        let config: MySqlConfig = serde_json::from_value(config).unwrap();
        let tables = TableSettings {
            patterns: config.patterns().unwrap(),
            policy: config.type_policy(),
            skip_written_by: config.skip_written_by.clone(),
            server: mysql(),
        };
        let start = Start {
            position: BinlogPosition::at(FileOffset::new("b.000001", 4)),
            partial: None,
            read_at: BTreeMap::new(),
            checks_fingerprint: true,
            torn: TornEnds::new(),
        };
        let assembler = Assembler::new("server".into(), Tables::new(tables, Definitions::default()), start);
        Self { assembler, at: 4 }
    }

    fn event(&mut self, event_type: u8, body: &[u8]) {
        let event_bytes = u32::try_from(body.len()).unwrap() + 19;
        self.at += event_bytes;
        let header = EventHeader {
            timestamp_s: 1,
            event_type,
            server_id: 1,
            event_bytes,
            log_position: self.at,
            flags: 0,
        };
        let body = Bytes::copy_from_slice(body);
        self.assembler.accept(&RawEvent { header, body }).unwrap();
        while self.assembler.is_unfinished() {
            self.assembler.go_on(BUDGET).unwrap();
        }
    }

    fn begin(&mut self) {
        // Session 1, no seconds, no schema, no error, no status.
        self.event(event_type::QUERY, b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0BEGIN");
    }

    fn advance(&mut self, connector: &str) {
        self.event(event_type::TABLE_MAP, OFFSETS);
        let mut update = b"\x07\0\0\0\0\0\x01\0\x02\0\x02\x03\x03".to_vec();
        for offset in 1..=2_u64 {
            update.push(0);
            update.extend_from_slice(&u16::try_from(connector.len()).unwrap().to_le_bytes());
            update.extend_from_slice(connector.as_bytes());
            update.extend_from_slice(&offset.to_le_bytes());
        }
        self.event(event_type::UPDATE_ROWS, &update);
    }

    fn insert(&mut self, id: u64) {
        self.event(event_type::TABLE_MAP, TABLE);
        let mut insert = b"\x08\0\0\0\0\0\x01\0\x02\0\x01\x01\0".to_vec();
        insert.extend_from_slice(&id.to_le_bytes());
        self.event(event_type::WRITE_ROWS, &insert);
    }

    fn commit(&mut self) {
        self.event(event_type::XID, &7_u64.to_le_bytes());
    }

    /// Changes of the next batch, and where it ends.
    fn batch(&mut self) -> (usize, u64) {
        let batch = self.assembler.take().unwrap();
        assert!(batch.progress.partial.is_none());
        (batch.changes.len(), self.assembler.position().at.offset)
    }
}

#[test]
fn they_are_left_out_and_are_progress() {
    let mut feed = Feed::skipping(&["mirror", "from_*"]);
    for (connector, carried) in [("mirror", 0), ("from_shop", 0), ("mirror2", 1)] {
        feed.begin();
        feed.advance(connector);
        feed.insert(1);
        feed.commit();
        assert_eq!(feed.batch(), (carried, u64::from(feed.at)), "{connector}");
    }
}

#[test]
fn only_the_beginning_counts_and_only_of_its_own_transaction() {
    let mut feed = Feed::skipping(&["*"]);
    feed.begin();
    feed.insert(1);
    feed.advance("mirror");
    feed.insert(2);
    feed.commit();
    assert_eq!(feed.batch().0, 2);
    feed.begin();
    feed.advance("mirror");
    feed.insert(3);
    feed.commit();
    feed.begin();
    feed.insert(4);
    feed.commit();
    assert_eq!(feed.batch().0, 1);
}

#[test]
fn nothing_is_handed_out_in_the_middle_of_one() {
    let mut feed = Feed::skipping(&["*"]);
    feed.begin();
    feed.advance("mirror");
    feed.insert(1);
    assert!(feed.assembler.take().is_none());
    feed.insert(2);
    feed.commit();
    assert_eq!(feed.batch().0, 0);
}

#[test]
fn without_patterns_every_transaction_is_carried() {
    let mut feed = Feed::skipping(&[]);
    feed.begin();
    feed.advance("mirror");
    feed.insert(1);
    feed.commit();
    assert_eq!(feed.batch().0, 1);
}
