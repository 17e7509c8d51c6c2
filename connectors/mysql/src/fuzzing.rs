//! Entry points for fuzz targets and for the short fixed-seed run of the tests: any bytes in, no panic, and what is read is
//! walked to its end.

use std::sync::Arc;

use bytes::Bytes;
use tailrace_core::batch::{ChangeBatch, Transaction};
use tailrace_core::position::{Position, Progress};
use tailrace_core::value::Value;

use crate::column_type::{ColumnType, TypePolicy};
use crate::config::InvalidDates;
use crate::decode::cell::{CellDecoder, CellError, TextDecoder};
use crate::decode::{self, DecodeError, Event, EventHeader, PayloadReader, PreviousGtids, RawEvent, TableMap, json};
use crate::log::dump::check::EventCheck;
use crate::log::dump::packets::Packets;
use crate::log::rows::{RowPlan, RowsInProgress};
use crate::table::{ColumnDefinition, TableDefinition};

/// Events of a compressed transaction that are walked: a few bytes may announce a great many.
const INNER_EVENTS: usize = 64;

/// Rows of an event that are walked: those of a table without columns need no bytes.
const ROWS: usize = 64;

/// The body of an event; the first byte is its type.
pub fn binlog_event(data: &[u8]) {
    let Some((event_type, body)) = data.split_first() else {
        return;
    };
    let header = header(*event_type);
    let body = Bytes::copy_from_slice(body);
    let _error_is_as_good = walk(&RawEvent { header, body });
}

fn header(event_type: u8) -> EventHeader {
    EventHeader {
        timestamp_s: 0,
        event_type,
        server_id: 1,
        event_bytes: 0,
        log_position: 4,
        flags: 0,
    }
}

/// What comes over the connection; the first byte is the size of the pieces in which it does.
pub fn binlog_dump(data: &[u8]) {
    let Some((size, rest)) = data.split_first() else {
        return;
    };
    let (mut packets, mut check) = (Packets::default(), EventCheck::default());
    for piece in rest.chunks(usize::from(*size).max(1)) {
        packets.buffer().extend_from_slice(piece);
        while let Ok(Some(packet)) = packets.next() {
            if let Ok(event) = check.event(&packet) {
                let _error_is_as_good = walk(&event);
            }
        }
    }
}

