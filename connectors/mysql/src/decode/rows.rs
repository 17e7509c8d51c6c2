//! table id u48 · flags u16 · since version 2: length u16 (itself included) and extra data · number of columns, length-encoded ·
//! which of them an image has, a bit each (an update: twice, before and after) · images of rows, to the end
//!
//! MariaDB's compressed events have the same layout, and only the images are compressed.

use bytes::Bytes;

use super::compression::inflate;
use super::reader::Reader;
use super::{DecodeError, event_type};

/// Last rows event of its statement: table ids are given up.
const STATEMENT_END: u16 = 0x0001;

/// What was done with rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowsKind {
    /// Inserted: one image each.
    Write,
    /// Changed: the image before and the one after.
    Update,
    /// Deleted: one image each.
    Delete,
}

/// Rows of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rows<'a> {
    /// What was done with them.
    pub(crate) kind: RowsKind,
    /// Number of the table, as a table map said before.
    pub(crate) table_id: u64,
    /// The statement ends here.
    pub(crate) ends_statement: bool,
    /// JSON may be written as differences (MySQL, `binlog_row_value_options=PARTIAL_JSON`): each image after an update begins with
    /// the options of the row.
    pub(crate) partial: bool,
    /// Columns of the table.
    pub(crate) columns: usize,
    /// Which columns the image before (update and delete) has, a bit each, lowest first.
    pub(crate) before: &'a [u8],
    /// Which columns the image after (write and update) has.
    pub(crate) after: &'a [u8],
    images: &'a [u8],
    compressed: bool,
}

// === impl Rows ===

impl<'a> Rows<'a> {
    #[inline]
    pub(super) fn parse(event: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        let shape = Shape::of(event)?;
        let mut reader = Reader::new("Rows", body);
        let table_id = reader.u48()?;
        let flags = reader.u16()?;
        if shape.extra_data {
            let length = usize::from(reader.u16()?);
            let Some(length) = length.checked_sub(2) else {
                return Err(reader.invalid("length of extra data", 0));
            };
            reader.take(length)?;
        }
        let columns = reader.length()?;
        let bitmap = columns.div_ceil(8);
        let first = reader.take(bitmap)?;
        let (before, after): (&[u8], &[u8]) = match shape.kind {
            RowsKind::Write => (&[], first),
            RowsKind::Delete => (first, &[]),
            RowsKind::Update => (first, reader.take(bitmap)?),
        };
        Ok(Self {
            kind: shape.kind,
            table_id,
            ends_statement: flags & STATEMENT_END != 0,
            partial: shape.partial,
            columns,
            before,
            after,
            images: reader.rest(),
            compressed: shape.compressed,
        })
    }

    /// Each image has every column (`binlog_row_image=FULL`).
    pub(crate) fn is_full_image(&self) -> bool {
        let is_full = |bitmap: &[u8]| (0..self.columns).all(|column| has_column(bitmap, column));
        match self.kind {
            RowsKind::Write => is_full(self.after),
            RowsKind::Delete => is_full(self.before),
            RowsKind::Update => is_full(self.before) && is_full(self.after),
        }
    }

    /// The images of the rows, one behind the other: a piece of `body`, which is what was parsed, or what was compressed in it.
    pub(crate) fn images(&self, body: &Bytes) -> Result<Bytes, DecodeError> {
        if !self.compressed {
            return Ok(body.slice_ref(self.images));
        }
        let mut images = Vec::new();
        inflate("Rows_compressed", self.images, &mut images).map(|()| Bytes::from(images))
    }
}

/// A bit of a bitmap of columns.
pub(crate) fn has_column(bitmap: &[u8], column: usize) -> bool {
    bitmap.get(column / 8).is_some_and(|byte| byte >> (column % 8) & 1 != 0)
}

/// What the number of an event says.
struct Shape {
    kind: RowsKind,
    extra_data: bool,
    partial: bool,
    compressed: bool,
}

// === impl Shape ===

