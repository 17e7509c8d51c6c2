//! `EXECUTE_LOAD_QUERY`: as a Query, with file u32 · begin u32 and end u32 of the file name in the statement · duplicates u8 between the
//! fixed part and the variables. The events with pieces of the file are only recognised.

use super::reader::Reader;
use super::{DecodeError, Query, query};

/// File, two offsets, what to do with duplicates.
const EXTRA_BYTES: usize = 13;

/// LOAD DATA in statement format: its rows are in the file, and not as rows in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoadData<'a> {
    /// A piece of the file.
    Part,
    /// The statement that reads it.
    Execute(Query<'a>),
}

// === impl LoadData ===

impl<'a> LoadData<'a> {
    pub(super) fn parse_execute(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("Execute_load_query", body);
        let head = query::Head::parse(&mut reader)?;
        reader.take(EXTRA_BYTES)?;
        head.finish(reader, false).map(Self::Execute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::parse_strictly;
    use crate::decode::{Event, event_type};

    #[test]
    fn literal() {
        let body =
            b"\x04\0\0\0\0\0\0\0\x04\0\0\0\0\x01\0\0\0\x0a\0\0\0\x10\0\0\0\0test\0LOAD DATA INFILE 'x' INTO TABLE t";
        let event = parse_strictly(event_type::EXECUTE_LOAD_QUERY, body, 31);
        let Event::LoadData(LoadData::Execute(query)) = event else {
            panic!()
        };
        assert_eq!(query.schema, "test");
        assert_eq!(query.sql().unwrap(), &b"LOAD DATA INFILE 'x' INTO TABLE t"[..]);
    }
}