fn walk(event: &RawEvent) -> Result<(), DecodeError> {
    match decode::parse(&event.header, &event.body)? {
        Event::TableMap(map) => walk_table(&map),
        Event::Rows(rows) => {
            rows.is_full_image();
            rows.images(&event.body).map(drop)
        }
        Event::Query(query) => {
            query.session()?;
            query.sql().map(drop)
        }
        Event::PreviousGtids(set) => {
            let text = set.to_string();
            assert!(text.len() >= set.entries.len(), "every entry is written");
            PreviousGtids::parse(&event.body).map(drop)
        }
        Event::TransactionPayload(payload) => {
            let mut reader = PayloadReader::new(&payload, &event.body)?;
            for _ in 0..INNER_EVENTS {
                let Some(inner) = reader.next_event()? else {
                    break;
                };
                let _error_is_as_good = walk(&inner);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn walk_table(map: &TableMap<'_>) -> Result<(), DecodeError> {
    let columns = map.columns()?;
    assert_eq!(columns.len(), map.len(), "a table has as many columns as it says");
    for by_mariadb in [false, true] {
        let description = map.describe(&columns, by_mariadb)?;
        assert_eq!(description.columns.len(), map.len(), "each of them is described");
        let key = description.primary_key.iter().flatten();
        assert!(
            key.into_iter().all(|part| part.column < map.len()),
            "a key is made of columns"
        );
    }
    Ok(())
}

/// A table map and rows of its table: two bytes with the length of the map's body, the body, a byte with the type of the rows event, its body.
/// Every row is read into a batch as a connector does it, and passed over as one that goes on within a transaction does.
pub fn rows_event(data: &[u8]) {
    let Some((map, rest)) = split_counted(data) else {
        return;
    };
    let Some((event_type, body)) = rest.split_first() else {
        return;
    };
    let body = Bytes::copy_from_slice(body);
    let header = header(*event_type);
    let (Ok(map), Ok(Event::Rows(rows))) = (TableMap::parse(map), decode::parse(&header, &body)) else {
        return;
    };
    for policy in policies() {
        for by_mariadb in [false, true] {
            let Some(plan) = plan_of(&map, &policy, by_mariadb) else {
                continue;
            };
            let read = RowsInProgress::new(Arc::clone(&plan), &rows, &body, 0, 4);
            let passed = RowsInProgress::new(plan, &rows, &body, 0, 4);
            if let (Ok(mut read), Ok(mut passed)) = (read, passed) {
                walk_rows(&mut read, &mut passed);
            }
        }
    }
}

fn walk_rows(read: &mut RowsInProgress, passed: &mut RowsInProgress) {
    for _ in 0..ROWS {
        if read.is_empty() {
            return;
        }
        let mut batch = batch();
        let transaction = batch.push_transaction(no_transaction());
        if read.read_row(&mut batch, transaction).is_err() {
            return;
        }
        assert!(passed.skip_row().is_ok(), "a row that can be read can be passed over");
        assert_eq!(passed.ordinal(), read.ordinal(), "rows are counted alike");
        assert_eq!(passed.is_empty(), read.is_empty(), "and end at the same byte");
    }
}

/// A table map, as for [`rows_event`], and a value as the server prints it: of each of the table's columns.
pub fn cell_text(data: &[u8]) {
    let Some((map, text)) = split_counted(data) else {
        return;
    };
    let Ok(map) = TableMap::parse(map) else {
        return;
    };
    for policy in policies() {
        for by_mariadb in [false, true] {
            for column in columns_of(&map, by_mariadb).unwrap_or_default() {
                let decoder = TextDecoder::new(&column, &policy);
                let mut batch = batch();
                if batch.begin_row().is_ok() {
                    let _error_is_as_good = decoder.decode(Some(text), &mut batch);
                }
            }
        }
    }
}

/// A JSON document: two bytes with the length of its binary form, that, and the differences that are applied to it. What comes out of either is
/// the text that a snapshot would have: JSON without blanks.
pub fn json_document(data: &[u8]) {
    let Some((document, changes)) = split_counted(data) else {
        return;
    };
    verify_compact(|batch| json::push(document, batch));
    verify_compact(|batch| json::push_changed(document, changes, batch));
    verify_compact(|batch| json::push_compacted(data, batch));
}

fn verify_compact(push: impl FnOnce(&mut ChangeBatch) -> Result<(), CellError>) {
    let Some(text) = pushed_text(push) else {
        return;
    };
    let again = pushed_text(|batch| json::push_compacted(text.as_bytes(), batch));
    assert_eq!(again.as_deref(), Some(text.as_str()), "compact text is compact");
}

/// The text that was pushed as the only value of a row; `None` for an error.
fn pushed_text(push: impl FnOnce(&mut ChangeBatch) -> Result<(), CellError>) -> Option<String> {
    let mut batch = batch();
    batch.begin_row().ok()?;
    push(&mut batch).ok()?;
    let row = batch.end_row().ok()?;
    match batch.row(row).get(0) {
        Value::Text(text) => Some(text.to_owned()),
        _ => None,
    }
}

fn no_transaction() -> Transaction {
    Transaction {
        id: None,
        committed_at_us: 0,
        position: "b.000001:4".into(),
        log_position: None,
        previous_log_position: None,
        binlog: None,
    }
}

/// What stands behind two bytes with its length, and what follows.
fn split_counted(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}

fn batch() -> ChangeBatch {
    ChangeBatch::new("fuzz".into(), Progress::at(Position::new("b.000001:4")))
}

fn policies() -> [TypePolicy; 3] {
    [InvalidDates::NullOrEpoch, InvalidDates::Text, InvalidDates::Halt]
        .map(|invalid_dates| TypePolicy { invalid_dates })
}

/// The columns of a table as its map describes them; `None` where one of them cannot be captured.
fn columns_of(map: &TableMap<'_>, by_mariadb: bool) -> Option<Vec<ColumnDefinition>> {
    let wire = map.columns().ok()?;
    let description = map.describe(&wire, by_mariadb).ok()?;
    let columns = wire.iter().zip(&description.columns).enumerate();
    let columns = columns.map(|(index, (wire, described))| {
        Some(ColumnDefinition {
            name: format!("c{index}"),
            column_type: ColumnType::from_log(*wire, described).ok()?,
            nullable: map.is_nullable(index),
            default: None,
            generated: false,
            documentation: None,
        })
    });
    columns.collect()
}

fn plan_of(map: &TableMap<'_>, policy: &TypePolicy, by_mariadb: bool) -> Option<Arc<RowPlan>> {
    let columns = columns_of(map, by_mariadb)?;
    let wire = map.columns().ok()?;
    let decoders = wire.iter().zip(&columns);
    let decoders = decoders.map(|(wire, column)| CellDecoder::new(*wire, column, policy).ok());
    let decoders = decoders.collect::<Option<_>>()?;
    let definition = TableDefinition {
        schema: map.schema.to_owned(),
        table: map.table.to_owned(),
        columns,
        key: Vec::new(),
        unique_keys: Vec::new(),
        charset: None,
        documentation: None,
        engine: None,
    };
    Some(Arc::new(RowPlan {
        schema: Arc::new(definition.to_schema(policy)),
        qualified_name: String::new(),
        decoders,
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::decode::recorded::{self, MARIADB_10_11, MYSQL_5_6, MYSQL_9_7};

    /// Rounds per entry point: about a second in all.
    const ROUNDS: usize = 300_000;
    const LONGEST_BYTES: u64 = 96;

    /// xorshift64*: small, fast and the same everywhere.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: u64) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let mixed = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
            usize::try_from(mixed % limit.max(1)).unwrap()
        }

        fn byte(&mut self) -> u8 {
            u8::try_from(self.below(256)).unwrap()
        }

        /// A seed with some bytes changed, cut or doubled, or bytes without any sense.
        fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
            if self.below(8) == 0 {
                let length = self.below(LONGEST_BYTES);
                return (0..length).map(|_| self.byte()).collect();
            }
            let mut bytes = seeds[self.below(seeds.len() as u64)].clone();
            for _ in 0..self.below(5) {
                let at = self.below(bytes.len() as u64);
                match self.below(5) {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, self.byte()),
                    2 => bytes.extend_from_within(at..),
                    3 => bytes
                        .iter_mut()
                        .skip(at)
                        .take(1)
                        .for_each(|byte| *byte ^= 0x80 >> (*byte & 7)),
                    _ => bytes
                        .iter_mut()
                        .skip(at)
                        .take(1)
                        .for_each(|byte| *byte = 0xff >> (*byte & 7)),
                }
            }
            bytes
        }
    }

    fn files() -> [&'static [u8]; 3] {
        [MARIADB_10_11, MYSQL_9_7, MYSQL_5_6]
    }

    #[test]
    fn events_survive_arbitrary_bytes() {
        let seed = |event: RawEvent| [&[event.header.event_type], event.body.as_ref()].concat();
        let seeds: Vec<Vec<u8>> = files().into_iter().flat_map(recorded::events).map(seed).collect();
        let mut random = Random(1);
        for _ in 0..ROUNDS {
            binlog_event(&random.input(&seeds));
        }
    }

    #[test]
    fn dumps_survive_arbitrary_bytes() {
        let seed = |file: &'static [u8]| {
            let mut stream = vec![200];
            for (sequence, event) in (0..).zip(recorded::whole_events(file).into_iter().take(12)) {
                let [a, b, c, _] = u32::try_from(event.len() + 1).unwrap().to_le_bytes();
                stream.extend([a, b, c, sequence, 0]);
                stream.extend(event);
            }
            stream
        };
        let seeds = files().map(seed).to_vec();
        let mut random = Random(2);
        for _ in 0..ROUNDS / 20 {
            binlog_dump(&random.input(&seeds));
        }
    }

    fn counted(part: &[u8]) -> Vec<u8> {
        [&u16::try_from(part.len()).unwrap().to_le_bytes(), part].concat()
    }

    /// Each rows event of the recorded files behind the map of its table, those of compressed transactions too.
    fn recorded_rows() -> Vec<Vec<u8>> {
        let mut pairs = Vec::new();
        for file in files() {
            let mut maps = BTreeMap::new();
            let mut events = recorded::events(file);
            let inner: Vec<RawEvent> = events.iter().flat_map(unpacked).collect();
            events.extend(inner);
            for event in &events {
                match decode::parse(&event.header, &event.body).unwrap() {
                    Event::TableMap(map) => drop(maps.insert(map.table_id, event.body.clone())),
                    Event::Rows(rows) => {
                        let map = counted(&maps[&rows.table_id]);
                        pairs.push([&map, &[event.header.event_type][..], &event.body].concat());
                    }
                    _ => {}
                }
            }
        }
        pairs
    }

    fn unpacked(event: &RawEvent) -> Vec<RawEvent> {
        let Ok(Event::TransactionPayload(payload)) = decode::parse(&event.header, &event.body) else {
            return Vec::new();
        };
        let mut reader = PayloadReader::new(&payload, &event.body).unwrap();
        std::iter::from_fn(|| reader.next_event().unwrap()).collect()
    }

    #[test]
    fn recorded_rows_are_read() {
        let read = |input: &Vec<u8>| {
            let (map, rest) = split_counted(input).unwrap();
            let body = Bytes::copy_from_slice(&rest[1..]);
            let map = TableMap::parse(map).unwrap();
            let Event::Rows(rows) = decode::parse(&header(rest[0]), &body).unwrap() else {
                panic!("no rows");
            };
            let policy = TypePolicy::default();
            let plan = plan_of(&map, &policy, false).or_else(|| plan_of(&map, &policy, true))?;
            let mut rows = RowsInProgress::new(plan, &rows, &body, 0, 4).ok()?;
            let mut batch = batch();
            let transaction = batch.push_transaction(no_transaction());
            while !rows.is_empty() {
                rows.read_row(&mut batch, transaction).ok()?;
            }
            Some(batch.changes.len())
        };
        let inputs = recorded_rows();
        let counts: Vec<usize> = inputs.iter().filter_map(read).collect();
        // The oldest server does not log what some of its columns are.
        assert!(counts.len() * 2 > inputs.len(), "{} of {}", counts.len(), inputs.len());
        assert!(counts.iter().all(|rows| *rows > 0));
    }

    #[test]
    fn rows_survive_arbitrary_bytes() {
        let seeds = recorded_rows();
        let mut random = Random(3);
        for _ in 0..ROUNDS / 10 {
            rows_event(&random.input(&seeds));
        }
    }

    #[test]
    fn texts_of_cells_survive_arbitrary_bytes() {
        let texts = [
            "2024-02-31 25:61:61.9999999",
            "-838:59:59.000000",
            "0000-00-00",
            "18446744073709551615",
            "-1e400",
            "x,y",
            "[1, {\"a\": 2}]",
        ];
        let maps = recorded_rows()
            .into_iter()
            .map(|input| counted(split_counted(&input).unwrap().0));
        let seeds = maps
            .zip(texts.iter().cycle())
            .map(|(map, text)| [&map, text.as_bytes()].concat());
        let seeds: Vec<Vec<u8>> = seeds.collect();
        let mut random = Random(4);
        for _ in 0..ROUNDS / 10 {
            cell_text(&random.input(&seeds));
        }
    }

    /// An object, an array and differences of both, as in the documentation of MySQL's source ("JSON binary representation").
    fn documents() -> Vec<Vec<u8>> {
        let object = hex("00 0100 0e00 0b00 0100 0c 0c00 62 01 78");
        let array = hex("02 0200 0a00 05 0100 05 feff");
        let of_object = hex("00 03 242e62 03 05 0100");
        let of_array = hex("00 04 245b305d 03 05 0700 01 04 245b325d 03 05 0900 02 04 245b315d");
        let after = |document: &[u8], changes: &[u8]| pushed_text(|batch| json::push_changed(document, changes, batch));
        assert_eq!(after(&object, &[]).as_deref(), Some(r#"{"b":"x"}"#));
        assert_eq!(after(&object, &of_object).as_deref(), Some(r#"{"b":1}"#));
        assert_eq!(after(&array, &of_array).as_deref(), Some("[7,9]"));
        vec![
            [counted(&object), of_object].concat(),
            [counted(&array), of_array].concat(),
            counted(&hex("0c 03 616263")),
            br#"{"a": [1, -2, 1.5], "b": "x, y: z"}"#.to_vec(),
        ]
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
        let pairs = digits.chunks(2).map(|pair| pair.iter().collect::<String>());
        pairs.map(|pair| u8::from_str_radix(&pair, 16).unwrap()).collect()
    }

    #[test]
    fn json_documents_survive_arbitrary_bytes() {
        let seeds = documents();
        let mut random = Random(5);
        for _ in 0..ROUNDS {
            json_document(&random.input(&seeds));
        }
    }
}
