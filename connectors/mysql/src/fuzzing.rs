//! Entry points for fuzz targets and for the short fixed-seed run of the tests: any bytes in, no panic, and what is read is
//! walked to its end.

use bytes::Bytes;

use crate::decode::{self, DecodeError, Event, EventHeader, PayloadReader, PreviousGtids, RawEvent, TableMap};
use crate::log::dump::check::EventCheck;
use crate::log::dump::packets::Packets;

/// Events of a compressed transaction that are walked: a few bytes may announce a great many.
const INNER_EVENTS: usize = 64;

/// The body of an event; the first byte is its type.
pub fn binlog_event(data: &[u8]) {
    let Some((event_type, body)) = data.split_first() else {
        return;
    };
    let header = EventHeader {
        timestamp_s: 0,
        event_type: *event_type,
        server_id: 1,
        event_bytes: 0,
        log_position: 4,
        flags: 0,
    };
    let body = Bytes::copy_from_slice(body);
    let _error_is_as_good = walk(&RawEvent { header, body });
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

#[cfg(test)]
mod tests {
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
}
