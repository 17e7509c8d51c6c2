//! `COPY … (FORMAT binary)`.
//!
//! ```text
//!   "PGCOPY\n\xff\r\n\0" · flags u32 · extension length u32 · extension
//!   fields i16 · per field: length i32 (-1: null) · bytes          once per row
//!   -1 i16                                                         trailer
//! ```
//!
//! The server sends one row in one CopyData message, but nothing promises it, so chunks are joined in one buffer and rows
//! are cut from it. Memory is bounded by the largest row and the largest chunk: a length that lies only waits for bytes.

use super::DecodeError;
use super::reader::Reader;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Flags 16 to 31 are critical: a reader that does not know one must stop. Bit 16 was OIDs, gone since PostgreSQL 12.
const CRITICAL_FLAGS: u32 = 0xffff_0000;

/// Rows of a COPY, over chunks that are cut anywhere.
#[derive(Debug, Default)]
pub(crate) struct CopyReader {
    buffer: Vec<u8>,
    /// Bytes at the head of `buffer` that are done with.
    consumed: usize,
    stage: Stage,
}

/// One row, checked and still in wire form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CopyRow<'a> {
    fields: u16,
    bytes: &'a [u8],
}

/// Fields of a row, in order; `None` inside is NULL.
#[derive(Debug, Clone)]
pub(crate) struct CopyFields<'a> {
    left: u16,
    reader: Reader<'a>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Header,
    Rows,
    Complete,
}

/// What lies at the head of the buffer.
enum Head {
    Row(u16),
    Trailer,
}

// === impl CopyReader ===

