//! Which sink wrote a transaction.
//!
//! MySQL keeps no name of who wrote. But a sink of Tailrace changes its table of offsets first, so that a transaction that begins
//! with rows of that table is a sink's, and the connector's name is the first column of these rows.

use bytes::Bytes;

use crate::decode::reader::Reader;
use crate::decode::{DecodeError, Rows, RowsKind, TableMap, column_code, has_column};

/// Longer VARCHAR columns, in bytes, have two bytes of length before each value.
const SHORT_BYTES_MAXIMUM: u16 = 255;

/// The connector that the first of these rows is of; `None` where the table is another one of that name.
pub(super) fn sink_of(map: &TableMap<'_>, rows: &Rows<'_>, images: &Bytes) -> Result<Option<String>, DecodeError> {
    let present = match rows.kind {
        RowsKind::Write => rows.after,
        RowsKind::Update | RowsKind::Delete => rows.before,
    };
    let first = map.columns()?.first().copied();
    let Some(first) = first.filter(|first| first.type_code == column_code::VARCHAR && has_column(present, 0)) else {
        return Ok(None);
    };
    let mut reader = Reader::new("row of offsets", images);
    let columns = (0..rows.columns).filter(|column| has_column(present, *column)).count();
    let nulls = reader.take(columns.div_ceil(8))?;
    if has_column(nulls, 0) {
        return Ok(None);
    }
    let length = if first.metadata > SHORT_BYTES_MAXIMUM {
        usize::from(reader.u16()?)
    } else {
        usize::from(reader.u8()?)
    };
    let name = reader.take(length)?;
    Ok(std::str::from_utf8(name).ok().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Event;
    use crate::decode::event_type;
    use crate::decode::testing::parse_body;

    /// `tailrace_offsets` of schema `s`: connector VARCHAR(190) of utf8mb4, and a BIGINT.
    const MAP: &[u8] = b"\x07\0\0\0\0\0\x01\0\x01s\0\x10tailrace_offsets\0\x02\x0f\x08\x02\xf8\x02\x00";

    fn sink(map: &[u8], event: u8, rows: &[u8]) -> Option<String> {
        let map = TableMap::parse(map).unwrap();
        let body = Bytes::copy_from_slice(rows);
        let Ok(Event::Rows(rows)) = parse_body(event, &body) else {
            panic!("no rows");
        };
        sink_of(&map, &rows, &rows.images(&body).unwrap()).unwrap()
    }

    #[test]
    fn the_first_column_of_the_first_row_is_the_sinks_name() {
        let update =
            b"\x07\0\0\0\0\0\x01\0\x02\0\x02\x03\x03\0\x06\0mirror\x01\0\0\0\0\0\0\0\0\x06\0mirror\x02\0\0\0\0\0\0\0";
        assert_eq!(sink(MAP, event_type::UPDATE_ROWS, update).as_deref(), Some("mirror"));
        let insert = b"\x07\0\0\0\0\0\x01\0\x02\0\x02\x03\x02\x01\0a";
        assert_eq!(sink(MAP, event_type::WRITE_ROWS, insert).as_deref(), Some("a"));
        let delete = b"\x07\0\0\0\0\0\x01\0\x02\0\x02\x03\x02\x01\0b";
        assert_eq!(sink(MAP, event_type::DELETE_ROWS, delete).as_deref(), Some("b"));
    }

    #[test]
    fn images_with_some_columns_are_enough() {
        // binlog_row_image = MINIMAL: the key before, what changed after.
        let update = b"\x07\0\0\0\0\0\x01\0\x02\0\x02\x01\x02\0\x06\0mirror\0\x02\0\0\0\0\0\0\0";
        assert_eq!(sink(MAP, event_type::UPDATE_ROWS, update).as_deref(), Some("mirror"));
        let without = b"\x07\0\0\0\0\0\x01\0\x02\0\x02\x02\x02\0\x01\0\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0";
        assert_eq!(sink(MAP, event_type::UPDATE_ROWS, without), None);
    }

    #[test]
    fn short_names_have_one_byte_of_length_and_other_tables_none() {
        let short = b"\x07\0\0\0\0\0\x01\0\x01s\0\x10tailrace_offsets\0\x01\x0f\x02\x40\x00\x00";
        assert_eq!(
            sink(
                short,
                event_type::WRITE_ROWS,
                b"\x07\0\0\0\0\0\x01\0\x02\0\x01\x01\0\x02ab"
            )
            .as_deref(),
            Some("ab")
        );
        assert_eq!(
            sink(short, event_type::WRITE_ROWS, b"\x07\0\0\0\0\0\x01\0\x02\0\x01\x01\x01"),
            None
        );
        let number = b"\x07\0\0\0\0\0\x01\0\x01s\0\x10tailrace_offsets\0\x01\x08\0\x00";
        let row = b"\x07\0\0\0\0\0\x01\0\x02\0\x01\x01\0\x01\0\0\0\0\0\0\0";
        assert_eq!(sink(number, event_type::WRITE_ROWS, row), None);
    }
}