impl Shape {
    fn of(event: u8) -> Result<Self, DecodeError> {
        use RowsKind::{Delete, Update, Write};
        use event_type as number;
        let (kind, extra_data, compressed) = match event {
            number::WRITE_ROWS => (Write, true, false),
            number::UPDATE_ROWS | number::PARTIAL_UPDATE_ROWS => (Update, true, false),
            number::DELETE_ROWS => (Delete, true, false),
            number::WRITE_ROWS_V1 => (Write, false, false),
            number::UPDATE_ROWS_V1 => (Update, false, false),
            number::DELETE_ROWS_V1 => (Delete, false, false),
            number::WRITE_ROWS_COMPRESSED_V1 => (Write, false, true),
            number::UPDATE_ROWS_COMPRESSED_V1 => (Update, false, true),
            number::DELETE_ROWS_COMPRESSED_V1 => (Delete, false, true),
            number::WRITE_ROWS_COMPRESSED => (Write, true, true),
            number::UPDATE_ROWS_COMPRESSED => (Update, true, true),
            number::DELETE_ROWS_COMPRESSED => (Delete, true, true),
            event_type => return Err(DecodeError::UnknownEvent { event_type }),
        };
        Ok(Self {
            kind,
            extra_data,
            partial: event == number::PARTIAL_UPDATE_ROWS,
            compressed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Event;
    use crate::decode::compression::deflate;
    use crate::decode::testing::{parse_body, parse_strictly};

    fn rows(event: u8, body: &[u8], fixed: usize) -> Rows<'_> {
        match parse_strictly(event, body, fixed) {
            Event::Rows(rows) => rows,
            other => panic!("{other:?}"),
        }
    }

    fn images(rows: &Rows<'_>, body: &Bytes) -> Bytes {
        rows.images(body).unwrap()
    }

    #[test]
    fn version_1() {
        for (event, kind) in [(23, RowsKind::Write), (25, RowsKind::Delete)] {
            let body = Bytes::from_static(b"\x2a\0\0\0\0\0\x01\0\x02\x03\xfc\x01\0\0\0");
            let rows = rows(event, &body, 10);
            assert_eq!((rows.kind, rows.table_id, rows.columns), (kind, 42, 2));
            assert!(rows.ends_statement && rows.is_full_image() && !rows.partial);
            assert_eq!(images(&rows, &body), &b"\xfc\x01\0\0\0"[..]);
        }
    }

    #[test]
    fn version_2_has_extra_data() {
        let body = Bytes::from_static(b"\x2a\0\0\0\0\0\0\0\x05\0\x01\x02\x03\x02\x03\x01\xfc\x01\0\0\0");
        let rows = rows(31, &body, 16);
        assert_eq!(
            (rows.kind, rows.before, rows.after),
            (RowsKind::Update, &[3][..], &[1][..])
        );
        assert!(!rows.ends_statement && !rows.is_full_image());
        assert_eq!(images(&rows, &body), &b"\xfc\x01\0\0\0"[..]);
        assert!(parse_body(30, b"\x2a\0\0\0\0\0\0\0\x01\0\x02\x03").is_err());
    }

    #[test]
    fn partial_updates_are_marked() {
        let body = b"\x2a\0\0\0\0\0\0\0\x02\0\x02\x03\x03\0";
        assert!(rows(39, body, 13).partial);
    }

    #[test]
    fn many_columns() {
        let body = [&b"\x2a\0\0\0\0\0\0\0\x02\0\x09"[..], b"\xff\xff"].concat();
        assert!(rows(30, &body, 13).is_full_image());
        let body = [&b"\x2a\0\0\0\0\0\0\0\x02\0\x09"[..], b"\xff\xfe"].concat();
        assert!(!rows(32, &body, 13).is_full_image());
        assert!(parse_body(30, b"\x2a\0\0\0\0\0\0\0\x02\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff\0").is_err());
    }

    #[test]
    fn compressed() {
        let row = b"\xfc\x01\0\0\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        for (event, head) in [
            (166, &b"\x2a\0\0\0\0\0\x01\0\x02\x03"[..]),
            (167, b"\x2a\0\0\0\0\0\x01\0\x02\x03\x03"),
            (168, b"\x2a\0\0\0\0\0\x01\0\x02\x03"),
            (169, b"\x2a\0\0\0\0\0\x01\0\x02\0\x02\x03"),
            (170, b"\x2a\0\0\0\0\0\x01\0\x02\0\x02\x03\x03"),
            (171, b"\x2a\0\0\0\0\0\x01\0\x02\0\x02\x03"),
        ] {
            let body = Bytes::from([head, &deflate(row)].concat());
            assert_eq!(images(&rows(event, &body, head.len()), &body), &row[..]);
            let cut = body.slice(..body.len() - 1);
            assert!(rows(event, &cut, head.len()).images(&cut).is_err());
        }
    }
}