impl CopyReader {
    /// Adds the content of one CopyData message. Rows that were not taken yet stay.
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.buffer.drain(..self.consumed.min(self.buffer.len()));
        self.consumed = 0;
        self.buffer.extend_from_slice(chunk);
    }

    /// The next row, where all of it is there; `None` asks for another chunk, or says that the trailer was read.
    pub(crate) fn next_row(&mut self) -> Result<Option<CopyRow<'_>>, DecodeError> {
        if self.stage == Stage::Header && !self.read_header()? {
            return Ok(None);
        }
        let rest = self.buffer.get(self.consumed..).unwrap_or_default();
        if self.stage == Stage::Complete {
            return Reader::new("COPY", rest).finish().map(|()| None);
        }
        let mut reader = Reader::new("COPY", rest);
        match read_row(&mut reader) {
            Ok(Head::Trailer) => {
                self.stage = Stage::Complete;
                self.consumed += rest.len() - reader.rest().len();
                reader.finish().map(|()| None)
            }
            Ok(Head::Row(fields)) => {
                let length = rest.len() - reader.rest().len();
                self.consumed += length;
                let bytes = rest.get(FIELD_COUNT_BYTES..length).unwrap_or_default();
                Ok(Some(CopyRow { fields, bytes }))
            }
            Err(DecodeError::Truncated { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Checks at the end of the COPY that it was whole.
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        let left = self.buffer.len().saturating_sub(self.consumed);
        match self.stage {
            Stage::Complete => Ok(()),
            Stage::Header | Stage::Rows => Err(DecodeError::Truncated {
                message: "COPY",
                needed: FIELD_COUNT_BYTES,
                left,
            }),
        }
    }

    /// True when all of the header was there.
    fn read_header(&mut self) -> Result<bool, DecodeError> {
        let rest = self.buffer.get(self.consumed..).unwrap_or_default();
        let mut reader = Reader::new("COPY", rest);
        match read_header(&mut reader) {
            Ok(()) => {
                self.consumed += rest.len() - reader.rest().len();
                self.stage = Stage::Rows;
                Ok(true)
            }
            Err(DecodeError::Truncated { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

const FIELD_COUNT_BYTES: usize = 2;

fn read_header(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    let signature = reader.array::<11>()?;
    if signature != *SIGNATURE {
        return Err(reader.invalid("signature", i64::from(signature[0])));
    }
    let flags = reader.u32()?;
    if flags & CRITICAL_FLAGS != 0 {
        return Err(reader.invalid("flags", i64::from(flags)));
    }
    reader.counted().map(|_extension| ())
}

fn read_row(reader: &mut Reader<'_>) -> Result<Head, DecodeError> {
    let fields = reader.array().map(i16::from_be_bytes)?;
    if fields == -1 {
        return Ok(Head::Trailer);
    }
    let Ok(fields) = u16::try_from(fields) else {
        return Err(reader.invalid("field count", i64::from(fields)));
    };
    for _ in 0..fields {
        read_field(reader)?;
    }
    Ok(Head::Row(fields))
}

#[inline]
fn read_field<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, DecodeError> {
    let length = reader.i32()?;
    match usize::try_from(length) {
        Ok(length) => reader.take(length).map(Some),
        Err(_) if length == -1 => Ok(None),
        Err(_) => Err(reader.invalid("field length", i64::from(length))),
    }
}

// === impl CopyRow ===

impl<'a> CopyRow<'a> {
    /// How many fields it has.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.fields)
    }

    /// Its fields, in order; allocates nothing and cannot fail.
    pub(crate) fn fields(&self) -> CopyFields<'a> {
        CopyFields {
            left: self.fields,
            reader: Reader::new("COPY row", self.bytes),
        }
    }
}

// === impl CopyFields ===

impl<'a> Iterator for CopyFields<'a> {
    type Item = Option<&'a [u8]>;

    #[inline]
    fn next(&mut self) -> Option<Option<&'a [u8]>> {
        self.left = self.left.checked_sub(1)?;
        // The row was checked as a whole, so that there is always a field.
        read_field(&mut self.reader).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    const ROWS: &[u8] = b"\0\x02\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff\0\x01\0\0\0\0\0\0";
    const TRAILER: &[u8] = b"\xff\xff";

    type Rows = Vec<Vec<Option<Vec<u8>>>>;

    fn drain(reader: &mut CopyReader, rows: &mut Rows) -> Result<(), DecodeError> {
        while let Some(row) = reader.next_row()? {
            assert_eq!(row.fields().count(), row.len());
            rows.push(row.fields().map(|field| field.map(<[u8]>::to_vec)).collect());
        }
        Ok(())
    }

    fn read(chunks: &[&[u8]]) -> Result<Rows, DecodeError> {
        let mut reader = CopyReader::default();
        let mut rows = Vec::new();
        for chunk in chunks {
            reader.push(chunk);
            drain(&mut reader, &mut rows)?;
        }
        reader.finish().map(|()| rows)
    }

    fn expected() -> Rows {
        vec![vec![Some(vec![0, 0, 0, 7]), None], vec![Some(vec![])], vec![]]
    }

    #[test]
    fn rows_do_not_depend_on_how_chunks_are_cut() {
        let whole = [HEADER, ROWS, TRAILER].concat();
        assert_eq!(read(&[&whole]).unwrap(), expected());
        for size in 1..whole.len() {
            let chunks: Vec<_> = whole.chunks(size).collect();
            assert_eq!(read(&chunks).unwrap(), expected(), "chunks of {size} bytes");
        }
    }

    #[test]
    fn rows_that_wait_survive_the_next_chunk() {
        let mut reader = CopyReader::default();
        reader.push(&[HEADER, ROWS].concat());
        assert_eq!(reader.next_row().unwrap().unwrap().len(), 2);
        reader.push(TRAILER);
        let mut rows = Vec::new();
        drain(&mut reader, &mut rows).unwrap();
        assert_eq!(rows, expected()[1..]);
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn every_truncation_is_noticed() {
        let whole = [HEADER, ROWS, TRAILER].concat();
        for end in 0..whole.len() {
            assert!(read(&[&whole[..end]]).is_err(), "accepted {end} bytes");
        }
        assert!(read(&[&whole, b"x"]).is_err());
        assert!(read(&[&[&whole, b"x".as_slice()].concat()]).is_err());
    }

    #[test]
    fn a_header_extension_is_skipped() {
        let header = b"PGCOPY\n\xff\r\n\0\0\0\0\x01\0\0\0\x03abc";
        assert_eq!(read(&[header, ROWS, TRAILER]).unwrap(), expected());
    }

    #[test]
    fn what_is_no_copy_is_refused() {
        let bad_flags = b"PGCOPY\n\xff\r\n\0\0\x01\0\0\0\0\0\0";
        let bad_extension = b"PGCOPY\n\xff\r\n\0\0\0\0\0\xff\xff\xff\xff";
        assert!(read(&[bad_flags, TRAILER]).is_err());
        assert!(read(&[bad_extension, TRAILER]).is_err());
        assert!(read(&[b"id,name\n1,a and more bytes"]).is_err());
        assert!(read(&[HEADER, b"\0\x01\xff\xff\xff\xfe"]).is_err());
        assert!(read(&[HEADER, b"\xff\xfe"]).is_err());
    }
}
