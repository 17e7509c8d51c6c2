//! Entry points for fuzz targets and for the short fixed-seed run of the tests: any bytes in, no panic, and what is read is
//! walked to its end.

use std::sync::{Arc, OnceLock};

use tailrace_core::batch::ChangeBatch;
use tailrace_core::position::{Position, Progress};

use crate::decode::copy::CopyReader;
use crate::decode::{self, Message, OldTuple, Tuple, replication};
use crate::type_catalog::{ColumnType, TypeCatalog, TypeInfo, TypeShape};

/// Types of extensions that have a form of their own.
const EXTENSION_TYPES: [&str; 6] = ["hstore", "ltree", "vector", "halfvec", "sparsevec", "geometry"];
const FIRST_EXTENSION_OID: u32 = 16384;

/// pgoutput messages in both states of a stream, and the frames around them.
pub fn pgoutput(data: &[u8]) {
    if let Ok(replication::ReplicationFrame::XLogData(piece)) = replication::parse(data) {
        walk(piece.payload);
    }
    walk(data);
}

/// COPY BINARY; the first byte is the size of the chunks.
pub fn copy_binary(data: &[u8]) {
    let Some((size, rest)) = data.split_first() else {
        return;
    };
    let mut reader = CopyReader::default();
    for chunk in rest.chunks(usize::from(*size).max(1)) {
        reader.push(chunk);
        while let Ok(Some(row)) = reader.next_row() {
            assert_eq!(row.fields().count(), row.len(), "a row has as many fields as it says");
        }
    }
}

/// Text and binary forms of a cell; the first byte chooses the type.
pub fn cell_text(data: &[u8]) {
    let Some((choice, value)) = data.split_first() else {
        return;
    };
    let columns = COLUMNS.get_or_init(columns);
    let Some(column) = columns.get(usize::from(*choice) % columns.len().max(1)) else {
        return;
    };
    let mut batch = ChangeBatch::new(Arc::from("fuzz"), Progress::at(Position::new("0")));
    for push in [
        decode::cell::CellDecoder::push_text,
        decode::cell::CellDecoder::push_binary,
    ] {
        if batch.begin_row().is_err() {
            return;
        }
        let pushed = push(&column.decoder, value, &mut batch);
        assert_eq!(
            batch.open_columns(),
            usize::from(pushed.is_ok()),
            "one cell, or an error and none"
        );
    }
}

fn walk(frame: &[u8]) {
    for streaming in [false, true] {
        match decode::parse(frame, streaming) {
            Ok(Message::Insert(insert)) => walk_tuple(&insert.new),
            Ok(Message::Delete(delete)) => walk_tuple(&delete.old.tuple()),
            Ok(Message::Update(update)) => {
                update.old.iter().map(OldTuple::tuple).for_each(|old| walk_tuple(&old));
                walk_tuple(&update.new);
            }
            _ => {}
        }
    }
}

fn walk_tuple(tuple: &Tuple<'_>) {
    assert_eq!(
        tuple.fields().count(),
        tuple.len(),
        "a tuple has as many fields as it says"
    );
}

/// Made once: a fuzzer calls in a tight loop.
static COLUMNS: OnceLock<Vec<ColumnType>> = OnceLock::new();

/// The built-in types, their arrays, and the types of extensions.
fn columns() -> Vec<ColumnType> {
    let mut catalog = TypeCatalog::builtin();
    for (oid, name) in (FIRST_EXTENSION_OID..).zip(EXTENSION_TYPES) {
        let (name, schema) = (name.to_owned(), "public".to_owned());
        let shape = TypeShape::Base;
        catalog.insert(TypeInfo {
            oid,
            name,
            schema,
            shape,
        });
    }
    catalog.oids().into_iter().map(|oid| catalog.column(oid, -1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds per entry point: about a second in all.
    const ROUNDS: usize = 300_000;
    const LONGEST_BYTES: u64 = 96;

    /// Good frames and values, from which bad ones are made: random bytes alone seldom get past the first field.
    const SEEDS: [&[u8]; 22] = [
        b"B\0\0\0\x01\0\0\0\x10\0\x02\x58\x4f\x1d\x1b\x2a\x40\0\0\x02\xdf",
        b"C\0\0\0\0\0\x01\x5d\xa1\x18\0\0\0\0\x01\x5d\xa1\x48\0\0\0\0\0\0\0\x05",
        b"R\0\0\x40\x01public\0t\0d\0\x01\x01id\0\0\0\0\x17\xff\xff\xff\xff",
        b"I\0\0\x40\x01N\0\x02t\0\0\0\x0242n",
        b"U\0\0\x40\x01K\0\x01t\0\0\0\x017N\0\x01t\0\0\0\x018",
        b"D\0\0\x40\x01O\0\x02t\0\0\0\x017u",
        b"T\0\0\0\x01\0\0\0\x40\x01",
        b"M\x01\0\0\0\x01\0\0\0\x20outbox\0\0\0\0\x03abc",
        b"w\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x20\0\0\0\0\0\0\0\x05I\0\0\x40\x01N\0\x01n",
        b"\x07PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff\xff\xff",
        b"\x012016-11-04 13:51:30.123456+02:00 BC",
        b"\x011 year 2 mons -3 days +04:05:06.789",
        b"\x01P1Y2M3DT4H5M6.78S",
        b"\x01{{1,NULL},{\"a b\",\"q\\\"\"}}",
        b"\x01[0:1]={7,8}",
        b"\x01\"k\"=>\"v\", \"k2\"=>NULL",
        b"\x01[(1,2),(3,4)]",
        b"\x01{1:1.5,3:2}/5",
        b"\x01-12345.67890",
        b"\x01\0\0\0\x02\0\0\0\x01\0\0\0\x17\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x02\0\0\0\x01x",
        b"\x01\0\x02\0\0\0\0\0\x02\0\x01\x26\x94",
        b"\x01\\x00ff",
    ];

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
        fn input(&mut self) -> Vec<u8> {
            if self.below(4) == 0 {
                let length = self.below(LONGEST_BYTES);
                return (0..length).map(|_| self.byte()).collect();
            }
            let mut bytes = SEEDS[self.below(SEEDS.len() as u64)].to_vec();
            for _ in 0..self.below(5) {
                let at = self.below(bytes.len() as u64);
                match self.below(4) {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, self.byte()),
                    2 => bytes.extend_from_within(at..),
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

    fn run(entry: fn(&[u8]), seed: u64) {
        let mut random = Random(seed);
        (0..ROUNDS).for_each(|_| entry(&random.input()));
    }

    #[test]
    fn pgoutput_survives_arbitrary_bytes() {
        run(pgoutput, 1);
    }

    #[test]
    fn copy_survives_arbitrary_bytes() {
        run(copy_binary, 2);
    }

    #[test]
    fn cells_survive_arbitrary_bytes() {
        let mut random = Random(3);
        for _ in 0..ROUNDS {
            let mut input = random.input();
            if let Some(choice) = input.first_mut() {
                *choice = random.byte();
            }
            cell_text(&input);
        }
    }
}
