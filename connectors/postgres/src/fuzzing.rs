//! Entry points for fuzz targets and for the short fixed-seed run of the tests: any bytes in, no panic, and what is read is
//! walked to its end.

use std::sync::Arc;

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
    let column = column(usize::from(*choice));
    let mut batch = ChangeBatch::new(Arc::from("fuzz"), Progress::at(Position::new("0")));
    for push in [decode::cell::CellDecoder::push_text, decode::cell::CellDecoder::push_binary] {
        if batch.begin_row().is_err() {
            return;
        }
        let pushed = push(&column.decoder, value, &mut batch);
        assert_eq!(batch.open_columns(), usize::from(pushed.is_ok()), "one cell, or an error and none");
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
    assert_eq!(tuple.fields().count(), tuple.len(), "a tuple has as many fields as it says");
}

/// One of the built-in types, its array, or a type of an extension.
fn column(choice: usize) -> ColumnType {
    let mut catalog = TypeCatalog::builtin();
    for (oid, name) in (FIRST_EXTENSION_OID..).zip(EXTENSION_TYPES) {
        let (name, schema) = (name.to_owned(), "public".to_owned());
        catalog.insert(TypeInfo { oid, name, schema, shape: TypeShape::Base });
    }
    let oids = catalog.oids();
    let oid = oids.get(choice % oids.len().max(1)).copied().unwrap_or_default();
    catalog.column(oid, -1)
}
