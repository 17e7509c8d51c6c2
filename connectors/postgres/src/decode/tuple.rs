//! columns u16 · per column: `n` (null), `u` (unchanged large value) or `t`/`b` (text, binary) · length i32 · bytes

use super::DecodeError;
use super::reader::Reader;

/// One row, checked and still in wire form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tuple<'a> {
    columns: u16,
    bytes: &'a [u8],
}

/// One column of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    /// SQL NULL.
    Null,
    /// A large value that the log does not repeat because it did not change.
    Unchanged,
    /// Output of the type's text function.
    Text(&'a [u8]),
    /// Output of the type's binary function.
    Binary(&'a [u8]),
}

/// What the log has of the row before the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OldTuple<'a> {
    /// `K`: the columns of the key; the others are null and mean nothing.
    Key(Tuple<'a>),
    /// `O`: the whole row.
    Full(Tuple<'a>),
}

/// Fields of a tuple, in order.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    left: u16,
    reader: Reader<'a>,
}

// === impl Tuple ===

impl<'a> Tuple<'a> {
    /// Cuts a tuple from the message: all lengths are checked here, once.
    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let columns = reader.u16()?;
        let start = reader.rest();
        for _ in 0..columns {
            read_field(reader)?;
        }
        let length = start.len().saturating_sub(reader.rest().len());
        let bytes = start.get(..length).unwrap_or_default();
        Ok(Self { columns, bytes })
    }

    /// How many columns it has.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.columns)
    }

    /// Its fields, in order; allocates nothing and cannot fail.
    pub(crate) fn fields(&self) -> Fields<'a> {
        Fields {
            left: self.columns,
            reader: Reader::new("tuple", self.bytes),
        }
    }
}

// === impl Fields ===

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[inline]
    fn next(&mut self) -> Option<Field<'a>> {
        self.left = self.left.checked_sub(1)?;
        // The tuple was checked as a whole, so that there is always a field.
        read_field(&mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for Fields<'_> {}

// === impl OldTuple ===

impl<'a> OldTuple<'a> {
    /// An old tuple, where `kind` says that one follows.
    pub(super) fn parse(kind: u8, reader: &mut Reader<'a>) -> Result<Option<Self>, DecodeError> {
        match kind {
            b'K' => Tuple::parse(reader).map(Self::Key).map(Some),
            b'O' => Tuple::parse(reader).map(Self::Full).map(Some),
            _ => Ok(None),
        }
    }

    /// The row, however much of it there is.
    pub(crate) fn tuple(&self) -> Tuple<'a> {
        match self {
            Self::Key(tuple) | Self::Full(tuple) => *tuple,
        }
    }
}

#[inline]
fn read_field<'a>(reader: &mut Reader<'a>) -> Result<Field<'a>, DecodeError> {
    match reader.u8()? {
        b't' => reader.counted().map(Field::Text),
        b'n' => Ok(Field::Null),
        b'b' => reader.counted().map(Field::Binary),
        b'u' => Ok(Field::Unchanged),
        other => Err(reader.invalid("kind of column", i64::from(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were_written() {
        let bytes = b"\0\x04nut\0\0\0\x02hib\0\0\0\0rest";
        let mut reader = Reader::new("test", bytes);
        let tuple = Tuple::parse(&mut reader).unwrap();
        assert_eq!(reader.rest(), b"rest");
        assert_eq!(tuple.len(), 4);
        assert_eq!(tuple.fields().len(), 4);
        let fields: Vec<_> = tuple.fields().collect();
        assert_eq!(
            fields,
            [Field::Null, Field::Unchanged, Field::Text(b"hi"), Field::Binary(b"")]
        );
    }

    #[test]
    fn a_length_that_lies_is_refused() {
        for bytes in [
            b"\0\x01t\x7f\xff\xff\xffx".as_slice(),
            b"\0\x01t\xff\xff\xff\xffx",
            b"\0\x01x",
            b"\xff\xffnnn",
        ] {
            assert!(Tuple::parse(&mut Reader::new("test", bytes)).is_err());
        }
    }
}
